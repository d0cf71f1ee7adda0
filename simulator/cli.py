"""The command line: `python -m simulator run CONFIG [key=value ...]`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pkb.errors import Error
from simulator.settings_file import load


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error of one line, 2 a wrong command line, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="replay a log and measure every arm; resumes a run that was killed")
    run.add_argument("config", type=Path, help="one YAML file states one experiment; see configs/")
    run.add_argument("overrides", nargs="*", metavar="key=value", help="any setting, in Hydra's grammar")
    run.add_argument("--address", help="of an existing Ray cluster ('auto' inside one); default: this machine alone")
    given, rest = parser.parse_known_args(arguments)  # `rest`: overrides that stand behind an option
    unknown = [word for word in rest if word.startswith("-")]
    if unknown:
        parser.error(f"unknown option {unknown[0]}")
    console = Console(width=None if sys.stdout.isatty() else 110)  # a file or a pipe has no width of its own
    try:
        settings = load(given.config, [*given.overrides, *rest])
        from simulator.run import run as play  # Ray takes seconds to import; a wrong setting should not

        play(settings, console, given.address)
    except Error as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on after the last committed period", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0

"""The command line.

python -m simulator run CONFIG [key=value ...]   replay a log and measure every arm
    --multirun key=1,2 ...                       one run for each combination of the values, compared at the end
python -m simulator report RUN                   measure again from the stored predictions
python -m simulator compare RUN RUN ...          put runs side by side
python -m simulator robustness RUN RUN ...       see which findings of the first run stand in the others
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pkb.errors import Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error of one line, 2 a wrong command line, 130 interrupted."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__, formatter_class=layout)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="replay a log and measure every arm; resumes a run that was killed")
    run.add_argument("config", type=Path, help="one YAML file states one experiment; see configs/")
    run.add_argument("overrides", nargs="*", metavar="key=value", help="any setting, in Hydra's grammar")
    run.add_argument("--address", help="of an existing Ray cluster ('auto' inside one); default: this machine alone")
    run.add_argument("--multirun", action="store_true", help="key=1,2 plays a run for each value, and compares them")
    report = commands.add_parser("report", help="measure a run again from its stored predictions, and report on it")
    report.add_argument("run", type=Path, help="folder of the run: runs/NAME")
    compare = commands.add_parser("compare", help="put runs side by side that were measured on the same rows")
    compare.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs; the first is the baseline")
    robustness = commands.add_parser("robustness", help="see which findings of a run stand when settings are others")
    robustness.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="of one log; the first is judged")
    given, rest = parser.parse_known_args(arguments)  # `rest`: overrides that stand behind an option
    unknown = [word for word in rest if word.startswith("-") or given.command != "run"]
    if unknown:
        parser.error(f"unknown {'option' if unknown[0].startswith('-') else 'argument'} {unknown[0]}")
    console = Console(width=None if sys.stdout.isatty() else 110)  # a file or a pipe has no width of its own
    try:
        perform(given, rest, console)
    except Error as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        later = "; the same command goes on after the last committed period" if given.command == "run" else ""
        print(f"interrupted{later}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def perform(given: argparse.Namespace, overrides: Sequence[str], console: Console) -> None:
    """The command asked for; each imports what it needs, since Ray and torch take seconds."""
    if given.command == "run" and given.multirun:
        from simulator.multirun import multirun

        multirun(given.config, [*given.overrides, *overrides], console, given.address)
    elif given.command == "run":
        from simulator.settings import load

        settings = load(given.config, [*given.overrides, *overrides])
        from simulator.run import run

        run(settings, console, given.address)
    elif given.command == "report":
        from simulator.report.commands import report

        report(given.run, console)
    elif given.command == "robustness":
        from simulator.report.commands import robustness_of

        robustness_of(given.runs, console)
    else:
        from simulator.report.commands import compare_runs

        compare_runs(given.runs, console)

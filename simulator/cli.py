"""The command line.

python -m simulator run CONFIG [key=value ...]   replay a log and measure every arm
    --multirun key=1,2 ...                       one run for each combination of the values, compared at the end
python -m simulator report RUN                   measure again from the stored predictions
python -m simulator compare RUN RUN ...          put runs side by side
python -m simulator robustness RUN RUN ...       see which findings of the first run stand in the others
python -m simulator serve RUN                    answer requests with raw values by a contender of a run
python -m simulator center RUN                   serve what a run's knowledge base knows, by version
python -m simulator inspect FILES                look at a log, and propose the YAML that replays it
python -m simulator export RUN --arm A           write an arm as a program that another server can load
python -m simulator loadtest RUN|URL [key=value] find the rate that arms sustain, and their latency under load
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from pkb.errors import Error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 an error of one line, 2 a wrong command line, 130 interrupted."""
    if arguments is None:
        _in_utf8()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal gets what it can show
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m simulator", description=__doc__, formatter_class=layout)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="replay a log and measure every arm; resumes a run that was killed")
    run.add_argument("config", type=_path, help="one YAML file states one experiment; see configs/")
    run.add_argument("overrides", nargs="*", metavar="key=value", help="any setting, in Hydra's grammar")
    run.add_argument("--address", help="of an existing Ray cluster ('auto' inside one); default: this machine alone")
    run.add_argument("--multirun", action="store_true", help="key=1,2 plays a run for each value, and compares them")
    report = commands.add_parser("report", help="measure a run again from its stored predictions, and report on it")
    report.add_argument("run", type=_path, help="folder of the run: runs/NAME")
    compare = commands.add_parser("compare", help="put runs side by side that were measured on the same rows")
    compare.add_argument("runs", type=_path, nargs="+", metavar="RUN", help="of one log; the first is the baseline")
    robustness = commands.add_parser("robustness", help="see which findings of a run stand when settings are others")
    robustness.add_argument("runs", type=_path, nargs="+", metavar="RUN", help="of one log; the first is judged")
    serve = commands.add_parser("serve", help="answer requests with raw values by a contender of a run, over HTTP")
    serve.add_argument("run", type=_path, help="folder of the run: runs/NAME")
    serve.add_argument("--arm", help="of the run; default: its first one")
    serve.add_argument("--seed", type=int, help="of the arm; default: its first one")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on; any but this one wants a token")
    serve.add_argument("--port", type=int, default=8_000, help="0 takes a free one; default: 8000")
    serve.add_argument("--follow", action="store_true", help="serve each period of a run that is still playing")
    serve.add_argument("--replicas", type=int, default=1, help="processes that answer, on Ray Serve")
    serve.add_argument("--plain", action="store_true", help="from this process alone, without Ray")
    serve.add_argument("--address", help="of an existing Ray cluster; default: this machine alone")
    center = commands.add_parser("center", help="build a version of what a run's base knows, and serve it to models")
    center.add_argument("run", type=_path, help="folder of the run: runs/NAME")
    center.add_argument("--arm", help="whose base is asked; by default the first arm with KEEP")
    center.add_argument("--host", default="127.0.0.1", help="address to listen on")
    center.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    center.add_argument("--build-only", action="store_true", help="build, and serve nothing")
    inspect = commands.add_parser("inspect", help="look at a log of your own, and propose the YAML that replays it")
    inspect.add_argument("files", nargs="+", metavar="FILES", help="paths, a folder, or a pattern in quotes")
    inspect.add_argument("-o", "--output", type=_path, help="write the YAML there instead of printing it")
    export = commands.add_parser("export", help="write an arm of a run for another server, as a torch.export program")
    export.add_argument("run", type=_path, help="folder of the run: runs/NAME")
    export.add_argument("--arm", required=True)
    export.add_argument("--seed", type=int, help="one of the run's; its first if left out")
    export.add_argument("-o", "--output", type=_path, help="folder to write; RUN/exports/ARM-SEED if left out")
    load = commands.add_parser("loadtest", help="find the rate that a run's arms, or a URL, sustain within a bound")
    load.add_argument("target", metavar="RUN|URL", help="a run's folder, or the URL of a server that scores")
    load.add_argument(
        "overrides", nargs="*", metavar="key=value", help="such as bound_ms=20; simulator/loadtest/settings.py"
    )
    load.add_argument("--requests", type=_path, help="for a URL: a run, or a file with one request's JSON a line")
    load.add_argument("-o", "--output", type=_path, help="for a URL: file to write the JSON to")
    given, rest = parser.parse_known_args(arguments)  # `rest`: overrides that stand behind an option
    unknown = [word for word in rest if word.startswith("-") or given.command not in ("run", "loadtest")]
    if unknown:
        parser.error(f"unknown {'option' if unknown[0].startswith('-') else 'argument'} {unknown[0]}")
    console = Console(width=None if sys.stdout.isatty() else 110)  # a file or a pipe has no width of its own
    try:
        with _interruptible(for_good=arguments is None):
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
    except OSError as error:  # a folder that is not ours to write in, a disk that is full
        print(f"error: {_of_the_system(error)}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _interruptible(*, for_good: bool) -> Iterator[None]:
    """KeyboardInterrupt for any error that comes after a Ctrl-C: engines and workers end with errors of their own.

    With `for_good` a second Ctrl-C has no effect behind the block: what is left to do is little.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        if came:
            raise KeyboardInterrupt from error
        raise
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN if came and for_good else before)


def _of_the_system(error: OSError) -> str:
    from simulator.record.full_disk import full_disk

    file = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
    folder = Path.cwd() if file is None else next(each for each in file.absolute().parents if each.exists())
    told = f"{file}: {error.strerror}" if file else " ".join(str(error).split())
    return full_disk(str(error), folder, needs=0, what="") or told


def _path(text: str) -> Path:
    """A path that was typed, with the home folder in place of `~`."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  it leaves what is no home as it is


def _in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale has another encoding, which names of files would be in."""
    if not sys.flags.utf8_mode and sys.getfilesystemencoding().lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:replace")  # the terminal's stays
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


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
    elif given.command == "serve":
        from simulator.report.commands import say
        from simulator.serving import serve

        options = ("arm", "seed", "host", "port", "follow", "replicas", "plain", "address")
        serve(given.run, lambda line: say(console, line), **{name: getattr(given, name) for name in options})
    elif given.command == "center":
        from simulator.gkc import center

        where = {"host": given.host, "port": given.port, "build_only": given.build_only}
        center(given.run, given.arm, console, **where)
    elif given.command == "inspect":
        from simulator.inspect.command import inspect

        inspect(given.files, given.output, console)
    elif given.command == "export":
        from simulator.played import export

        export(given.run, given.arm, given.seed, given.output, console)
    elif given.command == "loadtest":
        from simulator.played import loadtest

        loadtest(given.target, [*given.overrides, *overrides], given.requests, given.output, console)
    else:
        from simulator.report.commands import compare_runs

        compare_runs(given.runs, console)

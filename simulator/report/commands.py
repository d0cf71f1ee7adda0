"""The commands that look at runs which are over: `report`, `compare` and `robustness`.

What measures and draws (SciPy, Matplotlib) takes seconds to import, so each function imports it when it gets there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from pkb.errors import DataError, RunError
from simulator.record.costs import read_costs
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.lock import user_of

if TYPE_CHECKING:
    import pyarrow as pa

EVERY_SECONDS = 3.0  # a line tells how far measuring has come


def report(folder: Path, console: Console) -> None:
    """Measure a run again that is over, or that has committed some periods, and report on it.

    Of a run that somebody plays, which writes its report itself, the folder is only read.
    """
    run = RunFolder(folder)
    experiment = read_experiment(run)
    complete, begun = 1 + run.complete_through(experiment.keys), run.begun()
    periods = _number(begun, "period") if complete >= begun else f"{complete} of {begun} periods are complete"
    say(console, f"run {run}: {periods}, {_number(len(experiment.arms), 'arm')}")
    if user := user_of(run):
        from simulator.measure.evaluate import evaluate

        say(console, f"run {run}: is in use by {user}; what it has so far is shown, and nothing written")
        with measuring(console) as tell:
            show(run, evaluate(run, tell, keep=False), console)
    else:
        present(run, conclude(run, console), console)


def conclude(run: RunFolder, console: Console) -> pa.Table:
    """Measure a run from what it has stored; writes `results.parquet` and `report.html`, and returns the results."""
    from simulator.measure.evaluate import evaluate
    from simulator.report.page import write_report

    with measuring(console) as tell:
        results = evaluate(run, tell)
    write_report(run)
    return results


def conclude_what_is_missing(run: RunFolder, console: Console) -> pa.Table:
    """Measure a run that is over if its results are not of all that it has stored; returns the results."""
    from simulator.measure.costs import SERVED
    from simulator.measure.results import read_results

    experiment = read_experiment(run)
    if not (run.results.exists() and run.report.exists()):
        return conclude(run, console)
    results = read_results(run)
    metrics = set(results.column("metric").unique().to_pylist())
    last = max(results.column("trained_through").drop_null().to_pylist(), default=-1)
    if last < run.complete_through(experiment.keys) or (run.serving.exists() and metrics.isdisjoint(SERVED)):
        return conclude(run, console)
    return results


@contextmanager
def measuring(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Tell which period of how many is being measured: in place on a terminal, else a line every few seconds."""
    told = time.monotonic()

    def line(number: int, of: int) -> None:
        nonlocal told
        if time.monotonic() - told > EVERY_SECONDS:
            told = time.monotonic()
            say(console, _measuring(number, of))

    if console.is_terminal:
        with console.status("measuring") as status:
            yield lambda number, of: status.update(_measuring(number, of))
    else:
        yield line


def conclude_serving(run: RunFolder, results: pa.Table) -> pa.Table:
    """Put a load test into the results and the report of a run that was measured before; returns the results."""
    from simulator.measure.evaluate import add_serving
    from simulator.report.page import write_report

    results = add_serving(run, results)
    write_report(run)
    return results


def present(run: RunFolder, results: pa.Table, console: Console) -> None:
    """Print what cannot be judged, the table that a run ends with, and where its files are."""
    show(run, results, console)
    say(console, f"results: {run.results}")
    say(console, f"report:  {run.report}")


def show(run: RunFolder, results: pa.Table, console: Console) -> None:
    """Print what cannot be judged, and the table that a run ends with."""
    from simulator.report.table import summary

    _warn(run, results, console)
    console.print(summary(results))


def _warn(run: RunFolder, results: pa.Table, console: Console, name: str = "") -> None:
    """Print what cannot be judged of a run; of one of several with its name."""
    from simulator.report.judge import Judge
    from simulator.report.numbers import Numbers

    experiment = read_experiment(run)
    for finding in Judge(Numbers(results), experiment, read_costs(run, experiment.keys)).findings():
        of = f"{name}, {finding.tag}: " if name else f"{finding.tag}: "
        console.print(Text.assemble((of, "bold red"), finding.text), soft_wrap=True)


def _measured(run: RunFolder, console: Console) -> pa.Table:
    """The results of a run, measured now if it has none, or is in use; then they are not written."""
    from simulator.measure.evaluate import evaluate
    from simulator.measure.results import read_results

    user = user_of(run)
    if run.results.exists() and not user:
        return read_results(run)
    with measuring(console) as tell:
        return evaluate(run, tell, keep=user is None)


def compare_runs(folders: Sequence[Path], console: Console) -> None:
    """Print the arms of several runs side by side; RunError where they were not measured on the same rows."""
    names, runs = _several("compare", folders)
    experiments = [read_experiment(run) for run in runs]

    from simulator.measure.compare import Played, compare
    from simulator.report.table import side_by_side

    parts = zip(names, runs, experiments, strict=True)
    played = [Played(name=name, folder=run, experiment=experiment) for name, run, experiment in parts]
    table = compare(played)
    for name, run in zip(names, runs, strict=True):
        _warn(run, _measured(run, console), console, name)
    console.print(side_by_side(table))


def robustness_of(folders: Sequence[Path], console: Console) -> None:
    """Print which findings of the first run keep their sign in the others, and mark the others in its report.

    RunError where the runs are not of one log and the same arms.
    """
    names, runs = _several("robustness", folders)
    experiments = [read_experiment(run) for run in runs]
    for run, its in zip(runs[1:], experiments[1:], strict=True):
        if its.data != experiments[0].data:
            raise RunError(f"{run}: replayed {its.data} and {runs[0]} {experiments[0].data}; give runs of one log")
        if odd := sorted(its.arms.keys() ^ experiments[0].arms.keys()):
            raise RunError(f"{run} and {runs[0]}: only one of them has arm {odd[0]}; give runs of the same arms")

    from simulator.record.robustness import write_robustness
    from simulator.report.numbers import Numbers
    from simulator.report.page import write_report
    from simulator.report.robustness import robustness, share, table

    used = [user_of(run) for run in runs]
    tables = [_measured(run, console) for run in runs]
    for name, run, results in zip(names, runs, tables, strict=True):
        _warn(run, results, console, name)
    found = robustness(experiments[0], names, [Numbers(each) for each in tables], [_settings(run) for run in runs])
    console.print(table(found))
    say(console, share(found))
    if used[0]:
        say(console, f"run {runs[0]}: is in use by {used[0]}; nothing is written there")
        return
    write_robustness(runs[0], found)
    say(console, f"robustness: {runs[0].robustness}")
    if runs[0].report.exists():
        write_report(runs[0])
        say(console, f"report:     {runs[0].report}")


def _several(command: str, folders: Sequence[Path]) -> tuple[list[str], list[RunFolder]]:
    """Two or more different runs, and a name for each that tells it from the others."""
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RunError(f"{command}: takes two or more different runs; given {' '.join(map(str, folders))}")
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    return names, [RunFolder(folder) for folder in folders]


def _settings(run: RunFolder) -> dict[str, Any]:
    """The settings of a run, resolved and flat, without the registries that reading them as settings needs."""
    import yaml

    from simulator.config.kinds import flat

    try:
        return flat(yaml.safe_load(run.config.read_text(encoding="utf-8")) or {}) if run.config.exists() else {}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError):
        raise DataError(f"{run.config}: not readable as settings; restore the file, or run again") from None


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, soft_wrap=True)


def _measuring(number: int, of: int) -> str:
    return f"measuring period {number}/{of}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

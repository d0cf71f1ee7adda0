"""The commands that look at runs which are over: `report` and `compare`.

What measures and draws (SciPy, Matplotlib) takes seconds to import, so each function imports it when it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from pkb.errors import RunError
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder

if TYPE_CHECKING:
    import pyarrow as pa


def report(folder: Path, console: Console) -> None:
    """Measure a run again that is over, or that has committed some periods, and report on it."""
    run = RunFolder(folder)
    experiment = read_experiment(run)
    complete, begun = 1 + run.complete_through(experiment.keys), run.begun()
    periods = _number(begun, "period") if complete >= begun else f"{complete} of {begun} periods are complete"
    say(console, f"run {run}: {periods}, {_number(len(experiment.arms), 'arm')}")
    present(run, conclude(run), console)


def conclude(run: RunFolder) -> pa.Table:
    """Measure a run from what it has stored; writes `results.parquet` and `report.html`, and returns the results."""
    from simulator.measure.evaluate import evaluate
    from simulator.report.page import write_report

    results = evaluate(run)
    write_report(run)
    return results


def conclude_serving(run: RunFolder, results: pa.Table) -> pa.Table:
    """Put a load test into the results and the report of a run that was measured before; returns the results."""
    from simulator.measure.evaluate import add_serving
    from simulator.report.page import write_report

    results = add_serving(run, results)
    write_report(run)
    return results


def present(run: RunFolder, results: pa.Table, console: Console) -> None:
    """Print the table that a run ends with, and where its files are."""
    from simulator.report.table import summary

    console.print(summary(results))
    say(console, f"results: {run.results}")
    say(console, f"report:  {run.report}")


def compare_runs(folders: Sequence[Path], console: Console) -> None:
    """Print the arms of several runs side by side; RunError where they were not measured on the same rows."""
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RunError(f"compare: takes two or more different runs; given {' '.join(map(str, folders))}")
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [RunFolder(folder) for folder in folders]
    experiments = [read_experiment(run) for run in runs]

    from simulator.measure.compare import Played, compare
    from simulator.report.table import side_by_side

    parts = zip(names, runs, experiments, strict=True)
    played = [Played(name=name, folder=run, experiment=experiment) for name, run, experiment in parts]
    console.print(side_by_side(compare(played)))


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, soft_wrap=True)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

"""The commands that look at runs which are over: `report`, `compare` and `robustness`.

What measures and draws (SciPy, Matplotlib) takes seconds to import, so each function imports it when it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from pkb.errors import RunError
from simulator.record.costs import read_costs
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.lock import user_of

if TYPE_CHECKING:
    import pyarrow as pa


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
        show(run, evaluate(run, keep=False), console)
    else:
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
    """Print what cannot be judged, the table that a run ends with, and where its files are."""
    show(run, results, console)
    say(console, f"results: {run.results}")
    say(console, f"report:  {run.report}")


def show(run: RunFolder, results: pa.Table, console: Console) -> None:
    """Print what cannot be judged, and the table that a run ends with."""
    from simulator.report.judge import Judge
    from simulator.report.numbers import Numbers
    from simulator.report.table import summary

    experiment = read_experiment(run)
    for finding in Judge(Numbers(results), experiment, read_costs(run, experiment.keys)).findings():
        console.print(Text.assemble((f"{finding.tag}: ", "bold red"), finding.text), soft_wrap=True)
    console.print(summary(results))


def compare_runs(folders: Sequence[Path], console: Console) -> None:
    """Print the arms of several runs side by side; RunError where they were not measured on the same rows."""
    names, runs = _several("compare", folders)
    experiments = [read_experiment(run) for run in runs]

    from simulator.measure.compare import Played, compare
    from simulator.report.table import side_by_side

    parts = zip(names, runs, experiments, strict=True)
    played = [Played(name=name, folder=run, experiment=experiment) for name, run, experiment in parts]
    console.print(side_by_side(compare(played)))


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

    import pyarrow.parquet as pq

    from simulator.measure.evaluate import evaluate
    from simulator.record.robustness import write_robustness
    from simulator.report.numbers import Numbers
    from simulator.report.page import write_report
    from simulator.report.robustness import robustness, share, table

    used = [user_of(run) for run in runs]
    tables = [
        evaluate(run, keep=user is None)
        if user or not run.results.exists()
        else pq.read_table(run.results, partitioning=None)
        for run, user in zip(runs, used, strict=True)
    ]
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

    return flat(yaml.safe_load(run.config.read_text()) or {}) if run.config.exists() else {}


def say(console: Console, line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, soft_wrap=True)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"

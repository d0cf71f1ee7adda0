"""The commands that look at runs which are over: `report` and `compare`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pkb.errors import RunError
from simulator.measure.compare import Played, compare
from simulator.measure.evaluate import evaluate
from simulator.report.report import write_report
from simulator.report.table import side_by_side, summary
from simulator.settings import Settings
from simulator.settings_file import load


def conclude(folder: Path, settings: Settings, console: Console) -> None:
    """Measure a run from its stored predictions; writes `results.parquet` and `report.html`, and prints the table."""
    table = evaluate(folder, settings)
    report = write_report(folder, settings)
    console.print(summary(table))
    for line in (f"results: {folder / 'results.parquet'}", f"report:  {report}"):
        console.print(line, highlight=False, soft_wrap=True)


def report(folder: Path, console: Console) -> None:
    """The same for the folder of a run that is over, or that has committed some periods."""
    conclude(folder, settings_of(folder), console)


def compare_runs(folders: Sequence[Path], console: Console) -> None:
    """Print the arms of several runs side by side; RunError where they were not measured on the same rows."""
    if len({folder.resolve() for folder in folders}) < max(2, len(folders)):
        raise RunError(f"compare: takes two or more different runs; given {' '.join(map(str, folders))}")
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        names = [str(folder) for folder in folders]
    runs = [Played(name=n, folder=f, settings=settings_of(f)) for n, f in zip(names, folders, strict=True)]
    console.print(side_by_side(compare(runs)))


def settings_of(folder: Path) -> Settings:
    """As the run noted them; RunError where the folder is none of a run."""
    config = folder / "config.yaml"
    if not config.exists():
        raise RunError(f"{folder}: holds no config.yaml, so it is not the folder of a run")
    return load(config)

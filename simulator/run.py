"""One run from settings to report: ingest, train, measure, report, serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rich.console import Console

from pkb.errors import RunError
from simulator.cluster.groups import train
from simulator.cluster.progress import Board, shown
from simulator.cluster.session import ray_session
from simulator.describe import describe
from simulator.plays import play_of, within_budget
from simulator.record.experiment import write_experiment
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.provenance import write_environment
from simulator.report.commands import conclude, conclude_serving, present, say
from simulator.serve.deploy import free_port
from simulator.serve.loading import load_servable
from simulator.serve.serving import serve_and_measure
from simulator.settings import Settings, load, to_yaml
from simulator.stream.ingest import ingest
from simulator.stream.log import Log


def run(settings: Settings, console: Console, address: str | None = None) -> Path:
    """Play one experiment and return its folder; the same call resumes one that was killed."""

    def tell(line: str) -> None:
        say(console, line)

    log = ingest(settings.stream, settings.ingest, tell)
    if log.manifest.source == "world" != settings.stream.source:  # what stands in for a real log says so in its name
        settings = replace(settings, name=f"{settings.name}-synthetic")
    settings = within_budget(settings, log)
    folder = open_run(settings, log.manifest.name)
    tell(f"run {folder}: {log.manifest.name}, {len(log.periods)} periods, {log.manifest.rows_kept:,} impressions")
    if settings.serve.enabled:
        free_port(settings.serve)  # a busy port is better known now than after the training
    with ray_session(address):
        board = Board.remote()  # type: ignore[attr-defined]
        with shown(board, console, len(log.periods)):
            train(play_of(settings), log, RunFolder(folder.path.resolve()), board, tell)
        finish(folder, settings, log, console, tell)
    return folder.path


def finish(run: RunFolder, settings: Settings, log: Log, console: Console, tell: Callable[[str], None]) -> None:
    """Report on what was trained, then serve it and report again, so that serving never takes the report along."""
    results = conclude(run)
    try:
        if settings.serve.enabled:
            loader = partial(load_servable, log, settings.stream, settings.retrieval)
            serve_and_measure(run, settings.serve, settings.stream, log, tell, seed=settings.seeds[0], load=loader)
            results = conclude_serving(run, results)
    finally:
        present(run, results, console)


def open_run(settings: Settings, data_set: str) -> RunFolder:
    """Open the run's folder, new or of the same experiment; RunError if another experiment lives there."""
    run = RunFolder(Path(settings.runs) / settings.name)
    if run.config.exists() and not same_experiment(load(run.config), settings):
        raise RunError(f"{run}: holds a run with other settings; choose another name=..., or delete it to start over")
    run.path.mkdir(parents=True, exist_ok=True)
    if not run.config.exists():
        write_environment(run, data_set)
        write_experiment(run, describe(settings, data_set))
        write_text(run.config, to_yaml(settings))  # last: what stands beside it is complete
    return run


def same_experiment(one: Settings, other: Settings) -> bool:
    """Tell whether two settings give the same numbers: a run may go on with another number of groups."""
    return one == replace(other, train=replace(other.train, groups=one.train.groups))

"""One run from settings to report: ingest, train, serve, evaluate, report."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pkb.errors import RunError
from simulator.budget import within_budget
from simulator.files import write_text
from simulator.progress import Board, shown
from simulator.provenance import environment
from simulator.report.commands import conclude
from simulator.serve.deploy import free_port
from simulator.serve.serving import serve_and_measure
from simulator.session import ray_session
from simulator.settings import Settings
from simulator.settings_file import load, to_yaml
from simulator.stream.ingest import ingest
from simulator.train.group import train


def run(settings: Settings, console: Console, address: str | None = None) -> Path:
    """Play one experiment and return its folder; the same call resumes one that was killed."""

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    log = ingest(settings, say)
    if log.manifest.source == "world" != settings.stream.source:  # what stands in for a real log says so in its name
        settings = replace(settings, name=f"{settings.name}-synthetic")
    settings = within_budget(settings, log)
    folder = open_run(settings, log.manifest.name)
    say(f"run {folder}: {log.manifest.name}, {len(log.periods)} periods, {log.manifest.rows_kept:,} impressions")
    if settings.serve.enabled:
        free_port(settings.serve)  # a busy port is better known now than after the training
    with ray_session(address):
        board = Board.remote()  # type: ignore[attr-defined]
        with shown(board, console, len(log.periods)):
            checkpoint = train(settings, log, folder.resolve(), board)
        if settings.serve.enabled:
            serve_and_measure(folder, settings, checkpoint, log, say)
    conclude(folder, settings, console)
    return folder


def open_run(settings: Settings, data_set: str) -> Path:
    """The run's folder, new or of the same experiment; RunError if another experiment lives there."""
    folder = Path(settings.runs) / settings.name
    config = folder / "config.yaml"
    if config.exists() and load(config) != settings:
        raise RunError(
            f"{folder}: holds a run with other settings; choose another name=..., or delete it to start over"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not config.exists():
        write_text(folder / "environment.json", json.dumps(environment(data_set), indent=1))
        write_text(config, to_yaml(settings))
    return folder

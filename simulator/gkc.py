"""`python -m simulator center RUN`: a version of what a run's knowledge base knows, and the service that tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pkb.center import Center, build
from pkb.center.writing import versions_in
from pkb.errors import RunError, SettingError
from simulator.center.service import served
from simulator.cluster.session import ray_session
from simulator.contender.centered import Centered
from simulator.contender.checkpoint import load_contender
from simulator.contender.roster import roster_of
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.serve.guard import token_of_environment
from simulator.settings import Settings, load
from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.protocol import holdout_share

BASE = "keep"  # whose arm is served unless another one is named


def center(path: Path, arm: str | None, console: Console, *, host: str, port: int, build_only: bool) -> None:
    """Bring the center of an arm up to its last committed period, and serve it until interrupted."""
    run, token = RunFolder(path), token_of_environment(host)
    if not run.config.exists():
        raise RunError(f"{run}: holds no run; name the folder of one, such as runs/NAME")
    settings = load(run.config)
    name = _arm(settings, arm)
    key = key_of((name, settings.seeds[0]))
    folder = run.center(key)
    bring_up_to_date(run, key, settings, lambda: ingest(settings.stream, settings.ingest, console.print))
    present(Center(folder), console)
    if build_only:
        return
    with ray_session(None), served(folder, host=host, port=port, token=token) as service:
        console.print(f"{name} is served at {service.url} until Ctrl-C; versions that come are followed")
        if service.direct != service.url:
            console.print(f"asked without Serve's proxy at {service.direct}, as long as that process lives")
        while True:
            time.sleep(3600)


def _arm(settings: Settings, name: str | None) -> str:
    """Choose the arm that is named, or the first whose base is KEEP."""
    knowing = {arm: choice.knowledge for arm, choice in settings.arms.items() if choice.knowledge is not None}
    if name is None:
        name = next((arm for arm, base in knowing.items() if base == BASE), None)
        if name is None:
            raise SettingError(f"no arm of this run has the knowledge {BASE}; name one with --arm")
    if name not in knowing:
        raise SettingError(f"--arm {name}: has no knowledge in this run; those that have are {', '.join(knowing)}")
    return name


def bring_up_to_date(run: RunFolder, key: str, settings: Settings, log: Callable[[], Log]) -> None:
    """Build a version of the base as it was last committed, unless that one is there, or the arm builds its own."""
    committed = run.committed(key)
    if committed < 0:
        raise RunError(f"{run}: {key} has not committed any period yet")
    contender = load_contender(run.checkpoint(key, committed))
    version = contender.compressed_through
    if isinstance(contender.source, Centered) or version in versions_in(run.center(key)):
        return
    if version < 0:
        raise RunError(f"{run}: the base of {key} has taken in nothing yet; let the run go on")
    category, share = settings.center.category, holdout_share(settings.stream)
    roster = roster_of(contender, log(), range(1 + version), category=category, holdout_share=share)
    assert contender.live is not None
    until, keep = contender.live.built_until, settings.center.versions
    build(contender.live.base, roster, run.center(key), version, built_until=until, keep=keep, device=contender.device)


def present(center: Center, console: Console) -> None:
    """Print what the versions hold, beside what knowledge of every user and item would take."""
    center.refresh()
    table = Table("version", "entries", "users", "items", "pairs", "users x items", "MB", "seconds to build", box=None)
    for version in center.versions:
        manifest = version.manifest
        counts = [sum(manifest.entries.values()), *(manifest.entries.get(key, 0) for key in ("user", "item", "pair"))]
        row = [manifest.version, *counts, manifest.of_all_pairs]
        table.add_row(*(f"{n:,}" for n in row), f"{manifest.bytes / 1e6:,.1f}", f"{manifest.seconds:.1f}")
    console.print(table)
    for why in center.refused.values():
        console.print(f"refused: {why}")

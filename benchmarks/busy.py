"""How much of a finished run's wall time its arms were at work."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.figures import Figure
from simulator.measure.stored import costs

WORK = ("predict", "compress", "learn", "measure")


def busy_share(run: Path) -> Figure:
    """Predicting (holdouts included), compressing and learning over all the time from the start of the replay on."""
    periods = costs(run)
    work = sum(
        stage["seconds"]
        for period in periods
        for arm in period["arms"]
        for name, stage in arm["stages"].items()
        if name in WORK
    )
    wall = sum(period["wall_seconds"] for period in periods)
    return Figure(name="busy_share", value=work / wall, unit="share", against=f"wall time of {run.name}", repeats=1)


def main_job() -> list[Figure]:
    """Of the demonstration, which has to be there."""
    run = Path("runs/stream_eleme-synthetic")
    if not run.exists():
        sys.exit(f"{run}: is not there; run make demo first")
    return [busy_share(run)]

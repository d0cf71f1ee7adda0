"""How much of a finished run's wall time its arms were at work."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.figures import Figure
from simulator.record.costs import read_costs
from simulator.record.experiment import key_of, read_experiment
from simulator.record.groups import Groups, read_groups
from simulator.record.layout import RunFolder

WORK = ("predict", "compress", "learn", "measure")


def busy_share(run: RunFolder) -> Figure:
    """Predicting (holdouts included), compressing and learning over all the time of all groups from the start on."""
    keys = read_experiment(run).keys
    groups = (read_groups(run) or Groups(groups=[keys], threads=0, chosen="")).groups
    work = wall = 0.0
    for period in read_costs(run, keys):
        arms = {key_of(arm.who): arm for arm in period.arms}
        work += sum(stage.seconds for arm in period.arms for name, stage in arm.stages.items() if name in WORK)
        wall += sum(max(arms[key].wall_seconds for key in group) for group in groups)
    return Figure(name="busy_share", value=work / wall, unit="share", against=f"wall time of {run.name}", repeats=1)


def main_job() -> list[Figure]:
    """Of the demonstration, which has to be there."""
    run = RunFolder(Path("runs/stream_eleme-synthetic"))
    if not run.experiment.exists():
        sys.exit(f"{run}: holds no run; run make demo first")
    return [busy_share(run)]

"""A small tuning in a process of its own, which can be killed.

python -m tests.simulator.tune.tuned_run FOLDER
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from simulator.cluster.session import ray_session
from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.record.tuning import Trial, Values, read_tuning
from simulator.stream.log import Log
from simulator.tune.settings import TuneSettings
from simulator.tune.tuning import tuned
from tests.simulator.main_job import ROOT
from tests.simulator.tiny import tiny_log, tiny_settings

ARMS = {
    "replay": ArmSettings(policy="replay"),
    "dert": ArmSettings(backbone="dert"),
}
TUNE = TuneSettings(periods=3, trials=4)


def main(folder: Path) -> None:
    """Tune, or go on tuning."""
    with ray_session(None):
        print(chosen(folder))


def chosen(folder: Path) -> dict[str, Values]:
    """What is chosen once what is left has been played."""
    settings = replace(tiny_settings(folder, arms=ARMS), seeds=[3, 4])
    return tuned(TUNE, play_of(settings), Log(folder / "log"), RunFolder(folder / "run"), print)


def start(folder: Path) -> subprocess.Popen[bytes]:
    """Begin to tune."""
    if not (folder / "log").exists():
        tiny_log(folder / "log", periods=4, rows=600)
        (folder / "run").mkdir()
    with (folder / "printed").open("w") as printed:  # not a pipe: Ray's agents outlive a driver that was killed
        return subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)], cwd=ROOT, stdout=printed, stderr=subprocess.STDOUT
        )


def ended(folder: Path) -> list[Trial]:
    """The trials so far, but for the time that they took."""
    tuning = read_tuning(RunFolder(folder / "run"))
    return [] if tuning is None else [replace(trial, seconds=0.0) for trial in tuning.ended]


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A small run of several kinds of arms in groups of workers, in which one process can be told to die.

python -m tests.simulator.cluster.played FOLDER GROUPS [WHO:STAGE:PERIOD ...]

WHO is `worker`, `workers` (all of them at once), `commons` or `driver`; it dies once, in the middle of a stage
(predict, compress, learn, commit) of a period, as soon as the first group has come to it. As long as there is a file
`hold` in FOLDER, every group waits where it begins.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pkb.edk import EDK
from simulator.cluster import progress
from simulator.cluster.groups import train
from simulator.cluster.progress import Now
from simulator.cluster.session import ray_session
from simulator.contender.settings import ArmSettings
from simulator.contender.yardsticks import YARDSTICKS
from simulator.loop.play import Play
from simulator.plays import play_of
from simulator.record.costs import PeriodCosts, read_costs
from simulator.record.files import write_text
from simulator.record.groups import read_groups
from simulator.record.layout import RunFolder
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.main_job import PATIENCE, ROOT, children_of
from tests.simulator.tiny import tiny_log, tiny_settings

PERIODS, ROWS = 5, 600
ARMS = {
    "finetune": ArmSettings(),
    "finetune_edk": ArmSettings(knowledge="edk"),
    "rim": ArmSettings(backbone="rim"),
    "dert": ArmSettings(backbone="dert"),
    "novelty": ArmSettings(knowledge="novelty", plug="join"),
}
KEYS = [
    *("finetune-0", "finetune_edk-0", "rim-0", "dert-0", "novelty-0", "finetune-1"),
    *(f"{name}-0" for name in YARDSTICKS),
]


def play_in(folder: Path, groups: str = "auto") -> Play:
    """What is played: every arm with one seed, one of them with two, and the yardsticks."""
    settings: Any = tiny_settings(folder, arms=ARMS)  # sections made on the fly
    small: Settings = replace(
        settings,
        seeds=[0, 1],
        yardsticks=list(YARDSTICKS),
        train=replace(settings.train, groups=groups, threads=1, epochs=3, max_failures=4),
        compress=replace(settings.compress, epochs=3),
        knowledge=replace(settings.knowledge, edk=EDK.Settings(patterns=3, depth=1)),
    )
    play = play_of(small)
    return replace(play, recipes=tuple(r for r in play.recipes if r.seed == 0 or r.name == "finetune"))


class Fate:
    """Stands in for the board of the progress display: what each worker tells is heard in that worker, at once."""

    def __init__(self, folder: Path, deaths: list[str]) -> None:
        self.folder, self.deaths, self.watches = folder, deaths, False

    @property
    def tell(self) -> Fate:
        return self

    def remote(self, group: int, now: Now) -> None:
        progress.EVERY_SECONDS = 0.0
        if not self.watches:
            self.watches = True
            write_text(self.folder / f"worker-{group}", str(os.getpid()))
            threading.Thread(target=self._watch_commits, args=(group,), daemon=True).start()
        while (self.folder / "hold").exists():
            time.sleep(0.01)
        if now.rows_per_second:
            self._meet(now.stage, now.period)

    def _watch_commits(self, group: int) -> None:
        run = RunFolder(self.folder / "run")
        groups = read_groups(run)
        assert groups is not None
        periods = [int(death.split(":")[2]) for death in self.deaths if ":commit:" in death]
        while periods:
            for period in periods:
                ends = [run.checkpoint(key, period) for key in groups.groups[group]]
                if any(end.with_name(f".{end.name}.partial").exists() for end in ends):
                    self._meet("commit", period)
            time.sleep(0.0005)

    def _meet(self, stage: str, period: int) -> None:
        for death in self.deaths:
            who, *where = death.split(":")
            if where == [stage, str(period)]:
                try:
                    struck(self.folder, death).touch(exist_ok=False)
                except FileExistsError:
                    continue
                self._kill(who)

    def _kill(self, who: str) -> None:
        driver, here = int((self.folder / "driver").read_text()), os.getpid()
        if who == "commons":
            [commons] = [pid for pid, title in children_of(driver).items() if "_CommonsActor" in title]
            os.kill(commons, signal.SIGKILL)
            return
        workers = {int(file.read_text()) for file in self.folder.glob("worker-*")}
        # Workers outlive their driver for a moment. One that went on could end the run.
        others = {"worker": set[int](), "workers": workers - {here}, "driver": {driver}}[who]
        for pid in (*others, here):
            os.kill(pid, signal.SIGKILL)


def struck(folder: Path, death: str) -> Path:
    """The file that tells that somebody has died this death."""
    return folder / f"struck-{death}"


def main(folder: Path, groups: str, *deaths: str) -> None:
    """Play, or go on playing."""
    (folder / "driver").write_text(str(os.getpid()))
    (folder / "run").mkdir(exist_ok=True)
    log = Log(folder / "log")
    with ray_session(None):
        train(play_in(folder, groups), log, RunFolder(folder / "run"), Fate(folder, list(deaths)), print)


def start(
    folder: Path, groups: int, *deaths: str, environment: Mapping[str, str] = os.environ
) -> subprocess.Popen[bytes]:
    """Begin to play in a process of its own."""
    if not (folder / "log").exists():
        tiny_log(folder / "log", periods=PERIODS, rows=ROWS)
    command = [sys.executable, "-m", __name__, str(folder), str(groups), *deaths]
    # Not a pipe: Ray's agents hold it open for a minute after a driver that was killed.
    with (folder / "printed").open("w") as printed:
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=printed, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Wait for the end of who plays, and of its workers, which live on for a moment after it was killed."""
    try:
        code = process.wait(PATIENCE)
    finally:
        process.kill()
    deadline = time.monotonic() + PATIENCE
    while any(Path(f"/proc/{file.read_text()}").exists() for file in folder.glob("worker-*")):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.05)
    return code


def played(folder: Path, groups: int, *deaths: str) -> Path:
    """Play in a process of its own, to its end; the folder of the run."""
    code = ended(start(folder, groups, *deaths), folder)
    killed = any(death.startswith("driver") for death in deaths)
    assert code == (-signal.SIGKILL if killed else 0), f"{code}: {(folder / 'printed').read_text()[-3000:]}"
    assert all(struck(folder, death).exists() for death in deaths), "nobody came to where it should have been killed"
    return folder / "run"


def costs(run: RunFolder) -> list[PeriodCosts]:
    return read_costs(run, KEYS)


def assert_same(run: RunFolder, other: RunFolder) -> None:
    """Every prediction, weight and count, to the bit; and nothing left over."""
    written = {file.relative_to(other.path) for file in other.path.rglob("predictions/*/*.parquet")}
    assert {file.relative_to(run.path) for file in run.path.rglob("predictions/*/*.parquet")} == written
    assert len(written) == PERIODS * (1 + len(KEYS)), "one more holds the world's truth"
    for file in written:
        one, two = (pq.read_table(r.path / file, partitioning=None) for r in (run, other))
        assert one.equals(two), file
    for key in KEYS:
        ends = [json.loads((r.checkpoint(key, PERIODS - 1) / "manifest.json").read_text()) for r in (run, other)]
        assert ends[0]["state.safetensors"] == ends[1]["state.safetensors"], key
        assert {entry.name for entry in run.contender(key).iterdir()} == {
            "committed",
            *(f"period-{period:05d}" for period in (PERIODS - 2, PERIODS - 1)),
        }
    assert run.complete_through(KEYS) == PERIODS - 1
    assert [[counted(arm) for arm in period.arms] for period in costs(run)] == [
        [counted(arm) for arm in period.arms] for period in costs(other)
    ]
    assert not list(run.path.rglob(".*")), "half written"
    assert not {"shared", "train"} & {entry.name for entry in run.path.iterdir()}


def counted(arm: object) -> dict[str, object]:
    """What a contender's period cost, but for seconds."""
    facts = dict(vars(arm))
    stages = {name: stage.rows for name, stage in facts.pop("stages").items()}
    return {name: fact for name, fact in facts.items() if not name.endswith("_seconds")} | {"stages": stages}


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

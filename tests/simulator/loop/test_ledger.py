"""Which rows reach training: each exactly once, never one of a holdout, whatever fails on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from pkb.edk import EDK
from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.policies import POLICIES
from simulator.record.layout import RunFolder
from simulator.settings import Settings, to_yaml
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from tests.simulator.loop.in_process import played
from tests.simulator.main_job import PATIENCE, ROOT, children_of
from tests.simulator.tiny import tiny_log, tiny_settings

TRAIN = """
import sys
from pathlib import Path
from simulator.cluster.progress import Board
from simulator.cluster.session import ray_session
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.settings import load
from simulator.stream.log import Log
from simulator.cluster.groups import train

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with ray_session(None):
        play = play_of(load(folder / "settings.yaml"))
        train(play, Log(folder / "log"), RunFolder(folder / "run"), Board.remote(), print)
"""


def trained(folder: Path, settings: Settings, log: Log, meddle: Callable[[int], None]) -> Path:
    """The folder of a finished run; `meddle` gets the process id of its driver while it plays."""
    assert log.folder == folder / "log"
    (folder / "settings.yaml").write_text(to_yaml(settings))
    (folder / "run").mkdir()
    script = folder / "train.py"
    script.write_text(TRAIN)
    with subprocess.Popen(
        [sys.executable, str(script), str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as play:
        try:
            meddle(play.pid)
            printed, _ = play.communicate(timeout=PATIENCE)
        finally:
            play.kill()
    assert play.returncode == 0, printed[-3000:]
    return folder / "run"


def learned(run: Path) -> pa.Table:
    return ds.dataset(run / "ledger", partitioning=None).to_table()


def times(run: Path, arm: str) -> Counter[int]:
    table = learned(run)
    return Counter(table.filter(ds.field("arm") == arm).column("row_id").to_pylist())


def holdouts(log: Log, settings: Settings) -> set[int]:
    share = settings.stream.holdout_share
    periods = [log.read(p) for p in log.periods]
    return {int(i) for rows in periods for i in rows.row_id[holdout_mask(rows, share)]}


def with_ledger(settings: Settings) -> Settings:
    return replace(settings, train=replace(settings.train, ledger=True, epochs=1))


def test_no_policy_with_or_without_knowledge_ever_learns_a_holdout_row(tmp_path: Path, one_thread: None) -> None:
    log = tiny_log(tmp_path / "log", periods=3, rows=400)
    arms = {policy: ArmSettings(policy=policy) for policy in POLICIES}
    arms |= {f"{policy}_edk": ArmSettings(policy=policy, knowledge="edk") for policy in POLICIES}
    settings = with_ledger(tiny_settings(tmp_path, arms=arms))
    settings = replace(settings, knowledge=replace(settings.knowledge, edk=EDK.Settings(patterns=2, depth=1)))
    run, held = played(play_of(settings), log, RunFolder(tmp_path / "run")).path, holdouts(log, settings)
    everything, first, last = set(range(1200)), set(range(400)), set(range(800, 1200))
    assert len(held) > 150
    for arm in arms:
        count = times(run, arm)
        policy = arms[arm].policy
        assert not held & count.keys(), arm
        assert count.keys() == (first if policy == "frozen" else everything) - held, arm
        once = {"frozen": first, "retrain_all": last, "retrain_window": last, "replay": last}
        assert {count[row] for row in once.get(policy, everything) - held} == {1}, arm


READS = "ray::ReadParquet"  # how Ray Data calls the tasks that read


def kill_read_tasks(driver: int) -> None:
    """Kills the first two tasks of the replay that are seen at work; they live for a fraction of a second."""
    deadline, killed = time.monotonic() + PATIENCE, set[int]()
    while len(killed) < 2 and time.monotonic() < deadline:
        pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) > driver)  # noqa: PTH208
        below = [pid for pid in pids if driver in (parent(pid), parent(parent(pid)))]
        for _ in range(20):
            for pid in below:
                if len(killed) < 2 and pid not in killed and of(pid, "cmdline").startswith(READS):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            time.sleep(0.002)
    assert len(killed) == 2


def parent(pid: int) -> int:
    return int((of(pid, "stat") or "0 () S 0").rsplit(")", 1)[1].split()[1])


def of(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_text()
    except OSError:  # it has ended meanwhile
        return ""


def training_workers(driver: int, without: Collection[int] = ()) -> list[int]:
    """Process ids of the two ranks, none of which are `without`."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        workers = [pid for pid, title in children_of(driver).items() if "RayTrainWorker" in title]
        if len(workers) == 2 and not set(workers) & set(without):
            return workers
        time.sleep(0.1)
    raise AssertionError("no two training workers came up")


def wait_for_period(folder: Path, period: int) -> None:
    file = RunFolder(folder / "run").costs(period, "finetune-0")
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)


@pytest.mark.slow
def test_two_workers_learn_each_row_exactly_once_though_reads_and_a_worker_die_and_a_rank_is_slow(
    tmp_path: Path,
) -> None:
    periods, rows = 5, 150_000  # a read must last until it is seen
    log = tiny_log(tmp_path / "log", periods=periods, rows=rows)
    settings = with_ledger(tiny_settings(tmp_path, workers=2))
    settings = replace(settings, train=replace(settings.train, batch_size=rows // 50))

    def meddle(driver: int) -> None:
        kill_read_tasks(driver)
        first = training_workers(driver)
        wait_for_period(tmp_path, 1)
        os.kill(first[1], signal.SIGKILL)
        _, slow = training_workers(driver, without=first)
        wait_for_period(tmp_path, 2)
        os.kill(slow, signal.SIGSTOP)
        threading.Timer(4, os.kill, (slow, signal.SIGCONT)).start()

    run = trained(tmp_path, settings, log, meddle)
    expected = set(range(periods * rows)) - holdouts(log, settings)
    count = times(run, "finetune")
    assert count.keys() == expected
    assert set(count.values()) == {1}
    ranks = [ds.dataset(sorted((run / "ledger").glob(f"*/*-rank-{rank}.parquet"))).count_rows() for rank in range(2)]
    assert sum(ranks) == len(expected)
    assert abs(ranks[0] - ranks[1]) <= periods * 50  # a row of each minibatch

"""However many groups play, and whoever is killed when, the run ends with the same bits."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.record.costs import PeriodCosts
from simulator.record.groups import read_groups
from simulator.record.layout import RunFolder
from tests.simulator.cluster.nodes import cluster
from tests.simulator.cluster.played import KEYS, PERIODS, assert_same, costs, ended, play_in, played, start
from tests.simulator.main_job import PATIENCE, children_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """One group, which nobody kills."""
    return RunFolder(played(tmp_path_factory.mktemp("undisturbed"), 1))


def test_the_contenders_are_those_of_the_play_and_their_predictions_differ(
    tmp_path: Path, undisturbed: RunFolder
) -> None:
    assert [recipe.key for recipe in play_in(tmp_path).recipes] == KEYS
    last = [pq.read_table(undisturbed.predictions(PERIODS - 1, key), partitioning=None) for key in KEYS]
    scores = [table.column("probability").to_pylist() for table in last]
    assert len({tuple(some) for some in scores}) == len(KEYS)
    memory = {arm.arm: arm.memory_bytes for arm in costs(undisturbed)[-1].arms}
    assert memory["rim"]["index"] > 0
    assert memory["dert"]["index"] > 0
    assert memory["finetune"]["index"] == 0


def test_whoever_is_killed_is_started_again_with_as_many_groups_as_asked_for_and_the_run_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: RunFolder
) -> None:
    committed: list[PeriodCosts] = []
    for groups, deaths in (
        (3, ["commons:predict:0", "workers:learn:1", "driver:learn:2"]),
        (2, ["worker:compress:3", "worker:commit:4"]),
    ):
        run = RunFolder(played(tmp_path, groups, *deaths))
        shares = read_groups(run)
        assert shares is not None
        assert len(shares.groups) == groups
        assert costs(run)[: len(committed)] == committed, "what was committed stays"
        committed = costs(run)
    assert len(committed) == PERIODS
    assert_same(run, undisturbed)


def test_groups_play_on_both_nodes_and_end_with_the_same_bits_if_one_of_them_dies(
    tmp_path: Path, undisturbed: RunFolder
) -> None:
    folder = tmp_path
    with cluster(2, 2) as nodes:
        environment = {**nodes.environment, "RAY_ADDRESS": nodes.address}
        (folder / "hold").touch()
        driver = start(folder, 2, environment=environment)
        try:
            first = workers_of(folder, 2)
            assert {nodes.of(pid) for pid in first} == {0, 1}
            (folder / "hold").unlink()
            wait_for_any_commit(RunFolder(folder / "run"))
            for pid in children_of(nodes.processes[1].pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        finally:
            code = ended(driver, folder)
        assert code == 0, (folder / "printed").read_text()[-3000:]
        assert len(set(first) & set(workers_of(folder, 2))) == 1, "one of them was started again"
    assert_same(RunFolder(folder / "run"), undisturbed)


def wait_for_any_commit(run: RunFolder) -> None:
    deadline = time.monotonic() + PATIENCE
    while max(run.committed(key) for key in KEYS) < 0:
        assert time.monotonic() < deadline, "nobody came to the end of the first period"
        time.sleep(0.01)


def workers_of(folder: Path, number: int) -> list[int]:
    """Process ids of the groups' workers, once all have something to tell."""
    deadline = time.monotonic() + PATIENCE
    while len(files := sorted(folder.glob("worker-*"))) < number:
        assert time.monotonic() < deadline, f"{number} groups did not come up"
        time.sleep(0.02)
    return [int(file.read_text()) for file in files]

"""However many groups play, and whoever is killed when, the run ends with the same bits."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.record.costs import PeriodCosts
from simulator.record.groups import read_groups
from simulator.record.layout import RunFolder
from tests.simulator.cluster.played import KEYS, PERIODS, assert_same, costs, play_in, played

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


@pytest.mark.parametrize(
    ("groups", "deaths"),
    [
        (2, ["worker:compress:1", "worker:learn:2", "worker:commit:3"]),
        (3, ["commons:predict:0", "workers:learn:2"]),
    ],
)
def test_who_is_killed_is_started_again_and_the_run_ends_with_the_same_bits(
    tmp_path: Path, undisturbed: RunFolder, groups: int, deaths: list[str]
) -> None:
    assert_same(RunFolder(played(tmp_path, groups, *deaths)), undisturbed)


def test_a_run_whose_driver_was_killed_goes_on_with_as_many_groups_as_asked_for(
    tmp_path: Path, undisturbed: RunFolder
) -> None:
    committed: list[PeriodCosts] = []
    for groups, death in ((2, "driver:compress:1"), (3, "driver:learn:2"), (1, None)):
        run = RunFolder(played(tmp_path, groups, *([] if death is None else [death])))
        shares = read_groups(run)
        assert shares is not None
        assert len(shares.groups) == groups
        assert costs(run)[: len(committed)] == committed, "what was committed stays"
        committed = costs(run)
        assert (len(committed) == PERIODS) == (death is None)
    assert_same(run, undisturbed)

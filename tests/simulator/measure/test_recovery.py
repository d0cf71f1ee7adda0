"""When a model that started afresh is level with one that did not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.measure.evaluate import evaluate
from simulator.measure.recovery import recovery_periods
from simulator.measure.value import Value, undefined
from tests.simulator.measure.fake_run import FakeRun, an_arm

BEHIND = Value(value=-0.03, low=-0.05, high=-0.01, n=1)
LEVEL = Value(value=-0.001, low=-0.01, high=0.008, n=1)
AHEAD = Value(value=0.02, low=0.01, high=0.03, n=1)
POINT = Value(value=-0.2, n=1)  # without an interval
NONE = undefined("the rows of period 4 are of one class")


@pytest.mark.parametrize(
    ("gaps", "periods", "shown_by"),
    [
        ([LEVEL, LEVEL, LEVEL], 0, 3),
        ([AHEAD], 0, 1),
        ([BEHIND, BEHIND, LEVEL, AHEAD], 2, 2),
        ([BEHIND, LEVEL, BEHIND, LEVEL], 3, 1),  # one period in which it is not behind is no recovery
        ([BEHIND, NONE, LEVEL], 2, 1),  # nothing was shown in the period between
        ([BEHIND, POINT, LEVEL], 2, 1),
    ],
)
def test_a_model_is_level_from_the_period_on_after_which_it_is_never_behind(
    gaps: list[Value], periods: int, shown_by: int
) -> None:
    found = recovery_periods(gaps)
    assert (found.value, found.n, found.reason) == (periods, shown_by, None)


@pytest.mark.parametrize(
    ("gaps", "reason"),
    [
        ([BEHIND, LEVEL, BEHIND], "still behind in the last of 3 periods that it predicts"),
        ([BEHIND, NONE], "still behind in the last of 2 periods that it predicts"),
        ([], "the run ends before the model that started afresh has predicted anything"),
        ([NONE], "the rows of period 4 are of one class"),
        ([POINT], "no difference has an interval: measure.bootstrap is too small"),
    ],
)
def test_one_that_is_not_shown_level_has_no_number_and_a_reason(gaps: list[Value], reason: str) -> None:
    found = recovery_periods(gaps)
    assert (found.value, found.reason) == (None, reason)


FAKE = FakeRun(
    periods=7,
    rows=1500,
    users=300,
    noise={"finetune": 0.5, "again": 0.5},
    its={"again": an_arm(restart_at=[1])},
    worse={"again": {2: 6.0, 3: 6.0}},
    served=False,
)


def rows_of(fake: FakeRun, folder: Path, metric: str) -> list[dict[str, Any]]:
    rows = evaluate(fake.write(folder / "run")).to_pylist()
    return [row for row in rows if row["metric"] == metric]


def test_of_one_seed_the_interval_is_over_users(tmp_path: Path) -> None:
    [row] = rows_of(FAKE, tmp_path, "recovery_periods")
    assert (row["arm"], row["of"], row["seed"], row["evaluated_on"]) == ("again", "finetune", 0, 1)
    assert (row["value"], row["n"], row["trained_through"], row["holdout"]) == (2.0, 3, 6, False)


def test_of_several_seeds_it_is_told_for_each_and_over_users_and_seeds_together(tmp_path: Path) -> None:
    fake = replace(FAKE, seeds=[0, 1, 2])
    assert {row["seed"]: row["value"] for row in rows_of(fake, tmp_path, "recovery_periods")}[None] == 2
    gaps = rows_of(fake, tmp_path, "restart_auc_difference")
    assert sorted({row["evaluated_on"] for row in gaps}) == [2, 3, 4, 5, 6]
    for period in (2, 4):
        mine = {row["seed"]: row for row in gaps if row["evaluated_on"] == period}
        assert mine[None]["value"] == pytest.approx(np.mean([mine[seed]["value"] for seed in fake.seeds]))
        assert mine[None]["low"] < mine[None]["value"] < mine[None]["high"]


def test_each_restart_ends_where_the_next_model_has_learned_something(tmp_path: Path) -> None:
    fake = replace(FAKE, its={"again": an_arm(restart_at=[1, 3, 6])})
    found = {row["evaluated_on"]: row for row in rows_of(fake, tmp_path, "recovery_periods")}
    assert found[1]["reason"] == "still behind in the last of 2 periods that it predicts"
    assert (found[3]["value"], found[3]["n"]) == (0.0, 3)
    assert found[6]["reason"] == "the run ends before the model that started afresh has predicted anything"


def test_without_the_same_arm_that_was_not_restarted_there_is_nothing_to_be_level_with(tmp_path: Path) -> None:
    fake = replace(FAKE, its={"again": an_arm(policy="ewc", restart_at=[1])})
    [row] = rows_of(fake, tmp_path, "recovery_periods")
    assert (row["of"], row["value"], row["reason"]) == (None, None, "no arm is the same but for restart_at")


def test_an_arm_that_was_stopped_is_not_level(tmp_path: Path) -> None:
    [row] = rows_of(replace(FAKE, stopped={"again": 5}), tmp_path, "recovery_periods")
    assert row["value"] is None
    assert "stopped: loss was nan" in row["reason"]

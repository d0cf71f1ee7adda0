"""Forgetting has an interval, and so has its difference between two arms."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from simulator.measure.evaluate import evaluate
from simulator.report.numbers import Numbers
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.measure.test_evaluate import one, rows_of


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    return evaluate(FakeRun(seeds=[0, 1], rows=900).write(tmp_path_factory.mktemp("runs") / "fake"))


def test_the_interval_stands_around_the_forgetting_of_the_matrix(table: pa.Table) -> None:
    for seed in (0, 1, None):
        lost = one(table, arm="finetune", seed=seed, metric="forgetting", of="auc")
        assert lost["low"] < lost["value"] < lost["high"]
    seeds = [one(table, arm="finetune", seed=seed, metric="forgetting", of="auc")["value"] for seed in (0, 1)]
    over = one(table, arm="finetune", seed=None, metric="forgetting", of="auc")["value"]
    assert over == pytest.approx(sum(seeds) / 2)
    assert Numbers(table).mean("forgetting", "finetune", of="auc").value == over


def test_arms_differ_by_the_difference_of_what_they_forget(table: pa.Table) -> None:
    mine, its = (
        one(table, arm=arm, seed=None, metric="forgetting", of="auc")["value"] for arm in ("frozen", "finetune")
    )
    gap = one(table, arm="frozen", seed=None, metric="forgetting_difference", of="finetune")
    assert gap["value"] == pytest.approx(mine - its)
    assert gap["low"] < gap["value"] < gap["high"]
    turned = one(table, arm="finetune", seed=None, metric="forgetting_difference", of="frozen")
    assert turned["value"] == pytest.approx(-gap["value"])


def test_a_stopped_arm_forgets_nothing_that_is_measured(tmp_path: Path) -> None:
    fake = FakeRun(noise={"frozen": 1.4, "finetune": 0.9}, stopped={"frozen": 2})
    gap = one(evaluate(fake.write(tmp_path / "run")), arm="finetune", metric="forgetting_difference", of="frozen")
    assert gap["reason"] == "stopped: loss was nan learning period 2, step 12"


def test_the_papers_protocol_has_no_forgetting(tmp_path: Path) -> None:
    table = evaluate(FakeRun(split=True).write(tmp_path / "run"))
    assert not rows_of(table, metric="forgetting_difference")

"""Yardsticks are measured as arms are, with the one seed that they have; what nothing had learned is in no mean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from simulator.measure.compare import Played, compare
from simulator.measure.evaluate import evaluate
from simulator.measure.results import about
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.measure.test_evaluate import one, rows_of

FAKE = FakeRun(
    noise={"finetune": 0.9, "finetune_edk": 0.8},
    yardsticks={"popularity": 1.5, "gbdt_counts": 0.2},
    seeds=[3, 4, 5],
    rows=1000,
)
YARDSTICKS = ("popularity", "gbdt_counts")
DIFFERENCE = "auc_prequential_difference"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return FAKE.write(tmp_path_factory.mktemp("runs") / "fake")


@pytest.fixture(scope="module")
def table(run: RunFolder) -> pa.Table:
    return evaluate(run)


def test_a_yardstick_has_every_number_of_its_one_seed_once(table: pa.Table) -> None:
    for metric in ("auc_prequential", "ne_prequential", "pcoc_prequential", "logloss_prequential"):
        assert {row["seed"] for row in rows_of(table, arm="popularity", metric=metric)} == {3, None}
        own, over = (one(table, arm="popularity", metric=metric, seed=seed) for seed in (3, None))
        assert own["value"] == over["value"]
    assert one(table, arm="popularity", metric="train_seconds", trained_through=2)["value"] == 2.0
    assert about(table).yardsticks == ["popularity", "gbdt_counts"]


def test_every_seed_of_an_arm_and_all_together_are_held_against_it(table: pa.Table) -> None:
    reached = one(table, arm="gbdt_counts", metric="auc_prequential", seed=None)["value"]
    gaps = [one(table, arm="finetune", metric=DIFFERENCE, of="gbdt_counts", seed=seed) for seed in (3, 4, 5, None)]
    for gap in gaps:
        mine = one(table, arm="finetune", metric="auc_prequential", seed=gap["seed"])["value"]
        assert gap["value"] == pytest.approx(mine - reached)
        assert gap["low"] < gap["value"] < gap["high"]


def test_a_yardstick_is_nobodys_baseline_and_stands_in_no_family_of_tests(table: pa.Table) -> None:
    tested = rows_of(table, metric="p_value_holm")
    assert {(row["arm"], row["of"], row["n"]) for row in tested} == {("finetune_edk", "finetune", 1)}


def test_arms_are_measured_as_if_there_were_no_yardsticks(table: pa.Table, tmp_path: Path) -> None:
    def arms(results: pa.Table) -> list[dict[str, Any]]:
        rows = [row for row in results.to_pylist() if row["arm"] not in YARDSTICKS and row["of"] not in YARDSTICKS]
        return [{**row, "run": ""} for row in rows]

    assert arms(evaluate(replace(FAKE, yardsticks={}).write(tmp_path / "alone"))) == arms(table)


def test_runs_with_yardsticks_are_compared(run: RunFolder, tmp_path: Path) -> None:
    other = replace(FAKE, yardsticks={"popularity": 1.5}).write(tmp_path / "other")
    runs = [Played(name=each.name, folder=each, experiment=read_experiment(each)) for each in (run, other)]
    table = compare(runs)
    assert about(table).yardsticks == ["fake/popularity", "fake/gbdt_counts", "other/popularity"]
    assert {row["arm"] for row in rows_of(table, metric="p_value_holm")} == {"other/finetune", "other/finetune_edk"}
    gap = one(table, arm="other/finetune", metric=DIFFERENCE, of="fake/gbdt_counts", seed=None)
    assert gap["high"] < 0


def test_periods_that_nobody_had_learned_anything_before_are_in_no_mean(tmp_path: Path) -> None:
    fake = FakeRun(noise={"finetune": 0.9, "frozen": 1.4}, periods=5, label_delay=2)
    table = evaluate(fake.write(tmp_path / "run"))
    assert about(table).counted_from == 3
    whole = one(table, arm="finetune", metric="auc_prequential")
    each = {
        row["evaluated_on"]: row["value"]
        for row in rows_of(table, arm="finetune", metric="auc", slice="all")
        if not row["holdout"]
    }
    assert whole["n"] == 2
    assert whole["value"] == pytest.approx((each[3] + each[4]) / 2)
    learned = one(table, arm="finetune", metric="plasticity", of="auc")
    assert learned["n"] == 3, "models through periods 0 and 1 had learned nothing"


def test_a_run_in_which_no_label_has_come_has_no_means(tmp_path: Path) -> None:
    table = evaluate(FakeRun(noise={"finetune": 0.9}, periods=3, label_delay=3).write(tmp_path / "run"))
    row = one(table, arm="finetune", metric="auc_prequential")
    assert row["reason"] == "no period after the first lesson holds both classes"


def test_nothing_is_relative_to_an_auc_that_is_hardly_above_chance(tmp_path: Path) -> None:
    fake = FakeRun(noise={"finetune": 0.9, "finetune_edk": 0.8}, random_labels=True, p_true=False)
    table = evaluate(fake.write(tmp_path / "run"))
    row = one(table, arm="finetune_edk", metric="rel_impr_auc_minus_half")
    assert row["value"] is None
    assert "is not clearly above 0.5: nothing is relative to it" in row["reason"]
    assert one(table, arm="finetune_edk", metric="rel_impr_auc")["value"] is not None

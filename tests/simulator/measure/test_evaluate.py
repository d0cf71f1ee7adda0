"""A run folder becomes a table of results that scikit-learn agrees with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from simulator.measure.evaluate import add_serving, evaluate
from simulator.measure.opponents import references
from simulator.measure.results import RESULTS, about
from simulator.record.experiment import read_experiment, write_experiment
from simulator.record.layout import RunFolder
from simulator.record.predictions import frequent_scenarios
from simulator.record.serving import read_serving, write_serving
from tests.simulator.measure.fake_run import ARMS, FakeRun, an_arm

Row = dict[str, Any]


def rows_of(table: pa.Table, **where: Any) -> list[Row]:
    return [row for row in table.to_pylist() if where.items() <= row.items()]


def one(table: pa.Table, **where: Any) -> Row:
    (row,) = rows_of(table, **({"slice": "all"} | where))
    return row


@pytest.fixture(scope="module")
def fake() -> FakeRun:
    return FakeRun(seeds=[0, 1])


@pytest.fixture(scope="module")
def run(fake: FakeRun, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return fake.write(tmp_path_factory.mktemp("runs") / "fake")


@pytest.fixture(scope="module")
def table(run: RunFolder) -> pa.Table:
    return evaluate(run)


def test_every_auc_and_log_loss_is_that_of_scikit_learn(run: RunFolder, table: pa.Table) -> None:
    frame = pq.read_table(run.path / "predictions").to_pandas()
    slices = {
        "all": np.ones(len(frame), bool),
        "new_user": frame.new_user,
        "seen_user": ~frame.new_user,
        "new_item": frame.new_item,
        "seen_item": ~frame.new_item,
        "activity_0_50": frame.activity < 50,
        "activity_50_150": (frame.activity >= 50) & (frame.activity < 150),
        "activity_150_300": (frame.activity >= 150) & (frame.activity < 300),
        "activity_300": frame.activity >= 300,
        **{f"scenario={scenario}": frame.scenario == scenario for scenario in (100, 101, 102)},
    }
    key = ["arm", "seed", "trained_through", "evaluated_on", "holdout"]
    groups = {name: dict(list(frame[mask].groupby(key, observed=True))) for name, mask in slices.items()}
    reference = {"auc": roc_auc_score, "logloss": lambda y, p: log_loss(y, p.astype(float), labels=[0, 1])}
    checked = 0
    for row in table.to_pylist():
        if row["metric"] in reference and row["value"] is not None:
            rows = groups[row["slice"]][tuple(row[column] for column in key)]
            assert row["value"] == pytest.approx(reference[row["metric"]](rows.label, rows.probability), abs=1e-9)
            assert row["n"] == len(rows)
            checked += row["slice"] == "all"
    assert checked == 2 * len(groups["all"])


def test_the_matrix_of_every_contender_has_no_hole(fake: FakeRun, table: pa.Table) -> None:
    wanted = {(i, j) for j in range(4) for i in (-1, *range(max(0, j - 1), 4))}
    for arm in ARMS:
        for seed in fake.seeds:
            cells = rows_of(table, arm=arm, seed=seed, metric="auc", holdout=True)
            assert {(row["trained_through"], row["evaluated_on"]) for row in cells} == wanted
            assert all(row["value"] is not None for row in cells)


def test_the_mean_prequential_auc_is_over_the_periods_after_the_first(table: pa.Table) -> None:
    for arm in ARMS:
        whole = one(table, arm=arm, seed=0, metric="auc_prequential")
        each = rows_of(table, arm=arm, seed=0, metric="auc", holdout=False, slice="all")
        assert whole["value"] == pytest.approx(np.mean([row["value"] for row in each if row["evaluated_on"] >= 1]))
        assert whole["n"] == 3
        assert whole["low"] < whole["value"] < whole["high"]


def test_knowledge_is_compared_with_the_same_backbone_and_policy_without_it(table: pa.Table) -> None:
    mine, other = (one(table, arm=a, seed=1, metric="auc_prequential")["value"] for a in ("finetune_edk", "finetune"))
    by_metric = {
        name: one(table, arm="finetune_edk", seed=1, metric=name, of="finetune")
        for name in ("auc_prequential_difference", "rel_impr_auc", "rel_impr_auc_minus_half")
    }
    assert by_metric["auc_prequential_difference"]["value"] == pytest.approx(mine - other)
    assert by_metric["rel_impr_auc"]["value"] == pytest.approx((mine - other) / other)
    assert by_metric["rel_impr_auc_minus_half"]["value"] == pytest.approx((mine - other) / (other - 0.5))
    assert all(row["low"] < row["value"] < row["high"] for row in by_metric.values())
    turned = one(table, arm="finetune", seed=1, metric="auc_prequential_difference", of="finetune_edk")
    assert turned["value"] == -by_metric["auc_prequential_difference"]["value"]


def test_a_paired_interval_is_narrower_than_the_two_apart(table: pa.Table) -> None:
    apart = [one(table, arm=arm, seed=0, metric="auc_prequential") for arm in ("finetune", "retrain_all")]
    pair = one(table, arm="finetune", seed=0, metric="auc_prequential_difference", of="retrain_all")
    assert pair["high"] - pair["low"] < sum(row["high"] - row["low"] for row in apart)


def test_no_arm_is_compared_with_knowledge_that_has_no_counterpart(
    fake: FakeRun, run: RunFolder, tmp_path: Path
) -> None:
    arms = {**ARMS, "frozen": an_arm(policy="frozen", knowledge="edk")}
    quick = replace(fake.experiment, arms=arms, bootstrap=0)
    assert references(quick) == {"finetune_edk": "finetune", "frozen": None}
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    write_experiment(copy, quick)
    row = one(evaluate(copy), arm="frozen", seed=0, metric="rel_impr_auc")
    assert row["value"] is None
    assert row["reason"] == "no arm has the same backbone and policy without knowledge"


def test_every_metric_of_the_whole_run_is_its_mean_over_periods_and_lies_in_its_interval(table: pa.Table) -> None:
    for metric in ("logloss", "ne", "pcoc", "brier", "gauc_impression", "gauc_user", "auc_request"):
        whole = one(table, arm="finetune", seed=1, metric=f"{metric}_prequential")
        each = rows_of(table, arm="finetune", seed=1, metric=metric, holdout=False, slice="all")
        mean = np.mean([row["value"] for row in each if row["evaluated_on"] >= 1])
        assert whole["value"] == pytest.approx(mean, rel=1e-6)
        assert whole["low"] < whole["value"] < whole["high"]
        mine, other = (one(table, arm=a, seed=1, metric=f"{metric}_prequential") for a in ("finetune", "frozen"))
        gap = one(table, arm="finetune", seed=1, metric=f"{metric}_prequential_difference", of="frozen")
        assert gap["value"] == pytest.approx(mine["value"] - other["value"])


def test_arms_are_tested_against_themselves_without_knowledge_or_against_the_first(table: pa.Table) -> None:
    of = {row["arm"]: row["of"] for row in rows_of(table, metric="p_value_holm", seed=None)}
    assert of == {"finetune": "frozen", "retrain_all": "frozen", "finetune_edk": "finetune"}
    for arm, other in of.items():
        p, corrected, least, gap = (
            one(table, arm=arm, metric=metric, of=other, seed=None, evaluated_on=None)
            for metric in ("p_value", "p_value_holm", "detectable_difference", "auc_prequential_difference")
        )
        assert p["value"] <= corrected["value"] <= 3 * p["value"]
        assert corrected["n"] == 3
        assert (p["value"] < 0.05) == (not gap["low"] <= 0 <= gap["high"])
        assert least["value"] > 0


def test_a_period_is_tested_by_delong(table: pa.Table) -> None:
    for row in rows_of(table, metric="p_value", seed=0, holdout=False):
        where = {"arm": row["arm"], "seed": 0, "of": row["of"], "evaluated_on": row["evaluated_on"]}
        gap = one(table, metric="auc_difference", **where)
        assert (row["value"] < 0.05) == (not gap["low"] <= 0 <= gap["high"])


def test_over_seeds_the_value_is_the_mean_and_the_interval_knows_of_both(table: pa.Table) -> None:
    for arm in ARMS:
        seeds = [one(table, arm=arm, seed=seed, metric="auc_prequential") for seed in (0, 1)]
        over = one(table, arm=arm, seed=None, metric="auc_prequential")
        assert over["value"] == pytest.approx(np.mean([row["value"] for row in seeds]))
        spread = abs(seeds[0]["value"] - seeds[1]["value"]) / 2  # the standard error that two seeds give by themselves
        assert over["high"] - over["value"] > 1.96 * spread


def test_one_seed_has_no_rows_over_seeds(tmp_path: Path) -> None:
    fake = FakeRun(periods=2)
    table = evaluate(fake.write(tmp_path / "run"))
    assert table.column("seed").null_count == 0
    assert len(rows_of(table, metric="p_value_holm", seed=0)) == 3


def test_the_split_protocol_is_measured_on_its_test_period_and_has_no_forgetting(tmp_path: Path) -> None:
    fake = FakeRun(split=True)
    table = evaluate(fake.write(tmp_path / "run"))
    for arm in ARMS:
        whole = one(table, arm=arm, metric="auc_prequential")
        assert whole["value"] == one(table, arm=arm, metric="auc", slice="all")["value"]
        assert whole["n"] == 1
        lost = one(table, arm=arm, metric="forgetting", of="auc")
        assert (lost["value"], lost["reason"]) == (None, "the protocol split has no holdouts, hence no R")


def test_forgetting_of_every_metric_with_a_direction_is_measured(table: pa.Table) -> None:
    of = {row["of"] for row in rows_of(table, arm="finetune", seed=0, metric="bwt")}
    assert of == {
        *("auc", "pr_auc", "gauc_impression", "gauc_user", "auc_request"),
        *("logloss", "ne", "brier", "ece"),
    }


def test_only_the_most_frequent_scenarios_are_slices(run: RunFolder) -> None:
    frame = pq.read_table(run.path / "predictions", columns=["scenario", "holdout"]).to_pandas()
    counts = frame[~frame.holdout].scenario.value_counts()
    assert frequent_scenarios(run, read_experiment(run).keys, 2) == list(counts.index[:2])


def test_forgetting_is_that_of_the_matrix(table: pa.Table) -> None:
    cells = rows_of(table, arm="finetune", seed=0, metric="logloss", holdout=True)
    R = {(row["trained_through"], row["evaluated_on"]): row["value"] for row in cells}
    lost = [R[3, j] - min(R[i, j] for i in range(j, 3)) for j in range(3)]
    assert one(table, arm="finetune", seed=0, metric="forgetting", of="logloss")["value"] == pytest.approx(
        np.mean(lost)
    )
    assert one(table, arm="retrain_all", seed=0, metric="intransigence", of="auc")["value"] == 0


def test_costs_are_summed_as_their_names_say(table: pa.Table) -> None:
    costs = {
        row["metric"]: row for row in rows_of(table, arm="finetune_edk", seed=0, trained_through=2, evaluated_on=None)
    }
    assert costs["train_seconds"]["value"] == 5.0
    assert costs["compress_seconds"]["value"] == 3.0
    assert costs["train_rows_per_second"]["value"] == 400 / 5.0
    cpu = {name: costs[f"{name}_cpu_seconds"]["value"] for name in ("train", "compress", "retrieve", "predict")}
    assert cpu == {"train": 2.5, "compress": 1.5, "retrieve": 0.0, "predict": 0.25}
    assert costs["train_rows_per_cpu_second"]["value"] == 400 / 2.5
    assert costs["knowledge_bytes"]["value"] == 2_500_000
    assert costs["memory_bytes"]["value"] == 8_000_000
    idle = one(table, arm="frozen", seed=0, trained_through=2, metric="train_rows_per_second")
    assert (idle["value"], idle["reason"]) == (None, "learned nothing in this period")


def test_latency_is_the_median_of_repeats_and_the_objective_allows_no_error(table: pa.Table) -> None:
    at_50 = one(table, arm="finetune", seed=0, metric="latency_p99_ms", slice="rate=50")
    assert at_50["value"] == 12 + 10 + 0.5
    assert one(table, arm="finetune", seed=0, metric="serving_errors", slice="rate=250")["value"] == 2
    assert one(table, arm="finetune", seed=0, metric="max_qps_at_slo")["value"] == 50
    assert one(table, arm="finetune", seed=0, metric="served_max_difference")["value"] == 3e-8


def test_what_is_written_is_what_is_returned(run: RunFolder) -> None:
    table = evaluate(run)
    written = pq.read_table(run.results)
    assert written.equals(table)
    assert written.schema.equals(RESULTS)
    assert about(written).data == "eleme-synthetic"
    assert not list(run.path.glob("*.partial"))
    assert all((row["value"] is None) == (row["reason"] is not None) for row in table.to_pylist())


def test_the_order_of_stored_rows_changes_no_bit(table: pa.Table, tmp_path: Path) -> None:
    again = FakeRun(seeds=[0, 1]).write(tmp_path / "fake")
    for place, file in enumerate(sorted(again.path.glob("predictions/*/*.parquet"))):
        stored = pq.read_table(file)
        pq.write_table(stored.take(np.random.default_rng(place).permutation(stored.num_rows)), file)
    assert evaluate(again).equals(table)


def test_only_periods_that_every_contender_has_committed_are_measured(tmp_path: Path) -> None:
    behind = evaluate(FakeRun(behind={"frozen": 2}).write(tmp_path / "behind"))
    through_2 = evaluate(FakeRun(periods=3).write(tmp_path / "short"))
    assert behind.drop_columns("run").equals(through_2.drop_columns("run"))


def test_serving_added_afterwards_gives_the_results_that_measuring_everything_would(tmp_path: Path) -> None:
    run = FakeRun().write(tmp_path / "run")
    whole, serving = evaluate(run), read_serving(run)
    assert serving is not None
    run.serving.unlink()
    before = evaluate(run)
    assert before.num_rows < whole.num_rows
    write_serving(run, serving)
    assert add_serving(run, before).equals(whole, check_metadata=True)
    assert add_serving(run, whole).equals(whole)
    assert pq.read_table(run.results).equals(whole)

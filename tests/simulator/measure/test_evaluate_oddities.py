"""Runs with something missing, undefined or damaged: a null with its reason, or one line that names the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.measure.evaluate import evaluate
from simulator.record.costs import StageCosts, read_costs, write_arm_costs
from simulator.record.experiment import read_experiment, write_experiment
from simulator.record.layout import RunFolder
from simulator.record.serving import read_serving, write_serving
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.measure.test_evaluate import one


def test_a_period_of_one_class_is_null_with_its_reason_and_left_out_of_means(tmp_path: Path) -> None:
    fake = FakeRun(one_class=2)
    table = evaluate(fake.write(tmp_path / "run"))
    row = one(table, arm="finetune", metric="auc", evaluated_on=2, holdout=False, slice="all")
    assert (row["value"], row["reason"]) == (None, "one class: 0 of 400 rows are clicks")
    assert one(table, arm="finetune", metric="auc_prequential")["n"] == 2
    assert one(table, arm="finetune", metric="forgetting", of="auc")["n"] == 2
    assert one(table, arm="finetune", metric="forgetting", of="logloss")["n"] == 3


def test_a_stopped_arm_keeps_its_place_with_the_reason(tmp_path: Path) -> None:
    fake = FakeRun(stopped={"finetune_edk": 2})
    table = evaluate(fake.write(tmp_path / "run"))
    reason = "stopped: loss was nan learning period 2, step 12"
    for where in (
        {"metric": "auc_prequential"},
        {"metric": "forgetting", "of": "auc"},
        {"metric": "auc", "evaluated_on": 3, "holdout": False, "slice": "all"},
        {"metric": "logloss", "evaluated_on": 1, "trained_through": 2, "holdout": True},
        {"metric": "train_seconds", "trained_through": 3},
    ):
        row = one(table, arm="finetune_edk", **where)
        assert (row["value"], row["reason"]) == (None, reason)
    predicted = one(table, arm="finetune_edk", metric="auc", evaluated_on=2, holdout=False, slice="all")
    assert predicted["value"] is not None
    assert one(table, arm="finetune", metric="auc_prequential")["value"] is not None


def test_probabilities_that_are_not_finite_are_named_and_not_measured(tmp_path: Path) -> None:
    fake = FakeRun()
    run = fake.write(tmp_path / "run")
    file = run.predictions(3, "frozen-0")
    stored = pq.read_table(file).to_pandas()
    broken = (stored.trained_through == 2) & ~stored.holdout
    stored.loc[stored.index[broken][:3], "probability"] = np.nan
    pq.write_table(pa.Table.from_pandas(stored, preserve_index=False), file)
    table = evaluate(run)
    row = one(table, arm="frozen", metric="auc", evaluated_on=3, holdout=False, slice="all")
    assert row["reason"] == "3 of 400 probabilities are not finite"
    assert one(table, arm="frozen", metric="auc_prequential")["reason"].endswith("no sound predictions for period 3")
    assert one(table, arm="finetune", metric="auc_prequential")["value"] is not None


def test_a_log_without_requests_and_a_run_without_serving_have_no_such_rows(tmp_path: Path) -> None:
    fake = FakeRun(requests=False, p_true=False, served=False, periods=1)
    table = evaluate(fake.write(tmp_path / "run"))
    metrics = {row["metric"] for row in table.to_pylist()}
    assert "auc_request" not in metrics
    assert "latency_p50_ms" not in metrics
    row = one(table, arm="finetune", metric="auc_prequential")
    assert row["reason"] == "no period after the first lesson holds both classes"


def test_a_run_that_has_committed_nothing_has_nothing_to_measure(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write_experiment(run, FakeRun().experiment)
    with pytest.raises(DataError, match="no period is complete; every contender must have committed it"):
        evaluate(run)


def test_an_arm_that_served_other_scores_than_numbers_is_null_with_its_reason(tmp_path: Path) -> None:
    run = FakeRun(periods=2).write(tmp_path / "run")
    serving = read_serving(run)
    assert serving is not None
    write_serving(run, replace(serving, checks=[replace(check, max_difference=None) for check in serving.checks]))
    row = one(evaluate(run), arm="frozen", metric="served_max_difference")
    assert (row["value"], row["reason"]) == (None, "a served probability is not finite")


def test_what_is_searched_for_compression_alone_is_part_of_training(tmp_path: Path) -> None:
    run = FakeRun(periods=2).write(tmp_path / "run")
    costs = read_costs(run, read_experiment(run).keys)[1]
    found = StageCosts(seconds=7.0, cpu_seconds=4.0, rows=400)
    reads = {"frozen": ["field_match"], "finetune": []}
    for arm in costs.arms:
        write_arm_costs(run, 1, replace(arm, reads=reads.get(arm.arm, []), stages={**arm.stages, "retrieve": found}))
    table = evaluate(run)
    for metric, expected in (("train_seconds", 9.0), ("train_cpu_seconds", 5.0)):
        taken = {name: one(table, arm=name, metric=metric, trained_through=1)["value"] for name in reads}
        assert taken == {"frozen": 0.0, "finetune": expected}


def test_damaged_files_are_named(tmp_path: Path) -> None:
    run = FakeRun(periods=2).write(tmp_path / "run")
    file = run.predictions(1, "finetune-0")
    stored = pq.read_table(file)
    named = r"^\S+period-00001/finetune-0\.parquet: "

    pq.write_table(pa.concat_tables([stored, stored.slice(5, 1)]), file)
    with pytest.raises(DataError, match=rf"{named}row \d+ was predicted twice by finetune-0"):
        evaluate(run)
    pq.write_table(stored.drop_columns(["label"]), file)
    with pytest.raises(DataError, match=rf"{named}not readable as predictions.*label"):
        evaluate(run)
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=rf"{named}not readable as predictions"):
        evaluate(run)
    file.write_bytes(run.predictions(1, "frozen-0").read_bytes())
    with pytest.raises(DataError, match=rf"{named}holds predictions of arms \['frozen'\] and seeds \[0\]"):
        evaluate(run)
    file.unlink()
    with pytest.raises(DataError, match=rf"{named}is missing"):
        evaluate(run)
    pq.write_table(stored.slice(1), file)
    with pytest.raises(DataError, match="hold different rows"):
        evaluate(run)
    pq.write_table(stored, file)
    for damaged in (run.costs(1, "frozen-0"), run.period_facts(1)):
        before = damaged.read_text()
        damaged.write_text("{")
        with pytest.raises(DataError, match=rf"period-00001/{damaged.name}: not readable as JSON"):
            evaluate(run)
        damaged.write_text(before)
    run.committed_file("frozen-0").write_text("one")
    with pytest.raises(DataError, match=r"frozen-0/committed: 'one' is not the number of a period"):
        evaluate(run)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0])
def test_bytes_that_were_overwritten_anywhere_are_one_line_that_names_the_file(tmp_path: Path, share: float) -> None:
    run = FakeRun(periods=1, noise={"finetune": 0.9}).write(tmp_path / "run")
    file = run.predictions(0, "finetune-0")
    content = bytearray(file.read_bytes())
    start = int(share * (len(content) - 200))
    content[start : start + 200] = np.random.default_rng(0).bytes(200)
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"^\S+period-00000/finetune-0\.parquet: .*restore the file, or .* run again$"):
        evaluate(run)


def test_an_arm_may_have_any_name_that_settings_allow(tmp_path: Path) -> None:
    noise = {"a.b": 0.9, ".hidden": 0.8, "_own": 0.7, "a-0-rank": 0.6, "period": 0.5}
    table = evaluate(FakeRun(periods=2, noise=noise, served=False).write(tmp_path / "seed=1"))
    for arm in noise:
        assert one(table, arm=arm, metric="auc_prequential")["value"] is not None

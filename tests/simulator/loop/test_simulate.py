"""The main job on real Ray, at a small size: what it leaves on disk."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from simulator.record.costs import PeriodCosts, read_arm_costs, read_costs
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.stream.log import Log
from tests.simulator.main_job import SERVED, TIMED, play, without

PERIODS = 4
ARMS = ("finetune", "retrain_all", "replay", "window_novelty", "finetune_edk", "finetune_rok", "rim", "dert")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an arm of every kind, with serving."""
    root = tmp_path_factory.mktemp("main")
    (root / "printed").write_text(play(root, *SERVED, *without(*ARMS)))
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    return folder / "runs" / "small"


def results(run: Path) -> pa.Table:
    return pq.read_table(run / "results.parquet")


def quality(run: Path) -> list[dict[str, object]]:
    """Every result that time and place do not decide."""
    rows = results(run).to_pylist()
    return [row for row in rows if not any(word in str(row["metric"]) for word in TIMED)]


def predictions(run: Path) -> pa.Table:
    table = ds.dataset(run / "predictions").to_table()
    return table.set_column(table.column_names.index("arm"), "arm", table.column("arm").cast(pa.string()))


def costs_of(run: Path, *arms: str) -> list[PeriodCosts]:
    return read_costs(RunFolder(run), [key_of((arm, 0)) for arm in arms or ARMS])


def cells(table: pa.Table, arm: str, *, holdout: bool) -> dict[tuple[int, int], pa.Table]:
    mine = table.filter((pc.field("arm") == arm) & (pc.field("holdout") == holdout))
    keys = {
        (i, j) for i, j in zip(*(mine.column(c).to_pylist() for c in ("trained_through", "evaluated_on")), strict=True)
    }
    return {(i, j): mine.filter((pc.field("trained_through") == i) & (pc.field("evaluated_on") == j)) for i, j in keys}


def test_the_run_prints_a_table_and_leaves_every_file(folder: Path, run: Path) -> None:
    printed = (folder / "printed").read_text()
    assert all(arm in printed for arm in ARMS)
    for name in ("config.yaml", "environment.json", "serving.json", "results.parquet", "report.html"):
        assert (run / name).is_file(), name
    assert len(list((run / "predictions").iterdir())) == PERIODS
    commit = json.loads((run / "environment.json").read_text())["commit"]
    costs = costs_of(run)
    assert len(costs) == PERIODS
    assert {arm.commit for period in costs for arm in period.arms} == {commit}
    assert sorted(key for share in json.loads((run / "groups.json").read_text())["groups"] for key in share) == sorted(
        key_of((arm, 0)) for arm in ARMS
    )
    assert not list(run.rglob(".*")), "nothing half written"
    assert not (run / "shared").exists()
    assert not (run / "train").exists()


def test_who_reads_neighbours_is_charged_for_the_pool_wherever_it_is_kept(run: Path) -> None:
    last = {arm.arm: arm for arm in costs_of(run)[-1].arms}
    index = {arm: last[arm].memory_bytes["index"] for arm in ARMS}
    assert {arm for arm, size in index.items() if size} == {"rim", "dert"}
    assert last["finetune_rok"].memory_bytes["teaching_index"] > 0
    assert all(last[arm].stages["retrieve"].rows > 0 for arm in ("rim", "dert", "finetune_rok"))


def test_r_has_no_hole_and_every_period_is_predicted_before_it_is_learned(run: Path) -> None:
    table = predictions(run)
    for arm in ARMS:
        matrix = cells(table, arm, holdout=True)
        lower = {(i, j) for i in range(PERIODS) for j in range(i + 1)}
        above = {(j - 1, j) for j in range(PERIODS)}
        untrained = {(-1, j) for j in range(PERIODS)}
        assert set(matrix) == lower | above | untrained
        assert set(cells(table, arm, holdout=False)) == above


def test_every_auc_and_logloss_recomputed_from_the_predictions_agrees_with_scikit_learn(run: Path) -> None:
    table, checked = predictions(run), 0
    by_arm = {
        (arm, holdout): cells(table, arm, holdout=holdout)
        for arm in (*ARMS, BEST_ATTAINABLE)
        for holdout in (True, False)
    }
    for row in results(run).to_pylist():
        if row["metric"] not in ("auc", "logloss") or row["slice"] != "all" or row["of"] is not None:
            continue
        rows = by_arm[row["arm"], row["holdout"]][row["trained_through"], row["evaluated_on"]]
        label, probability = (rows.column(c).to_numpy().astype(np.float64) for c in ("label", "probability"))
        expected = roc_auc_score(label, probability) if row["metric"] == "auc" else log_loss(label, probability)
        assert row["value"] == pytest.approx(expected, abs=1e-9)
        assert row["n"] == len(label)
        checked += 1
    assert checked == 2 * (len(ARMS) * (PERIODS * (PERIODS + 1) // 2 + 3 * PERIODS - 1) + PERIODS)


def test_no_arm_ever_learned_a_holdout_row_and_holdouts_keep_requests_whole(run: Path, folder: Path) -> None:
    table = predictions(run)
    log = Log(next(f for f in (folder / "data").iterdir() if f.is_dir()))
    for period in log.periods:
        rows = log.read(period)
        held = table.filter((pc.field("evaluated_on") == period.index) & pc.field("holdout"))
        held_ids = set(held.column("row_id").to_pylist())
        requests = set(held.column("request").to_pylist())
        assert rows.request is not None
        together = {int(r) for r, q in zip(rows.row_id, rows.request, strict=True) if int(q) in requests}
        assert held_ids == together
        finetune = read_arm_costs(RunFolder(run), period.index, "finetune-0")
        assert finetune.lesson is not None
        assert finetune.lesson.rows == len(rows) - len(held_ids)
        assert (finetune.lesson.passes == 1) or period.index == 0


def test_no_arm_exceeds_the_best_attainable_auc_beyond_noise(run: Path) -> None:
    rows = [r for r in results(run).to_pylist() if r["metric"] == "auc" and r["slice"] == "all" and not r["holdout"]]
    best = {r["evaluated_on"]: r["value"] for r in rows if r["arm"] == BEST_ATTAINABLE}
    assert len(best) == PERIODS
    for row in rows:
        if row["arm"] in ARMS and row["value"] is not None:
            assert row["low"] <= best[row["evaluated_on"]]


def test_served_scores_equal_the_offline_ones(run: Path) -> None:
    serving = json.loads((run / "serving.json").read_text())
    assert {c["arm"] for c in serving["checks"]} == set(ARMS)
    assert all(c["rows"] > 0 and c["max_difference"] <= 1e-6 for c in serving["checks"])
    assert all(m["errors"] == 0 and m["p99_ms"] > 0 for m in serving["measured"])


def test_the_same_command_after_the_end_changes_nothing_and_answers_in_seconds(folder: Path, run: Path) -> None:
    before, files = quality(run), {f: f.read_bytes() for f in (run / "predictions").rglob("*.parquet")}
    files[run / "serving.json"] = (run / "serving.json").read_bytes()
    used = cpu_seconds_of_children()
    printed = play(folder, *SERVED, *without(*ARMS))
    assert cpu_seconds_of_children() - used < 10, "on a machine with nothing else to do, these are its seconds"
    assert f"report:  {run / 'report.html'}" in printed
    assert (run / "serving.json").read_bytes() == files.pop(run / "serving.json")
    assert quality(run) == before
    assert {f: f.read_bytes() for f in (run / "predictions").rglob("*.parquet")} == files


def cpu_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_split_learns_its_training_span_once_and_serves_what_it_predicted_for_the_test_span(tmp_path: Path) -> None:
    split = ["stream.protocol=split", "stream.split.train_from=2022-01-04", "stream.split.test_from=2022-01-06"]
    arms = [*without("finetune_edk", "retrain_all", "rim"), "+arms.din={backbone: din}"]
    play(
        tmp_path,
        *SERVED,
        *split,
        *arms,
        "train.epochs=2",
        "stream.split.validation_share=0.25",
        "stream.world.periods=4",
    )
    run, log = tmp_path / "runs" / "small", Log(next(f for f in (tmp_path / "data").iterdir() if f.is_dir()))
    pool, training, _, test = (period.rows for period in log.periods)
    table = predictions(run)
    arms_played = {"finetune_edk", "retrain_all", "rim", "din"}
    assert set(table.column("arm").to_pylist()) == arms_played | {BEST_ATTAINABLE}
    cell = [table.column(c).to_pylist() for c in ("trained_through", "evaluated_on", "holdout")]
    assert set(zip(*cell, strict=True)) == {(2, 3, False)}
    assert table.num_rows == test * (len(arms_played) + 1)
    costs = [{arm.arm: arm.stages for arm in period.arms} for period in costs_of(run, *sorted(arms_played))]
    learned = {arm: stages["learn"].rows for arm, stages in costs[2].items()}
    assert {learned[arm] // training for arm in ("finetune_edk", "rim", "din")} <= {1, 2}
    assert learned["retrain_all"] % (pool + training) == 0
    assert costs[2]["finetune_edk"]["compress"].rows == pool
    assert not any("learn" in stages for period in (0, 1, 3) for stages in costs[period].values())
    aucs = {r["arm"]: r["value"] for r in results(run).to_pylist() if r["metric"] == "auc" and r["slice"] == "all"}
    assert aucs[BEST_ATTAINABLE] > max(aucs[arm] for arm in arms_played) > 0.5
    checks = json.loads((run / "serving.json").read_text())["checks"]
    assert {c["arm"] for c in checks} == arms_played
    assert all(c["rows"] > 0 and c["max_difference"] <= 1e-6 for c in checks)

"""What is measured of a scenario is what a run of its rows alone would say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from simulator.measure.by_scenario import absences
from simulator.measure.evaluate import evaluate
from simulator.record.layout import RunFolder
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.measure.test_evaluate import one, rows_of

NOISE = {"finetune": 0.9, "retrain_all": 0.75}
FAKE = FakeRun(seeds=[0, 1], rows=600, noise=NOISE, served=False, away={102: {2}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return FAKE.write(tmp_path_factory.mktemp("runs") / "fake")


@pytest.fixture(scope="module")
def table(run: RunFolder) -> pa.Table:
    return evaluate(run)


def test_every_number_of_a_scenario_is_that_of_a_run_of_its_rows_alone(table: pa.Table, tmp_path: Path) -> None:
    alone = FAKE.write(tmp_path / "fake")
    for file in alone.path.glob("predictions/*/*.parquet"):
        pq.write_table(pq.read_table(file).filter(pc.field("scenario") == 101), file)
    numbers = {key(row): row for row in rows_of(evaluate(alone), slice="all")}
    found = [row for row in rows_of(table, slice="scenario=101") if row["evaluated_on"] is None]
    assert {row["metric"] for row in found} == {
        "forgetting",
        *(f"{m}_prequential" for m in METRICS),
        *(f"{m}_prequential_difference" for m in METRICS),
    }
    for row in found:
        its = numbers[key(row)]
        assert [row[name] for name in COLUMNS] == [its[name] for name in COLUMNS], key(row)
    assert all(row["low"] < row["value"] < row["high"] for row in found if row["metric"] == "auc_prequential")


METRICS = ("auc", "logloss", "ne", "pcoc", "brier", "gauc_impression", "gauc_user", "auc_request")
COLUMNS = ("value", "low", "high", "n")


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("arm", "seed", "metric", "of", "trained_through", "evaluated_on", "holdout"))


def test_what_is_lost_of_a_scenario_that_is_away_is_measured_on_the_holdouts_before(
    run: RunFolder, table: pa.Table
) -> None:
    frame = pq.read_table(run.path / "predictions").to_pandas()
    frame = frame[frame.holdout & (frame.scenario == 102) & (frame.arm == "finetune") & (frame.seed == 0)]

    def auc(through: int) -> float:
        cells = [frame[(frame.trained_through == through) & (frame.evaluated_on == j)] for j in (0, 1)]
        return sum(float(roc_auc_score(its.label, its.probability)) for its in cells) / 2

    where = {"arm": "finetune", "seed": 0, "slice": "scenario=102", "trained_through": 2}
    assert one(table, metric="auc_while_absent", **where)["value"] == pytest.approx(auc(2))
    lost = one(table, metric="lost_while_absent", **where)
    assert lost["value"] == pytest.approx(auc(1) - auc(2))
    assert lost["low"] < lost["value"] < lost["high"]
    assert {row["slice"] for row in rows_of(table, metric="lost_while_absent")} == {"scenario=102"}


def test_an_absence_ends_when_the_scenario_returns_or_with_the_run() -> None:
    assert absences({1, 2, 5, 6}, 8) == [(2, range(3, 5)), (6, range(7, 9))]
    assert absences({0, 1}, 1) == []
    assert absences({3}, 4) == [(3, range(4, 5))]


def test_a_scenario_without_clicks_has_a_log_loss_and_no_auc(tmp_path: Path) -> None:
    run = FakeRun(noise={"finetune": 0.9}, periods=3, served=False).write(tmp_path / "fake")
    for file in run.path.glob("predictions/*/*.parquet"):
        stored = pq.read_table(file)
        clicks = pc.if_else(pc.equal(stored["scenario"], 100), pa.scalar(0, pa.int8()), stored["label"])
        pq.write_table(stored.set_column(stored.column_names.index("label"), "label", clicks), file)
    table, where = evaluate(run), {"arm": "finetune", "slice": "scenario=100", "seed": 0}
    auc = one(table, metric="auc_prequential", **where)
    assert (auc["value"], auc["reason"]) == (None, "no period after the first lesson holds both classes")
    assert one(table, metric="logloss_prequential", **where)["value"] > 0

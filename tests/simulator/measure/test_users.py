"""A row that does not say whose it is belongs to nobody: it is in no user metric, and moves with no other row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from simulator.measure.evaluate import evaluate
from simulator.measure.quality import quality
from simulator.measure.redraw import redraws
from simulator.measure.scored import scored
from simulator.measure.users import clusters
from simulator.record.layout import RunFolder
from simulator.record.predictions import Predictions, read_predictions
from simulator.stream.shown import Activity, shown
from tests.simulator.measure.fake_run import FakeRun
from tests.simulator.tiny import SCHEMA, tiny_log


@pytest.fixture(scope="module")
def known() -> Predictions:
    rng = np.random.default_rng(5)
    rows = 2_000
    probability = rng.uniform(0.05, 0.9, rows).astype(np.float32)
    return Predictions(
        arm="a",
        seed=0,
        trained_through=0,
        evaluated_on=1,
        holdout=False,
        row_id=np.arange(5_000, 5_000 + rows),
        label=(rng.random(rows) < probability).astype(np.int8),
        probability=probability,
        user=rng.integers(1, 60, rows).astype(np.int32),
        request=None,
        new_user=np.zeros(rows, bool),
        new_item=rng.random(rows) < 0.3,
        no_item=np.zeros(rows, bool),
        activity=rng.integers(0, 500, rows).astype(np.int32),
        scenario=None,
    )


@pytest.fixture(scope="module")
def nobodys(known: Predictions) -> np.ndarray:
    return np.random.default_rng(6).random(len(known.label)) < 0.7


@pytest.fixture(scope="module")
def mixed(known: Predictions, nobodys: np.ndarray) -> Predictions:
    """The same rows, of which most are nobody's."""
    return replace(known, user=np.where(nobodys, 0, known.user), activity=np.where(nobodys, 0, known.activity))


def alone(p: Predictions, rows: np.ndarray) -> Predictions:
    columns = ("row_id", "label", "probability", "user", "new_user", "new_item", "no_item", "activity")
    return replace(p, **{name: getattr(p, name)[rows] for name in columns})


def test_user_metrics_are_those_of_the_rows_that_have_a_user(mixed: Predictions, nobodys: np.ndarray) -> None:
    found = {(r.metric, r.slice): r.value for r in quality(scored([mixed])[0], [])}
    theirs = {(r.metric, r.slice): r.value for r in quality(scored([alone(mixed, ~nobodys)])[0], [])}
    for key in theirs:
        metric, part = key
        if metric.startswith("gauc") and not metric.endswith("impression_coverage"):
            assert found[key] == theirs[key]
        if part.startswith(("activity", "new_user", "seen_user")):
            assert found[key] == theirs[key]
    share = found["gauc_impression_coverage", "all"]
    assert share.n == len(mixed.label), "all rows, so that what does not count is seen"
    assert share.value is not None
    assert share.value < 0.31
    assert found.keys() == theirs.keys()


def test_metrics_of_all_rows_do_not_ask_whose_they_are(known: Predictions, mixed: Predictions) -> None:
    all_of = [{r.metric: r.value for r in quality(scored([p])[0], []) if r.slice == "all"} for p in (known, mixed)]
    for metric in ("auc", "logloss", "ne", "pcoc", "brier", "ece", "pr_auc"):
        assert all_of[0][metric] == all_of[1][metric]


def test_rows_without_an_item_are_of_no_slice_of_items(known: Predictions) -> None:
    no_item = np.arange(len(known.label)) % 2 == 0
    p = replace(known, no_item=no_item, new_item=known.new_item & ~no_item)
    found = {r.slice: r.value.n for r in quality(scored([p])[0], []) if r.metric == "logloss"}
    assert found["new_item"] + found["seen_item"] == np.count_nonzero(~no_item)
    assert found["new_user"] + found["seen_user"] == found["all"] == len(no_item)


def test_every_row_of_nobody_is_drawn_by_itself_as_if_it_had_a_user_of_its_own(mixed: Predictions) -> None:
    own = clusters(mixed)
    assert len(np.unique(own[mixed.no_user])) == mixed.no_user.sum()
    assert np.array_equal(own[~mixed.no_user], mixed.user[~mixed.no_user])
    later = replace(mixed, row_id=mixed.row_id + 10_000)
    assert not set(own[mixed.no_user]) & set(clusters(later)), "in another period they are others"


def test_intervals_do_not_widen_as_they_would_for_one_giant_user(known: Predictions, mixed: Predictions) -> None:
    giant = replace(mixed, user=np.where(mixed.no_user, 7_777, mixed.user))
    spread = {
        name: redraws(scored([p]), 200, 0) for name, p in {"mixed": mixed, "giant": giant, "known": known}.items()
    }
    for metric in ("auc", "logloss", "brier"):
        width = {name: float(np.std(found[metric][0, 1:])) for name, found in spread.items()}
        assert width["mixed"] < 1.3 * width["known"]
    rows_drawn = {name: found["pcoc"][0, 0] for name, found in spread.items()}
    assert len(set(rows_drawn.values())) == 1
    own = redraws(scored([mixed]), 50, 0)["gauc_user"]
    only = redraws(scored([alone(mixed, ~mixed.no_user)]), 50, 0)["gauc_user"]
    assert np.allclose(own, only, rtol=1e-12)


def test_nobody_is_neither_new_nor_seen_nor_active(tmp_path: Path) -> None:
    log, activity = tiny_log(tmp_path / "log"), Activity()
    for period in log.periods:
        rows = log.read(period)
        rows.ids_BF[::3, SCHEMA.user_column] = 0
        rows.ids_BF[::4, SCHEMA.item_column] = 0
        seen = shown(rows, SCHEMA, period.start, log.vocabulary_before(period), activity.counts())
        assert not seen.new_user[::3].any()
        assert not seen.new_item[::4].any()
        assert seen.no_item[::4].all()
        assert (seen.activity[::3] == 0).all()
        activity.add(seen.user, period.end)
    assert (activity.counts().value[0], activity.counts().value.max() > 10) == (0, True)


def test_what_is_stored_of_rows_without_user_or_item_is_measured_without_them(tmp_path: Path) -> None:
    run: RunFolder = FakeRun(noise={"finetune": 0.9}, periods=2, served=False, p_true=False).write(tmp_path / "run")
    for period in range(2):
        file = run.predictions(period, "finetune-0")
        table = pq.read_table(file)
        for name, none in (("new_user", None), ("new_item", None), ("user", 0)):
            third = pc.equal(pc.bit_wise_and(table.column("row_id"), 3), 0)
            values = pc.if_else(third, pa.scalar(none, table.schema.field(name).type), table.column(name))
            table = table.set_column(table.column_names.index(name), name, values)
        pq.write_table(table, file)
    pieces = [p for some in read_predictions(run, ["finetune-0"]) for p in some if not p.holdout]
    assert all(np.array_equal(p.no_user, p.row_id % 4 == 0) and np.array_equal(p.no_item, p.no_user) for p in pieces)
    assert all(p.new_user.dtype == bool and p.new_item.dtype == bool for p in pieces)
    rows = [row for row in evaluate(run).to_pylist() if row["metric"] == "logloss" and row["evaluated_on"] == 1]
    counts = {row["slice"]: row["n"] for row in rows if not row["holdout"] and row["slice"] != "all"}
    assert counts["new_user"] + counts["seen_user"] == 300
    assert counts["new_item"] + counts["seen_item"] == 300
    assert sum(n for name, n in counts.items() if name.startswith("activity")) == 300

"""A redraw of users gives each metric the value that it has on the rows of the users drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulator.measure.calibration import brier, logloss, ne, pcoc
from simulator.measure.ranking import grouped_auc
from simulator.measure.redraw import redraws
from simulator.measure.scored import scored
from simulator.measure.significance import user_counts
from simulator.measure.tally import GroupedTally, Tally
from simulator.record.predictions import Predictions

ROWS, USERS, REDRAWS = 600, 40, 6
TALLIED = {"logloss": logloss, "ne": ne, "pcoc": pcoc, "brier": brier}


@pytest.fixture(scope="module")
def piece() -> Predictions:
    rng = np.random.default_rng(0)
    request = rng.integers(0, 150, ROWS)
    probability = rng.uniform(0.01, 0.9, ROWS).round(2).astype(np.float32)
    return Predictions(
        arm="a",
        seed=0,
        trained_through=0,
        evaluated_on=1,
        holdout=False,
        row_id=np.arange(ROWS),
        label=(rng.random(ROWS) < probability).astype(np.int8),
        probability=probability,
        user=1 + request % USERS,
        request=request,
        new_user=np.zeros(ROWS, bool),
        new_item=np.zeros(ROWS, bool),
        no_item=np.zeros(ROWS, bool),
        activity=np.zeros(ROWS, np.int32),
        scenario=None,
    )


def test_a_redraw_is_the_metric_on_the_rows_of_the_users_drawn(piece: Predictions) -> None:
    found = redraws(scored([piece]), REDRAWS, seed=3)
    assert piece.request is not None
    for redraw in range(REDRAWS):
        times = user_counts(piece.user, redraw, 3)
        copy = np.concatenate([np.arange(count) for count in times])  # a user drawn twice is two users
        label, score = (np.repeat(column, times) for column in (piece.label, piece.probability))
        user, request = (np.repeat(column, times) + 1000 * copy for column in (piece.user, piece.request))
        at = (0, 1 + redraw)
        for name, metric in TALLIED.items():
            assert found[name][at] == pytest.approx(metric(Tally.of(label, score)).value, rel=1e-9)
        by_user = grouped_auc(GroupedTally.of(label, score, user))
        assert found["gauc_impression"][at] == pytest.approx(by_user.by_row().value, abs=1e-12)
        assert found["gauc_user"][at] == pytest.approx(by_user.by_group().value, abs=1e-12)
        by_request = grouped_auc(GroupedTally.of(label, score, request))
        assert found["auc_request"][at] == pytest.approx(by_request.by_group().value, abs=1e-12)


def test_equal_predictions_have_equal_redraws(piece: Predictions) -> None:
    for values in redraws(scored([piece, piece.renamed("b")]), REDRAWS, seed=3).values():
        np.testing.assert_array_equal(values[0], values[1])


def test_rows_without_clicks_have_losses_only(piece: Predictions) -> None:
    nothing = replace(piece, label=np.zeros(ROWS, np.int8), request=None)
    found = redraws(scored([nothing]), REDRAWS, seed=3)
    assert "auc_request" not in found
    assert {name for name, values in found.items() if np.isfinite(values).all()} == {"logloss", "brier"}
    assert all(np.isnan(found[name]).all() for name in ("auc", "ne", "pcoc", "gauc_impression", "gauc_user"))

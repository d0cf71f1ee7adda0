"""Losses and calibration against scikit-learn, plain loops and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import brier_score_loss, log_loss

from simulator.measure.calibration import ECE_BINS, brier, ece, logloss, ne, pcoc
from simulator.measure.tally import Tally
from tests.simulator.measure.drawn import Rows, both_classes, columns, rows


@given(both_classes)
def test_losses_are_those_of_scikit_learn(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)  # holds probabilities of exactly 0, which are clipped
    tally, wide = Tally.of(label, score), score.astype(np.float64)
    assert logloss(tally).value == pytest.approx(log_loss(label, wide, labels=[0, 1]), rel=1e-12)
    assert brier(tally).value == pytest.approx(brier_score_loss(label, wide), rel=1e-12)


def test_predicting_the_click_rate_has_normalised_entropy_one_and_is_calibrated() -> None:
    tally = Tally.of(np.array([1, 0, 0, 0]), np.full(4, 0.25))
    assert ne(tally).value == pytest.approx(1)
    assert pcoc(tally).value == pytest.approx(1)
    assert ece(tally).value == 0
    assert pcoc(Tally.of(np.array([1, 0, 0, 0]), np.full(4, 0.5))).value == pytest.approx(2)


def test_no_rows_have_no_loss_and_no_clicks_have_no_pcoc() -> None:
    nothing = Tally.of(np.array([]), np.array([]))
    for metric in (logloss, brier, ece, ne, pcoc):
        assert metric(nothing).value is None
        assert metric(nothing).reason
    assert pcoc(Tally.of(np.zeros(3), np.full(3, 0.1))).reason == "none of 3 rows is a click"
    assert ne(Tally.of(np.ones(3), np.full(3, 0.1))).reason == "one class: 3 of 3 rows are clicks"


def test_ece_is_that_of_equal_bins_where_no_score_ties() -> None:
    rng = np.random.default_rng(0)
    score, size = np.sort(rng.random(40 * ECE_BINS)), 40
    label = rng.random(len(score)) < score**2
    bins = [slice(start, start + size) for start in range(0, len(score), size)]
    expected = sum(abs(label[b].mean() - score[b].mean()) for b in bins) / ECE_BINS
    order = rng.permutation(len(score))
    assert ece(Tally.of(label[order], score[order])).value == pytest.approx(expected, abs=1e-12)


@given(rows)
def test_ece_lies_between_the_error_of_the_mean_and_the_mean_error(drawn: Rows) -> None:
    label, score, _, _ = columns(drawn)
    wide = score.astype(np.float64)
    value = ece(Tally.of(label, score)).value
    assert value is not None
    assert abs(wide.mean() - label.mean()) - 1e-12 <= value <= np.abs(wide - label).mean() + 1e-12

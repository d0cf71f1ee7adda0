"""Intervals against brute force, repeated sampling and one another."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from simulator.measure.estimate import Estimate
from simulator.measure.ranking import auc
from simulator.measure.significance import percentile_interval, user_counts
from tests.simulator.measure.drawn import Rows, both_classes, columns
from tests.simulator.measure.of_rows import bootstrap_aucs, delong, delong_difference

Z = norm.ppf(0.975)


def sample(seed: int, rows: int = 400, users: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, the scores of a model with AUC Phi(1 / sqrt 2), users."""
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.3).astype(np.int8)
    return label, rng.normal(size=rows) + label, rng.integers(0, users or rows, rows)


def covariance_by_pairs(label: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """DeLong's covariance of two AUCs from the kernel of every (positive, negative) pair."""

    def kernel(score: np.ndarray) -> np.ndarray:
        positive, negative = score[label == 1][:, None], score[label == 0][None, :]
        beaten: np.ndarray = (positive > negative) + 0.5 * (positive == negative)
        return beaten

    ka, kb = kernel(a), kernel(b)
    over_positives = np.cov(ka.mean(axis=1), kb.mean(axis=1))[0, 1] / ka.shape[0]
    over_negatives = np.cov(ka.mean(axis=0), kb.mean(axis=0))[0, 1] / ka.shape[1]
    return float(over_positives + over_negatives)


@given(st.integers(0, 1000), st.integers(2, 8))
def test_delong_is_that_of_all_pairs_with_ties(seed: int, levels: int) -> None:
    label, score, _ = sample(seed, 60)
    score = np.round(score * levels)
    measured, point = delong(label, score), auc(label, score).value
    assert point is not None
    assert measured.value == point
    reach = Z * np.sqrt(covariance_by_pairs(label, score, score))
    assert measured.low == pytest.approx(max(0, point - reach), abs=1e-10)
    assert measured.high == pytest.approx(min(1, point + reach), abs=1e-10)


@given(st.integers(0, 1000))
def test_delong_of_a_difference_takes_the_correlation_in(seed: int) -> None:
    label, a, _ = sample(seed, 60)
    b = a + np.random.default_rng(seed + 1).normal(size=60)
    estimate = delong_difference(label, a, b)
    assert isinstance(estimate, Estimate)
    measured = estimate.interval()
    variance = (
        covariance_by_pairs(label, a, a) + covariance_by_pairs(label, b, b) - 2 * covariance_by_pairs(label, a, b)
    )
    assert measured.value is not None
    assert measured.low == pytest.approx(measured.value - Z * np.sqrt(variance), abs=1e-10)
    assert measured.high == pytest.approx(measured.value + Z * np.sqrt(variance), abs=1e-10)


def test_a_model_does_not_differ_from_itself() -> None:
    label, score, _ = sample(0)
    estimate = delong_difference(label, score, score)
    assert isinstance(estimate, Estimate)
    same = estimate.interval()
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_one_class_has_no_auc_and_one_positive_no_interval() -> None:
    assert delong(np.zeros(5), np.arange(5.0)).reason == "one class: 0 of 5 rows are clicks"
    single = delong(np.array([0, 0, 1]), np.arange(3.0))
    assert (single.value, single.low) == (1, None)


def covering(intervals: Iterator[tuple[float | None, float | None]]) -> float:
    truth = norm.cdf(1 / np.sqrt(2))
    found = [low is not None and high is not None and low <= truth <= high for low, high in intervals]
    return float(np.mean(found))


def test_delong_covers_the_true_auc_19_times_in_20() -> None:
    values = (delong(*sample(seed)[:2]) for seed in range(400))
    assert 0.92 < covering((v.low, v.high) for v in values) < 0.98


def test_the_bootstrap_covers_the_true_auc_19_times_in_20() -> None:
    def interval(seed: int) -> tuple[float | None, float | None]:
        label, score, user = sample(seed, users=200)
        return percentile_interval(bootstrap_aucs(label, [score], user, 200, seed)[0])

    assert 0.92 < covering(interval(seed) for seed in range(250)) < 0.98


def test_the_bootstrap_of_independent_rows_is_as_wide_as_delong() -> None:
    label, score, _ = sample(1, 4000)
    low, high = percentile_interval(bootstrap_aucs(label, [score], np.arange(4000), 400, 0)[0])
    exact = delong(label, score)
    assert None not in (low, high, exact.low, exact.high)
    assert (high or 0) - (low or 0) == pytest.approx((exact.high or 0) - (exact.low or 0), rel=0.15)


def test_rows_that_move_together_widen_the_bootstrap() -> None:
    label, score, user = sample(2, 400)
    ten = [np.repeat(column, 10) for column in (label, score, user)]
    by_user = bootstrap_aucs(ten[0], [ten[1]], ten[2], 200, 0)[0].std()
    by_row = bootstrap_aucs(ten[0], [ten[1]], np.arange(4000), 200, 0)[0].std()
    assert by_user > 2.5 * by_row


def test_the_bootstrap_repeats_itself_and_pairs_the_arms() -> None:
    label, score, user = sample(3, users=50)
    a, b = bootstrap_aucs(label, [score, score], user, 20, seed=5)
    again = bootstrap_aucs(label, [score], user, 20, seed=5)[0]
    other = bootstrap_aucs(label, [score], user, 20, seed=6)[0]
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(a, again)
    assert (a != other).any()


def test_a_replicate_is_the_auc_of_the_drawn_users_rows() -> None:
    label, score, user = sample(4, users=50)
    drawn = user_counts(user, 7, seed=5)
    replicate = bootstrap_aucs(label, [score], user, 8, seed=5)[0, 7]
    assert replicate == auc(np.repeat(label, drawn), np.repeat(score, drawn)).value


@given(both_classes, st.integers(0, 3))
def test_every_redraw_is_the_auc_of_rows_with_their_users_counts_as_weights(drawn: Rows, seed: int) -> None:
    label, score, user, _ = columns(drawn)
    for replicate, found in enumerate(bootstrap_aucs(label, [score], user, 5, seed)[0]):
        weighted = auc(label, score, user_counts(user, replicate, seed)).value
        assert (None if np.isnan(found) else found) == weighted


def test_redraws_of_one_class_alone_have_no_auc() -> None:
    for label in (np.zeros(4), np.ones(4)):
        assert np.isnan(bootstrap_aucs(label, [np.arange(4.0)], np.arange(4), 3, 0)).all()


def test_a_user_is_drawn_alike_in_every_period() -> None:
    some, others = np.array([3, 5, 9]), np.array([9, 4, 3, 3])
    first, second = user_counts(some, 2, 0), user_counts(others, 2, 0)
    assert list(second[[2, 0]]) == list(first[[0, 2]])
    assert second[2] == second[3]


def test_counts_are_poisson_with_mean_one_and_unrelated_between_replicates() -> None:
    users = np.arange(100_000)
    one, two = (user_counts(users, replicate, 0).astype(float) for replicate in (0, 1))
    assert one.mean() == pytest.approx(1, abs=0.02)
    assert one.var() == pytest.approx(1, abs=0.03)
    assert (one == 0).mean() == pytest.approx(np.exp(-1), abs=0.01)
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.02


def test_an_interval_needs_most_replicates_defined() -> None:
    assert percentile_interval(np.array([])) == (None, None)
    assert percentile_interval(np.array([0.5, np.nan])) == (None, None)
    low, high = percentile_interval(np.linspace(0, 1, 39))  # the outermost two of 39 leave out 1 in 40 each
    assert (low, high) == pytest.approx((0, 1))

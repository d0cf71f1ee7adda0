"""Intervals over seeds and users, p-values, Holm's correction, detectable differences."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm, t, ttest_1samp

from simulator.measure.estimate import Estimate, degrees_of_freedom, holm

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_of_a_known_case() -> None:
    # 0.01 x 4, then 0.02 x 3; 0.03 x 2 may not fall below it, nor 0.04 x 1
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])


@given(p_values)
def test_holm_keeps_the_order_and_lies_between_no_correction_and_bonferroni(drawn: list[float]) -> None:
    adjusted = holm(drawn)
    for p, corrected in zip(drawn, adjusted, strict=True):
        assert p <= corrected <= min(1, len(drawn) * p)
    assert np.all(np.diff(np.array(adjusted)[np.argsort(drawn, kind="stable")]) >= 0)


@given(p_values, st.randoms(use_true_random=False))
def test_holm_does_not_depend_on_the_order_of_the_tests(drawn: list[float], random: Random) -> None:
    order = list(range(len(drawn)))
    random.shuffle(order)
    assert holm([drawn[i] for i in order]) == [holm(drawn)[i] for i in order]


def test_holm_rejects_a_true_hypothesis_in_at_most_one_family_of_twenty() -> None:
    families = np.random.default_rng(0).random((4000, 6))
    wrong = np.mean([min(holm(list(family))) < 0.05 for family in families])
    assert 0.04 < wrong < 0.06


def test_seeds_without_users_noise_give_students_t() -> None:
    values = np.array([0.3, 0.1, 0.4, 0.15, 0.2])
    samples = np.repeat(values[:, None], 50, axis=1)
    estimate = Estimate.over_seeds(samples, 3)
    reference = ttest_1samp(values, 0)
    interval = reference.confidence_interval(0.95)
    assert estimate.interval().low == pytest.approx(interval.low)
    assert estimate.interval().high == pytest.approx(interval.high)
    assert estimate.p_value().value == pytest.approx(reference.pvalue)


def test_one_seed_gives_the_normal_interval_of_the_redraws() -> None:
    redrawn = np.random.default_rng(0).normal(0.1, 0.05, 200)
    estimate = Estimate.over_seeds(np.concatenate([[0.1], redrawn])[None], 3)
    assert estimate.error == pytest.approx(redrawn.std(ddof=1))
    assert estimate.freedom == math.inf
    assert estimate.p_value().value == pytest.approx(2 * norm.sf(0.1 / redrawn.std(ddof=1)))


def test_the_interval_over_seeds_and_users_covers_the_truth_19_times_in_20() -> None:
    rng, hits = np.random.default_rng(1), 0
    for _ in range(600):  # value = truth + what the users share + what the seed adds
        redrawn = rng.normal(0, 1.0, 100)  # the spread of the users' draw, as a bootstrap would find it
        values = rng.normal(0, 1.0) + rng.normal(0, 1.5, 5)
        samples = np.concatenate([values[:, None], values[:, None] + redrawn], axis=1)
        interval = Estimate.over_seeds(samples, 3).interval()
        hits += (interval.low or 0) < 0 < (interval.high or 0)
    assert 0.92 < hits / 600 < 0.98


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 10])
@pytest.mark.parametrize(
    ("users", "own", "of_seeds"),
    [(1, 0, 0.05), (1, 0, 0.5), (1, 0, 1.5), (1, 0, 4), (1, 0, 30), (1, 1, 0), (1, 1, 1.5), (0.1, 1, 1)],
)
def test_an_interval_over_few_seeds_covers_the_truth_19_times_in_20_whatever_varies_most(
    seeds: int, users: float, own: float, of_seeds: float
) -> None:
    """A value is the truth, what users do to all seeds, what they do to one seed's model, and what the seed does.

    Of one seed the truth is that seed's. The mean of values says nothing of their spread, so that how often an
    interval of some width covers is known, and few repeats tell the average.
    """
    rng, covered = np.random.default_rng(seeds), []
    error = math.sqrt(users**2 + (own**2 + of_seeds**2 * (seeds > 1)) / seeds)
    for _ in range(1000):
        values = rng.normal(0, math.hypot(own, of_seeds), (seeds, 1))
        redrawn = rng.normal(0, users, 100) + rng.normal(0, own, (seeds, 100))
        interval = Estimate.over_seeds(np.hstack([values, values + redrawn]), 3).interval()
        assert interval.high is not None
        assert interval.low is not None
        covered.append(2 * norm.cdf((interval.high - interval.low) / 2 / error) - 1)
    assert 0.935 < np.mean(covered) < 0.965


@pytest.mark.parametrize(("seeds", "least", "most"), [(2, 0.935, 0.966), (3, 0.946, 0.955), (10, 0.946, 0.955)])
def test_degrees_of_freedom_hold_95_percent_whatever_the_ratio_of_users_to_seeds(
    seeds: int, least: float, most: float
) -> None:
    quantiles = (np.arange(4_000) + 0.5) / 4_000
    of_seeds = chi2.ppf(quantiles, seeds - 1) / (seeds - 1)  # how a variance of 1 is estimated
    for of_users in np.geomspace(1e-3, 1e3, 61):
        freedom = [degrees_of_freedom(float(of_users), float(each), seeds) for each in of_seeds]
        reach = t.ppf(0.975, freedom) * np.sqrt(of_users + of_seeds)
        covered = (2 * norm.cdf(reach / math.sqrt(of_users + 1)) - 1).mean()
        assert least < covered < most


def test_a_detectable_difference_is_found_4_times_in_5() -> None:
    rng = np.random.default_rng(0)
    difference = Estimate(point=0, error=0.01, n=1).detectable().value
    assert difference is not None
    measured = rng.normal(difference, 0.01, 20_000)
    p = [Estimate(point=float(point), error=0.01, n=1).p_value().value or 0 for point in measured[:2000]]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.8, abs=0.03)


def test_what_cannot_be_tested_says_why() -> None:
    assert Estimate(point=0.1, error=None, n=1).p_value().reason == "no standard error could be estimated"
    assert Estimate(point=0.1, error=None, n=1).detectable().value is None
    assert Estimate(point=0.1, error=0.0, n=1).p_value().reason == "no redraw differs from another"
    assert Estimate(point=0.0, error=0.0, n=1).p_value().value == 1


def test_an_interval_stays_within_what_the_statistic_can_be() -> None:
    value = Estimate(point=0.99, error=0.1, n=1).interval((0.0, 1.0))
    assert value.high == 1.0

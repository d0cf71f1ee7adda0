"""Early stopping against the binomial distribution that it is made of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from simulator.loadtest.early_stopping import BEYOND, UNDECIDED, WITHIN, enough_requests, verdict


def expected(sent: int, late: int, share: float) -> str:
    """By the cumulative distribution itself: how rarely so few, or so many, are late at the limit."""
    if sent and binom.cdf(late, sent, 1 - share) <= 0.01:
        return WITHIN
    return BEYOND if late and binom.sf(late - 1, sent, 1 - share) <= 0.01 else UNDECIDED


@given(sent=st.integers(0, 20_000), late_share=st.floats(0, 0.05), share=st.sampled_from([0.9, 0.99, 0.999]))
def test_a_verdict_is_that_of_the_binomial_distribution(sent: int, late_share: float, share: float) -> None:
    late = int(sent * late_share)
    assert verdict(sent, late, share) == expected(sent, late, share)


@pytest.mark.parametrize(("late", "requests"), [(0, 459), (1, 662), (10, 2010), (100, 12_571)])
def test_a_p99_takes_as_many_requests_as_loadgen_says(late: int, requests: int) -> None:
    assert enough_requests(late) == requests
    assert verdict(requests, late) == WITHIN
    assert verdict(requests - 1, late) == UNDECIDED


def test_a_p99_just_beyond_the_bound_passes_once_in_a_hundred_loads_at_most() -> None:
    for sent in (459, 1000, 2010, 5000):
        passes = sum(binom.pmf(late, sent, 0.01) for late in range(sent) if verdict(sent, late) == WITHIN)
        assert 0.002 < passes <= 0.01

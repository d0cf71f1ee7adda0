"""When requests arrive: the schedules of Poisson processes, which the seed decides."""

from __future__ import annotations

import math

import numpy as np

from pkb.seeding import derived_seed


def poisson_arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Draw times in [0, seconds) of a Poisson process of `rate` per second, ascending."""
    rng = np.random.default_rng(derived_seed(seed, "arrivals"))
    times = np.empty(0)
    last = 0.0
    while last < seconds:
        gaps = rng.exponential(1 / rate, size=max(16, math.ceil(rate * seconds)))
        times = np.concatenate([times, last + gaps.cumsum()])
        last = times[-1]
    return times[times < seconds]


def first_arrivals(number: int, rate: float, seed: int) -> np.ndarray:
    """Draw the first `number` times of a Poisson process; those of two rates with one seed differ by a factor."""
    rng = np.random.default_rng(derived_seed(seed, "arrivals"))
    times: np.ndarray = rng.exponential(size=number).cumsum() / rate
    return times

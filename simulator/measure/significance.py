"""95 % intervals: DeLong for the AUC of independent rows, a bootstrap over users for everything else.

A user's rows move together, so the bootstrap draws users. It gives each user an independent Poisson(1) count
in each replicate, which for many users is drawing them with replacement, and needs neither their number nor
their list in advance (Chamandy, Muralidharan, Najmi and Naidu 2012, "Estimating uncertainty for massive data
streams"). A user's count follows from seed, user and replicate alone, so it is the same in every period and
for every arm: that pairs the arms, and one period in memory is enough however long the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from simulator.measure.estimate import CONFIDENCE, MIN_DEFINED, Estimate
from simulator.measure.ranking import Ranking
from simulator.measure.value import Value, one_class

_POISSON_CDF = poisson.cdf(np.arange(16), 1.0)


class Placements:
    """An AUC and DeLong's structural components of it.

    These are each positive's share of negatives that it beats, and each negative's share of positives that
    beat it (DeLong, DeLong and Clarke-Pearson 1988), in O(N log N) by ranks, after Sun and Xu 2014. Both are
    in row order, so those of two models on the same rows pair up.
    """

    def __init__(self, label: np.ndarray, score: np.ndarray) -> None:
        ranking = Ranking(label, score)
        self.auc = ranking.auc()  # nan with one class
        self.of_positives = ranking.placements()
        self.of_negatives = Ranking(label <= 0, -score).placements()


def delong(label: np.ndarray, score: np.ndarray) -> Value:
    """Measure the AUC with its 95 % interval, which needs two rows of each class."""
    if missing := one_class(int(np.count_nonzero(label > 0)), len(label)):
        return missing
    placed = Placements(label, score)
    return _estimate(placed.auc, placed.of_positives, placed.of_negatives).interval((0.0, 1.0))


def delong_difference(label: np.ndarray, score: np.ndarray, reference: np.ndarray) -> Estimate | Value:
    """Take the AUC of `reference` from that of `score` on the same rows; undefined where one class is missing."""
    if missing := one_class(int(np.count_nonzero(label > 0)), len(label)):
        return missing
    a, b = Placements(label, score), Placements(label, reference)
    return _estimate(a.auc - b.auc, a.of_positives - b.of_positives, a.of_negatives - b.of_negatives)


def _estimate(point: float, of_positives: np.ndarray, of_negatives: np.ndarray) -> Estimate:
    n = len(of_positives) + len(of_negatives)
    if min(len(of_positives), len(of_negatives)) < 2:
        return Estimate(point=point, error=None, n=n)
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return Estimate(point=point, error=sqrt(variance), n=n)


def user_counts(users: np.ndarray, replicate: int, seed: int) -> NDArray[np.int64]:
    """Draw how often each user counts in one replicate: [N] int64, Poisson(1), equal for equal users."""
    with np.errstate(over="ignore"):
        mixed = _mix(users.astype(np.uint64) + np.uint64(seed % 2**64) * _GOLDEN)
        mixed = _mix(mixed + np.uint64(replicate + 1) * _GOLDEN)
    uniform = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(_POISSON_CDF, uniform, side="right").astype(np.int64)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's output function (Steele, Lea and Flood 2014): neighbouring inputs, unrelated outputs."""
    x = x + _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bootstrap_aucs(
    label: np.ndarray, scores: Sequence[np.ndarray], user: np.ndarray, replicates: int, seed: int
) -> np.ndarray:
    """Measure each array of scores in each redraw of users: AUCs [len(scores), replicates], nan if undefined."""
    rankings = [Ranking(label, score) for score in scores]
    users, of_row = np.unique(user, return_inverse=True)
    aucs = np.empty((len(scores), replicates))
    for replicate in range(replicates):
        weight = user_counts(users, replicate, seed)[of_row]
        aucs[:, replicate] = [ranking.auc(weight) for ranking in rankings]
    return aucs


def percentile_interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """Bound the middle 95 % of a statistic's replicates; None when too few of them are defined."""
    defined = samples[np.isfinite(samples)]
    if not len(samples) or len(defined) < MIN_DEFINED * len(samples):
        return None, None
    bounds = [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]
    low, high = np.quantile(defined, bounds, method="weibull")  # the default is too narrow for few replicates
    return float(low), float(high)

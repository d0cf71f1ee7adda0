"""95 % intervals: DeLong for the AUC of independent rows, a bootstrap over users for everything else.

A user's rows move together, so the bootstrap draws users. It gives each user an independent Poisson(1) count
in each replicate, which for many users is drawing them with replacement, and needs neither their number nor
their list in advance (Chamandy, Muralidharan, Najmi and Naidu 2012, "Estimating uncertainty for massive data
streams"). A user's count follows from seed, user and replicate alone, so it is the same in every period and
for every arm: that pairs the arms, and one period in memory is enough however long the stream.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import poisson

from simulator.measure.estimate import CONFIDENCE, MIN_DEFINED, Estimate
from simulator.measure.ranking import Ranking, tally_auc
from simulator.measure.tally import Floats, Tally, weighted
from simulator.measure.value import Value

_POISSON_CDF = poisson.cdf(np.arange(16), 1.0)
_AT_ONCE = 8_000_000  # counts of a product that are in memory together


def delong(tally: Tally) -> Value:
    """Measure the AUC with its 95 % interval, which needs two rows of each class.

    It is the mean placement of the rows of either class, that is, the share of rows of the other class that a row
    stands on the right side of, a tie counting one half; and its error is that of the two means (DeLong, DeLong and
    Clarke-Pearson 1988), in O(N log N) by ranks, after Sun and Xu 2014.
    """
    point = tally_auc(tally)
    if point.value is None:
        return point
    variances = []
    for rows, placement in zip((tally.clicks, tally.others), _placements(tally), strict=True):
        n = float(rows.sum())
        mean = weighted(rows, placement) / n
        variances.append(weighted(rows, (placement - mean) ** 2) / max(n - 1, 1) / n)
    few = min(tally.click_count, tally.rows - tally.click_count) < 2
    error = None if few else sqrt(sum(variances))
    return Estimate(point=point.value, error=error, n=int(tally.rows)).interval((0.0, 1.0))


class Placements:
    """An AUC and the placements of all rows by class, in row order: those of two models on the same rows pair up."""

    def __init__(self, ranking: Ranking) -> None:
        tally, clicked = ranking.tally(), ranking.clicked
        self.auc = tally_auc(tally)
        of_clicks, of_others = _placements(tally)
        self.of_clicks, self.of_others = of_clicks[ranking.level[clicked]], of_others[ranking.level[~clicked]]


def delong_difference(one: Placements, other: Placements) -> Estimate | Value:
    """Take the AUC of the other model from that of one on the same rows; undefined where one class is missing."""
    if one.auc.value is None or other.auc.value is None:
        return one.auc
    n, point = one.auc.n, one.auc.value - other.auc.value
    parts = (one.of_clicks - other.of_clicks, one.of_others - other.of_others)
    if min(len(part) for part in parts) < 2:
        return Estimate(point=point, error=None, n=n)
    variance = sum(float(part.var(ddof=1)) / len(part) for part in parts)
    return Estimate(point=point, error=sqrt(variance), n=n)


def _placements(tally: Tally) -> tuple[Floats, Floats]:
    """Of clicks and of other rows at each score: [S] each."""
    clicks, others = tally.click_count, tally.rows - tally.click_count
    of_clicks = 2 * np.cumsum(tally.others) - tally.others
    of_others = 2 * (clicks - np.cumsum(tally.clicks)) + tally.clicks
    return of_clicks / max(1.0, 2 * others), of_others / max(1.0, 2 * clicks)


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


class Redrawn:
    """How often each of U users counts: once, and then in each of R redraws."""

    def __init__(self, users: np.ndarray, of_row: np.ndarray, replicates: int, seed: int) -> None:
        self.of_row = of_row  # [N], each row's user by number
        self.times = np.ones((len(users), 1 + replicates), np.uint8)  # [U, 1 + R]; a count stays below 17
        for replicate in range(replicates):
            self.times[:, 1 + replicate] = user_counts(users, replicate, seed)


def bootstrap_aucs(ranking: Ranking, redrawn: Redrawn) -> Floats:
    """Measure the AUC, and that of each redraw of users: [1 + R], nan where undefined.

    Ranks stay in every redraw, weights alone change. So other rows are added up between the K levels at which clicks
    are, for all redraws by one product of matrices; running sums tell what the clicks at a level stand above.
    """
    clicked, level, user = (each[ranking.order] for each in (ranking.clicked, ranking.level, redrawn.of_row))
    holds_click = np.bincount(level[clicked], minlength=len(ranking.scores)) > 0
    up_to = np.cumsum(holds_click)  # levels with clicks up to each level
    levels, users = int(np.count_nonzero(holds_click)), len(redrawn.times)
    of_clicks = _counts(up_to[level[clicked]] - 1, user[clicked], (levels, users))
    of_others = _counts(up_to[level[~clicked]], user[~clicked], (levels + 1, users))
    tied = ~clicked & holds_click[level]
    of_tied = _counts(up_to[level[tied]] - 1, user[tied], (levels, users))
    aucs, at_once = [], max(1, _AT_ONCE // (levels + 1))
    for start in range(0, redrawn.times.shape[1], at_once):
        times = redrawn.times[:, start : start + at_once].astype(np.int32)
        clicks, ties = (each @ times for each in (of_clicks, of_tied))
        passed = np.cumsum(of_others @ times, axis=0, dtype=np.int32)
        wins = np.einsum("kr,kr->r", clicks, 2 * passed[:-1] + ties, dtype=np.int64)
        pairs = clicks.sum(axis=0, dtype=np.int64) * passed[-1]
        aucs.append(np.divide(wins, 2 * pairs, out=np.full(len(wins), np.nan), where=pairs > 0))
    return np.concatenate(aucs)


def _counts(row: np.ndarray, user: np.ndarray, shape: tuple[int, int]) -> csr_array:
    """How often each pair of a row, in ascending order, and a user is there, as a sparse matrix."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=shape[0]))])
    return csr_array((np.ones(len(row), np.int32), user, starts), shape=shape)


def percentile_interval(samples: np.ndarray) -> tuple[float | None, float | None]:
    """Bound the middle 95 % of a statistic's replicates; None when too few of them are defined."""
    defined = samples[np.isfinite(samples)]
    if not len(samples) or len(defined) < MIN_DEFINED * len(samples):
        return None, None
    bounds = [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2]
    low, high = np.quantile(defined, bounds, method="weibull")  # the default is too narrow for few replicates
    return float(low), float(high)

"""An estimate with its standard error, and what follows from the two: interval, p-value, detectable difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from simulator.measure.value import Value, undefined

CONFIDENCE = 0.95
POWER = 0.8
MIN_DEFINED = 0.95  # an interval needs so large a share of redraws to be defined
_NORMAL = float(norm.ppf(0.5 + CONFIDENCE / 2))
_DETECTABLE = _NORMAL + float(norm.ppf(POWER))  # 2.80 standard errors
_LEAST_ERROR = 1e-12  # rounding lies below


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`error` is None where it could not be estimated; `freedom` are the degrees of freedom that it has."""

    point: float
    error: float | None
    n: int
    freedom: float = math.inf

    @classmethod
    def over_seeds(cls, samples: NDArray[np.float64], n: int) -> Self:
        """Average a statistic over S seeds: [S, 1 + R], its value and R redraws of users, paired over seeds.

        Users and seeds vary independently, so that their variances add up. With v_s the value of seed s, its variance
        over seeds s², and Var_r the variance over redraws r:

            Var = Var_r(mean_s v_s,r) + s² / S

        The first part is taken as known, the second one has S - 1 degrees of freedom; Welch and Satterthwaite give
        (S - 1) (Var / (s² / S))² to their sum. With one seed there is no second part: the interval is about users
        and says nothing about what another seed would have given.
        """
        seeds = len(samples)
        means = samples.mean(axis=0)
        redrawn = means[1:][np.isfinite(means[1:])]
        if len(redrawn) < max(2, MIN_DEFINED * (samples.shape[1] - 1)):
            return cls(point=float(means[0]), error=None, n=n)
        of_users = float(redrawn.var(ddof=1))
        of_seeds = float(samples[:, 0].var(ddof=1)) / seeds if seeds > 1 else 0.0
        freedom = (seeds - 1) * ((of_users + of_seeds) / of_seeds) ** 2 if of_seeds > 0 else math.inf
        return cls(point=float(means[0]), error=math.sqrt(of_users + of_seeds), n=n, freedom=freedom)

    def interval(self, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Value:
        """Give the point with its 95 % interval, cut to the range that the statistic has."""
        if self.error is None:
            return Value(value=self.point, n=self.n)
        quantile = _NORMAL if math.isinf(self.freedom) else float(t.ppf(0.5 + CONFIDENCE / 2, self.freedom))
        reach = quantile * self.error
        low, high = max(self.point - reach, bounds[0]), min(self.point + reach, bounds[1])
        return Value(value=self.point, low=low, high=high, n=self.n)

    def p_value(self) -> Value:
        """Test the hypothesis that the true value is 0, against both sides."""
        if self.error is None:
            return undefined("no standard error could be estimated", self.n)
        if self.error < _LEAST_ERROR:
            if abs(self.point) < _LEAST_ERROR:
                return Value(value=1.0, n=self.n)
            return undefined("no redraw differs from another", self.n)
        return Value(value=float(2 * t.sf(abs(self.point) / self.error, self.freedom)), n=self.n)

    def detectable(self) -> Value:
        """Give the true difference that a test at the 5 % level would find 4 times in 5: 2.80 standard errors."""
        if self.error is None:
            return undefined("no standard error could be estimated", self.n)
        return Value(value=_DETECTABLE * self.error, n=self.n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number; they keep their order (Holm 1979).

    The k-th smallest of m becomes the largest of (m - j + 1) p_j over j <= k, and at most 1. Whatever holds of the
    hypotheses, the chance that any true one falls below 0.05 is at most that.
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted

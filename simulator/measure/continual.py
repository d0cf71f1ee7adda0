"""Forgetting and transfer, from the matrix R of a metric.

R maps (i, j) to the metric of the model trained through period i on the holdout of period j; i is -1 for
the untrained model. T is the last period. Each function averages over the periods that R can answer for,
and `n` counts them: a matrix that holds the latest holdouts only yields the mean over these. With
`larger_is_better=False` (log loss) differences change sign, so that more forgetting is always a larger
number, and more transfer too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from simulator.measure.value import Value, undefined

Matrix = Mapping[tuple[int, int], float]


def forgetting(R: Matrix, *, larger_is_better: bool = True) -> Value:
    """Average over j < T: (max over j <= i < T of R[i, j]) - R[T, j] (Chaudhry et al. 2018, eq. 3)."""
    sign, last = _sign(larger_is_better), _last(R)
    lost = []
    for j in range(last):
        earlier = [sign * R[i, j] for i in range(j, last) if (i, j) in R]
        if earlier and (last, j) in R:
            lost.append(max(earlier) - sign * R[last, j])
    return _mean(lost, "needs a holdout measured after its own period and again after the last")


def bwt(R: Matrix, *, larger_is_better: bool = True) -> Value:
    """Average backward transfer over j < T: R[T, j] - R[j, j] (Lopez-Paz and Ranzato 2017, eq. 3)."""
    sign, last = _sign(larger_is_better), _last(R)
    gained = [sign * (R[last, j] - R[j, j]) for j in range(last) if (last, j) in R and (j, j) in R]
    return _mean(gained, "needs a holdout measured after its own period and again after the last")


def fwt(R: Matrix, *, larger_is_better: bool = True) -> Value:
    """Average forward transfer over j >= 1: R[j-1, j] - the untrained R[-1, j] (Lopez-Paz and Ranzato 2017, eq. 4)."""
    sign = _sign(larger_is_better)
    gained = [sign * (R[j - 1, j] - R[-1, j]) for j in range(1, _last(R) + 1) if (j - 1, j) in R and (-1, j) in R]
    return _mean(gained, "needs a second period, measured before any training and again before its own")


def plasticity(R: Matrix) -> Value:
    """Average R[j, j], how well a new period is learned; a level, in the metric's own direction."""
    return _mean([R[j, j] for j in _learned(R)], "no holdout was measured after its own period")


def intransigence(R: Matrix, joint: Matrix, *, larger_is_better: bool = True) -> Value:
    """Average joint[j, j] - R[j, j]; `joint` is of a model retrained on all periods (Chaudhry et al. 2018)."""
    sign = _sign(larger_is_better)
    missed = [sign * (joint[j, j] - R[j, j]) for j in _learned(R) if (j, j) in joint]
    return _mean(missed, "no holdout was measured after its own period with both models")


def _sign(larger_is_better: bool) -> int:
    return 1 if larger_is_better else -1


def _last(R: Matrix) -> int:
    return max((i for i, _ in R), default=-1)


def _learned(R: Matrix) -> Iterable[int]:
    return (j for j in range(_last(R) + 1) if (j, j) in R)


def _mean(values: list[float], otherwise: str) -> Value:
    return Value(value=sum(values) / len(values), n=len(values)) if values else undefined(otherwise)

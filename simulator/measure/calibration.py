"""How far predicted click probabilities are from what happened, each metric read off a `Tally`.

Probabilities are finite. What is undefined is a `Value` without a value and with a reason.
"""

from __future__ import annotations

import numpy as np

from simulator.measure.tally import Floats, Tally, sums, weighted
from simulator.measure.value import Value, undefined

ECE_BINS = 15


def logloss(tally: Tally) -> Value:
    """Measure the mean negative log likelihood, in nats."""
    if not tally.rows:
        return undefined("no rows")
    return Value(value=_nats(tally) / tally.rows, n=int(tally.rows))


def ne(tally: Tally) -> Value:
    """Measure normalised entropy: log loss over that of the rows' click rate (He et al. 2014, eq. 1)."""
    if one_class := tally.one_class():
        return one_class
    return Value(value=_nats(tally) / tally.rows / float(entropy(tally.click_count / tally.rows)), n=int(tally.rows))


def pcoc(tally: Tally) -> Value:
    """Divide predicted clicks by clicks that happened: 1 is calibrated, above 1 predicts too many."""
    if not tally.click_count:
        return undefined(f"none of {tally.rows:.0f} rows is a click", int(tally.rows))
    predicted = weighted(tally.mass, tally.score.astype(np.float64))
    return Value(value=predicted / tally.click_count, n=int(tally.rows))


def brier(tally: Tally) -> Value:
    """Measure the mean squared difference of probability and label."""
    if not tally.rows:
        return undefined("no rows")
    p = tally.score.astype(np.float64)
    return Value(
        value=(weighted(tally.clicks, (1 - p) ** 2) + weighted(tally.others, p**2)) / tally.rows, n=int(tally.rows)
    )


def ece(tally: Tally) -> Value:
    """Measure the expected calibration error (Guo et al. 2017, eq. 3) over 15 bins of equal mass.

    The mean, weighted by rows, of each bin's |click rate - mean probability|. Bins of equal width would put nearly
    all impressions of a log with few clicks into one. A score goes where the middle of its rows falls, so that ties
    stay together and the bins do not depend on the order of rows; some bins then hold more rows than others.
    """
    if not tally.rows:
        return undefined("no rows")
    middle = np.cumsum(tally.mass) - tally.mass / 2
    place = np.minimum((ECE_BINS * middle / tally.rows).astype(np.int64), ECE_BINS - 1)
    excess = tally.mass * tally.score.astype(np.float64) - tally.clicks
    return Value(value=float(np.abs(sums(place, excess, ECE_BINS)).sum()) / tally.rows, n=int(tally.rows))


def negative_log(probability: np.ndarray) -> Floats:
    """Take -ln p in nats; probabilities are clipped by float64's eps, as scikit-learn does."""
    eps = np.finfo(np.float64).eps
    logs: Floats = -np.log(np.clip(probability.astype(np.float64), eps, 1 - eps))
    return logs


def complement(probability: np.ndarray) -> Floats:
    """Take 1 - p in double precision."""
    rest: Floats = 1 - probability.astype(np.float64)
    return rest


def entropy(rate: np.ndarray | float) -> Floats:
    """Take the entropy, in nats, of a click with this probability; nan if it is certain or impossible."""
    p = np.asarray(rate, dtype=np.float64)
    inside = np.where((p > 0) & (p < 1), p, np.nan)
    nats: Floats = -(inside * np.log(inside) + (1 - inside) * np.log(1 - inside))
    return nats


def _nats(tally: Tally) -> float:
    of_clicks = weighted(tally.clicks, negative_log(tally.score))
    return of_clicks + weighted(tally.others, negative_log(complement(tally.score)))

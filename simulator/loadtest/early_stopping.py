"""When a percentile has been shown: MLPerf LoadGen's early stopping.

Of n requests t were late, that is beyond the bound. If the true share of late ones were 1 - p or more, so few would
be seen with a probability of at most

    P[Binomial(n, 1 - p) <= t] = I_p(n - t, t + 1)

with I the regularised incomplete beta function; the p-th percentile is within the bound, with confidence c, where that
is at most 1 - c. So says MLPerf Inference's LoadGen for its server scenario ("Early stopping", in the rules and in
`loadgen/early_stopping.cc`: h = n - t, tolerance d = 0, c = 0.99): at p = 0.99 it takes 459 requests without a late
one, or 2,010 with 10. It is asked once for each load, at its end: a test that looks again and again errs more often.
"""

from __future__ import annotations

from scipy.special import betainc

CONFIDENCE = 0.99
WITHIN, BEYOND, UNDECIDED = "within", "beyond", "undecided"  # the bound, or neither can be told


def verdict(sent: int, late: int, share: float = 0.99, confidence: float = CONFIDENCE) -> str:
    """Tell whether this percentile (a share) of latency is within the bound, beyond it, or neither is certain."""
    if sent and betainc(sent - late, late + 1, share) <= 1 - confidence:
        return WITHIN
    # P[Binomial(n, 1 - p) >= t]: the same with the ends exchanged
    if late and betainc(late, sent - late + 1, 1 - share) <= 1 - confidence:
        return BEYOND
    return UNDECIDED


def enough_requests(late: int, share: float = 0.99, confidence: float = CONFIDENCE) -> int:
    """Find the smallest number of requests that show the percentile to be within the bound with so many late ones."""
    low, high = late, late + 1  # not enough, perhaps enough
    while betainc(high - late, late + 1, share) > 1 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if betainc(middle - late, late + 1, share) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high

"""How telling a shared value is: BM25's inverse document frequency."""

from __future__ import annotations

import numpy as np

from retrieval.compiled import compiled


@compiled
def idf(holding, rows):  # type: ignore[no-untyped-def]
    """ln(1 + (N - n + 0.5) / (n + 0.5)) for each n of the array `holding`, with N = `rows`; 0 where no row holds it.

    Rounded to multiples of 2^-32: sums of them are then exact in float64 in any order, and rows that share the same
    fields tie, whichever way they were found.
    """
    exact = np.log1p((rows - holding + 0.5) / (holding + 0.5))
    return np.where(holding > 0, np.rint(exact * 2.0**32) / 2.0**32, 0.0)

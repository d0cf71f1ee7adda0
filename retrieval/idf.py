"""How telling a shared value is: BM25's inverse document frequency."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def idf(holding: NDArray[np.int64], rows: int) -> NDArray[np.float64]:
    """ln(1 + (N - n + 0.5) / (n + 0.5)) for each n in `holding`, with N = `rows`; 0 for a value that no row holds.

    Rounded to multiples of 2^-32: sums of them are then exact in float64 in any order, and rows that share the same
    fields tie, whichever way they were found.
    """
    exact = np.log1p((rows - holding + 0.5) / (holding + 0.5))
    return np.where(holding > 0, np.round(exact * 2.0**32) / 2.0**32, 0.0)

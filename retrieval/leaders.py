"""The best rows: by score, and among equals the newer one, which is the larger pool row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


def best_of(rows: Rows, scores: Scores, k: int) -> tuple[Rows, Scores]:
    """The best `k` of `rows`, best first; no row may stand there twice."""
    if len(rows) > k:
        kth = np.partition(scores, -k)[-k]
        above = scores > kth
        rows_above = rows[above]
        tied = k - len(rows_above)
        rows = np.concatenate([rows_above, np.partition(rows[scores == kth], -tied)[-tied:]])
        scores = np.concatenate([scores[above], np.full(tied, kth)])
    order = np.lexsort((rows, scores))[::-1]
    return rows[order], scores[order]

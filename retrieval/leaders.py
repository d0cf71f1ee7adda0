"""The best rows so far: by score, and among equals the newer one, which is the larger pool row."""

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


class Leaders:
    """The best K rows among those admitted so far."""

    def __init__(self, k: int) -> None:
        self._k = k
        self.rows: Rows = np.empty(0, dtype=np.int64)
        self.scores: Scores = np.empty(0)
        # The score and the row that a newcomer has to surpass; any row of a positive score does while there is room.
        self._floor = (0.0, -1)

    @property
    def least(self) -> float:
        """The score below which no row is admitted any more."""
        return self._floor[0]

    def would_admit(self, score: float, row: int) -> bool:
        """Whether a row of this score would enter."""
        return (score, row) > self._floor

    def admit(self, rows: NDArray[np.int32], scores: Scores) -> None:
        """Take in the best of `rows`, none of which stands there twice.

        A row may come back later with a score no better than its first one; the first one counts.
        """
        least, row = self._floor
        enough = (scores > least) | ((scores == least) & (rows > row))
        rows_new, scores_new = rows[enough].astype(np.int64), scores[enough]
        if len(rows_new) > 2 * self._k:  # at most K of them are leaders already
            rows_new, scores_new = best_of(rows_new, scores_new, 2 * self._k)
        if len(self.rows):
            fresh = (rows_new[:, None] != self.rows).all(axis=1)
            rows_new = np.concatenate([self.rows, rows_new[fresh]])
            scores_new = np.concatenate([self.scores, scores_new[fresh]])
        self.rows, self.scores = best_of(rows_new, scores_new, self._k)
        if len(self.rows) == self._k:
            self._floor = (float(self.scores[-1]), int(self.rows[-1]))

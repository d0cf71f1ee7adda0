"""The best rows so far: by score, and among equals the newer one, which is the larger pool row."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.pool import NOBODY

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


def best_of_each(query: Rows, rows: Rows, scores: Scores, queries: int, k: int) -> tuple[Rows, Scores]:
    """The best `k` rows of each query as `best_of`, [B, K]; `NOBODY` and -inf behind the last.

    `query` says whose each row is, and ascends.
    """
    counts, place = _places(query, queries)
    padded_BC = np.full((queries, max(k, int(counts.max()))), -np.inf)
    padded_BC[query, place] = scores
    kth_B = np.partition(padded_BC, -k, axis=1)[:, -k]
    near = scores >= kth_B[query]
    query, rows, scores = query[near], rows[near], scores[near]
    order = np.lexsort((-rows, -scores, query))
    _, place = _places(query, queries)  # `order` moves rows only within their query
    order, place, query = order[place < k], place[place < k], query[place < k]
    rows_BK, scores_BK = np.full((queries, k), NOBODY, dtype=np.int64), np.full((queries, k), -np.inf)
    rows_BK[query, place] = rows[order]
    scores_BK[query, place] = scores[order]
    return rows_BK, scores_BK


def _places(query: Rows, queries: int) -> tuple[Rows, Rows]:
    """How many rows each query has, and which of its query's rows each row is."""
    counts = np.bincount(query, minlength=queries)
    return counts, np.arange(len(query)) - (np.cumsum(counts) - counts)[query]


class Leaders:
    """The best K rows among those admitted so far."""

    def __init__(self, k: int, rows: Rows, scores: Scores) -> None:
        """Start from `k` rows, best first; `NOBODY` behind the last."""
        self._k = k
        found = rows != NOBODY
        self.rows, self.scores = rows[found], scores[found]

    @property
    def least(self) -> float:
        """The score below which no row is admitted any more."""
        return self._floor()[0]

    def would_admit(self, score: float, row: int) -> bool:
        """Whether a row of this score would enter."""
        return (score, row) > self._floor()

    def admit(self, rows: NDArray[np.int32], scores: Scores) -> None:
        """Take in the best of `rows`, none of which stands there twice.

        A row may come back later with a score no better than its first one; the first one counts.
        """
        least, row = self._floor()
        enough = (scores > least) | ((scores == least) & (rows > row))
        if not enough.any():
            return
        rows_new, scores_new = rows[enough].astype(np.int64), scores[enough]
        if len(rows_new) > 2 * self._k:  # at most K of them are leaders already
            rows_new, scores_new = best_of(rows_new, scores_new, 2 * self._k)
        if len(self.rows):
            fresh = (rows_new[:, None] != self.rows).all(axis=1)
            rows_new = np.concatenate([self.rows, rows_new[fresh]])
            scores_new = np.concatenate([self.scores, scores_new[fresh]])
        self.rows, self.scores = best_of(rows_new, scores_new, self._k)

    def _floor(self) -> tuple[float, int]:
        """The score and the row that a newcomer has to surpass: any positive score does while there is room."""
        return (float(self.scores[-1]), int(self.rows[-1])) if len(self.rows) == self._k else (0.0, NOBODY)

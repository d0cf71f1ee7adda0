"""What every retriever has in common: one search, bounded in time in this one place.

Shapes: B queries, F fields, K neighbours.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import Batch
from pkb.errors import DataError, FutureError
from retrieval.pool import NOBODY, Pool, Segment


@dataclass(frozen=True, kw_only=True)
class Found:
    """The K best pool rows of each query, best first; where scores tie, the newer row, then the smaller row id."""

    rows_BK: Tensor  # [B, K] int64 pool rows; NOBODY behind the last
    scores_BK: Tensor  # [B, K] float64; -inf behind the last

    @property
    def mask(self) -> Tensor:
        """True where a row was found."""
        return self.rows_BK != NOBODY

    @classmethod
    def of(cls, best: list[tuple[NDArray[np.int64], NDArray[np.float64]]], k: int) -> Found:
        """Pad the rows and scores of each query, at most `k`, to `k`."""
        rows_BK = np.full((len(best), k), NOBODY, dtype=np.int64)
        scores_BK = np.full((len(best), k), -np.inf)
        for b, (rows, scores) in enumerate(best):
            rows_BK[b, : len(rows)] = rows
            scores_BK[b, : len(rows)] = scores
        return cls.of_arrays(rows_BK, scores_BK)

    @classmethod
    def of_arrays(cls, rows_BK: NDArray[np.int64], scores_BK: NDArray[np.float64]) -> Found:
        return cls(rows_BK=torch.from_numpy(rows_BK), scores_BK=torch.from_numpy(scores_BK))


class Retriever(ABC):
    """Finds, for each query, the best rows among the pool's segments that lie wholly before a time.

    A subclass indexes one segment at a time in `_add`, and in `_search` is told how many of the oldest segments it
    may look at. It never learns of another bound, so it cannot return a row of the present or the future.
    """

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self._indexed = 0  # segments

    @property
    def built_until(self) -> int | None:
        """The end of the last segment that is indexed; None if none is."""
        return self.pool.segments[self._indexed - 1].end if self._indexed else None

    @property
    @abstractmethod
    def bytes(self) -> int:
        """Memory of the index, without the pool's own."""

    def extend(self) -> None:
        """Index the segments that the pool has gained since the last call."""
        for segment in self.pool.segments[self._indexed :]:
            self._add(segment)
            self._indexed += 1

    def search(self, queries: Batch, k: int, *, until: int) -> Found:
        """The best `k` rows for each query among the indexed segments that end by `until`.

        FutureError if a query is older than `until`: it would see what came after it. Queries that carry no time, as
        in serving, are not checked.
        """
        return self._search(queries, k, self._segments(queries, k, until))

    def without_rows(self) -> Self:
        """Give the index over the pool's outline: what other processes need to search."""
        sent = copy.copy(self)
        sent.pool = self.pool.outline()
        return sent

    @staticmethod
    def check_time(queries: Batch, until: int) -> None:
        """FutureError if a query is older than `until`."""
        if queries.ts is not None and len(queries) and int(queries.ts.min()) < until:
            raise FutureError("the search pool", until, int(queries.ts.min()))

    def _segments(self, queries: Batch, k: int, until: int) -> int:
        """How many of the oldest segments a search may look at."""
        if k < 1:
            raise DataError(f"search: k is {k}; ask for at least one row")
        self.check_time(queries, until)
        return min(self._indexed, self.pool.segments_before(until))

    @abstractmethod
    def _add(self, segment: Segment) -> None:
        """Index one more segment; costs time and memory by its rows."""

    @abstractmethod
    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        """The best `k` rows among the first `segments` segments."""

"""Posting lists: for each value of each field, the pool rows that hold it.

Shapes: B rows or queries, F fields, S segments, U distinct values of a segment, P postings of a segment.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pkb.batch import MISSING


def keys_of(ids_BF: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for a field and an id: ordered by field, then by id."""
    return ids_BF + (np.arange(ids_BF.shape[1], dtype=np.int64) << 32)


@dataclass(frozen=True, kw_only=True)
class Postings:
    """The posting lists of one segment as compressed sparse rows; a missing value has no list."""

    keys_U: NDArray[np.int64]  # ascending
    starts_U: NDArray[np.int64]  # [U + 1], the list of key u is rows_P[starts_U[u] : starts_U[u + 1]]
    rows_P: NDArray[np.int32]  # pool rows, ascending within a list

    @classmethod
    def build(cls, ids_BF: NDArray[np.int32], first_row: int) -> Postings:
        """Index the rows of a segment whose first one is pool row `first_row`."""
        keys: list[NDArray[np.int64]] = []
        starts: list[NDArray[np.int64]] = []
        rows: list[NDArray[np.int32]] = []
        total = 0
        for f in range(ids_BF.shape[1]):
            column = ids_BF[:, f]
            order = np.argsort(column, kind="stable")
            order = order[np.searchsorted(column, MISSING, side="right", sorter=order) :]
            ordered = column[order]
            first = np.flatnonzero(np.diff(ordered, prepend=MISSING))
            keys.append(ordered[first] + (np.int64(f) << 32))
            starts.append(first + total)
            rows.append((order + first_row).astype(np.int32))
            total += len(order)
        return cls(
            keys_U=np.concatenate(keys),
            starts_U=np.append(np.concatenate(starts), total),
            rows_P=np.concatenate(rows),
        )

    @property
    def bytes(self) -> int:
        return self.keys_U.nbytes + self.starts_U.nbytes + self.rows_P.nbytes

    def find(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start and length of each key's list; length 0 for a key that does not occur. Both are shaped as `keys`."""
        if not len(self.keys_U):
            return np.zeros_like(keys), np.zeros_like(keys)
        at = np.searchsorted(self.keys_U, keys)
        at[at == len(self.keys_U)] = 0
        starts = self.starts_U[at]
        return starts, np.where(self.keys_U[at] == keys, self.starts_U[at + 1] - starts, 0)


class PostingLists:
    """The lists that a batch of queries asks for, over the first S segments."""

    def __init__(self, segments: Sequence[Postings], ids_BF: NDArray[np.int32]) -> None:
        self._segments = segments
        found = [postings.find(keys_of(ids_BF)) for postings in segments]
        empty = np.zeros((0, *ids_BF.shape), dtype=np.int64)
        self._starts_SBF = np.stack([starts for starts, _ in found]) if found else empty
        self._lengths_SBF = np.stack([lengths for _, lengths in found]) if found else empty
        self.lengths_BF: NDArray[np.int64] = self._lengths_SBF.sum(axis=0)

    def rows(self, b: int, f: int) -> NDArray[np.int32]:
        """The pool rows that share field f with query b, ascending."""
        lengths = self._lengths_SBF[:, b, f]
        starts = self._starts_SBF[:, b, f]
        parts = [self._segments[s].rows_P[starts[s] : starts[s] + lengths[s]] for s in np.flatnonzero(lengths)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)

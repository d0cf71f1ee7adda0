"""Posting lists: for each value of each field and each period, the pool rows that hold it.

Shapes: N rows, B queries, F fields, S segments, U distinct values of a field and period, P postings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pkb.batch import MISSING
from pkb.errors import DataError
from retrieval.growing import Growing

SEGMENT_BITS, FIELD_BITS, ID_BITS = 24, 8, 31  # of a key; together the 63 bits of a positive int64


class Postings:
    """The posting lists of all segments; a missing value has no list.

    A list belongs to one segment, and its key says which. So a search among the first segments asks for their keys
    alone and meets no later row. One directory of all keys makes it one binary search for any number of segments.
    """

    def __init__(self) -> None:
        self._keys_U: Growing[np.int64] = Growing(np.int64)  # ascending
        self._ends_U: Growing[np.int64] = Growing(np.int64)  # list u is rows_P[ends_U[u - 1] : ends_U[u]]
        self._rows_P: Growing[np.int32] = Growing(np.int32)
        self._segments = 0
        # A list before the first, empty and of no value, for the first one to start at.
        self._keys_U.append(np.array([-1]))
        self._ends_U.append(np.array([0]))

    @property
    def rows(self) -> NDArray[np.int32]:
        """The pool rows of all lists, one list after another; ascending within a list."""
        return self._rows_P.values

    @property
    def bytes(self) -> int:
        """16 for each distinct value of a field and period, 4 for each posting, and room to grow."""
        return self._keys_U.bytes + self._ends_U.bytes + self._rows_P.bytes

    def append(self, ids_NF: NDArray[np.int32], first_row: int) -> None:
        """Take in a segment whose first row is pool row `first_row`."""
        if self._segments >> SEGMENT_BITS or ids_NF.shape[1] >> FIELD_BITS:
            raise DataError(f"retrieval: over {2**SEGMENT_BITS} periods or {2**FIELD_BITS} fields cannot be indexed")
        for f in range(ids_NF.shape[1]):
            column = np.ascontiguousarray(ids_NF[:, f])
            order = np.argsort(column, kind="stable")
            ordered = column[order]
            held = int(np.searchsorted(ordered, MISSING, side="right"))
            order, ordered = order[held:], ordered[held:]
            last = np.flatnonzero(np.diff(ordered, append=MISSING))  # the last posting of each list
            self._keys_U.append(_keys(np.array(self._segments), np.array(f), ordered[last]))
            self._ends_U.append(len(self._rows_P) + last + 1)
            self._rows_P.append((order + first_row).astype(np.int32))
        self._segments += 1

    def find(self, ids_BF: NDArray[np.int32], segments: int) -> Lists:
        """The lists that the queries ask for among the first `segments` segments."""
        keys_BFS = _keys(np.arange(segments), np.arange(ids_BF.shape[1])[:, None], ids_BF[:, :, None])
        keys_U, ends_U = self._keys_U.values, self._ends_U.values
        at_BFS = np.searchsorted(keys_U, keys_BFS)
        at_BFS[at_BFS == len(keys_U)] = 0  # behind the last key: none
        starts_BFS = ends_U[at_BFS - 1]
        lengths_BFS = np.where(keys_U[at_BFS] == keys_BFS, ends_U[at_BFS] - starts_BFS, 0)
        return Lists(starts_BFS, lengths_BFS, self._rows_P.values)


class Lists:
    """What a batch of queries found: for each query, field and segment a list of postings."""

    def __init__(
        self, starts_BFS: NDArray[np.int64], lengths_BFS: NDArray[np.int64], rows_P: NDArray[np.int32]
    ) -> None:
        self.starts_BFS = starts_BFS  # a list is rows_P[start : start + length], ascending
        self.lengths_BFS = lengths_BFS
        self.rows_P = rows_P
        self.lengths_BF: NDArray[np.int64] = lengths_BFS.sum(axis=2)

    def rows(self, b: int, f: int) -> NDArray[np.int32]:
        """The pool rows that share field f with query b, ascending."""
        spans = zip(self.starts_BFS[b, f].tolist(), self.lengths_BFS[b, f].tolist(), strict=True)
        parts = [self.rows_P[start : start + length] for start, length in spans]
        return np.concatenate([self.rows_P[:0], *parts])


def _keys(segment: NDArray[np.int64], field: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """One number for a value: ordered by segment, then by field, then by id."""
    keys: NDArray[np.int64] = (((segment << FIELD_BITS) + field) << ID_BITS) + ids
    return keys

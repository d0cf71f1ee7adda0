"""Posting lists: for each value of each field and each period, the pool rows that hold it.

Shapes: N rows, B queries, F fields, S segments, U distinct values of a field and period, P postings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkb.batch import MISSING
from retrieval.compiled import compiled, read_only
from retrieval.growing import Growing

Arrays = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]


class Postings:
    """The posting lists of all segments; a missing value has no list.

    A list belongs to one segment. So a search among the first segments asks for their lists alone and meets no later
    row.
    """

    def __init__(self) -> None:
        self._ids_U: Growing[np.int32] = Growing(np.int32)  # ascending within a segment and field
        self._firsts: Growing[np.int64] = Growing(np.int64)  # in ids_U, of each field of each segment; and the end
        self._starts_U: Growing[np.int64] = Growing(np.int64)  # of list u in rows_P; and the end
        self._rows_P: Growing[np.int32] = Growing(np.int32)
        self._firsts.append(np.zeros(1, np.int64))
        self._starts_U.append(np.zeros(1, np.int64))

    @property
    def rows(self) -> NDArray[np.int32]:
        """The pool rows of all lists, one list after another; ascending within a list."""
        return self._rows_P.values

    @property
    def lists(self) -> Arrays:
        """What `find_lists` reads."""
        return read_only(self._ids_U.values), read_only(self._firsts.values), read_only(self._starts_U.values)

    @property
    def bytes(self) -> int:
        """12 for each distinct value of a field and period, 4 for each posting, and room to grow."""
        return self._ids_U.bytes + self._firsts.bytes + self._starts_U.bytes + self._rows_P.bytes

    def append(self, ids_NF: NDArray[np.int32], first_row: int) -> None:
        """Take in a segment whose first row is pool row `first_row`."""
        for f in range(ids_NF.shape[1]):
            column = np.ascontiguousarray(ids_NF[:, f])
            order = np.argsort(column, kind="stable")
            ordered = column[order]
            missing = int(np.searchsorted(ordered, MISSING, side="right"))
            order, ordered = order[missing:], ordered[missing:]
            last = np.flatnonzero(np.diff(ordered, append=MISSING))  # the last posting of each list
            self._ids_U.append(ordered[last])
            self._firsts.append(np.array([len(self._ids_U)]))
            self._starts_U.append(len(self._rows_P) + last + 1)  # of the list behind each
            self._rows_P.append((order + first_row).astype(np.int32))

    def find(self, ids_BF: NDArray[np.int32], segments: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`find_lists` among the first `segments` segments."""
        found: tuple[Any, Any] = find_lists(read_only(ids_BF), segments, self.lists)
        return found


@compiled
def find_lists(ids_BF, segments, lists):  # type: ignore[no-untyped-def]
    """Where in `rows` the list of each query's value starts in each segment and how long it is, both [B, F, S]."""
    ids_U, firsts, starts_U = lists
    queries, fields = ids_BF.shape
    starts_BFS = np.zeros((queries, fields, segments), np.int64)
    lengths_BFS = np.zeros((queries, fields, segments), np.int64)
    for b in range(queries):
        for f in range(fields):
            for s in range(segments):
                first, end = firsts[s * fields + f], firsts[s * fields + f + 1]
                u = first + np.searchsorted(ids_U[first:end], ids_BF[b, f])
                if u < end and ids_U[u] == ids_BF[b, f]:
                    starts_BFS[b, f, s] = starts_U[u]
                    lengths_BFS[b, f, s] = starts_U[u + 1] - starts_U[u]
    return starts_BFS, lengths_BFS

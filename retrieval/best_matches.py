"""The best rows of each query by the summed IDF of shared values: the compiled loop of the field-match index.

Exact, and reads few rows (MaxScore, Turtle and Flood 1995). The lists of the rarest values come first. A row that
stands in none of the lists read so far can reach at most the sum of the IDFs left; once that cannot enter the best K,
the rest need not be read. A list is read newest rows first, for the newer of two equal rows wins.

To look at a row's ids is to wait for memory. So each posting comes with its row's mark, a few bits of each id: a list
is read from end to end, and ids are looked at only where the mark says that the row may enter. Sums of IDFs are exact
(see `idf`), so nothing here needs a tolerance.

Shapes: B queries, F fields, K neighbours, S segments, P postings, N pool rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from retrieval.leaders import Rows, Scores
from retrieval.postings import ID_BITS, Lists

MARK_BITS = 62  # of a positive int64; the bit above them is 0 in every mark


class Marks:
    """A row's mark: the lowest bits of each of its ids, side by side in lanes of equal width.

    Rows whose marks differ in a lane differ in that field. Beyond 62 fields, the others have no lane.
    """

    def __init__(self, fields: int) -> None:
        lanes = min(fields, MARK_BITS)
        bits = min(MARK_BITS // lanes, ID_BITS)
        self._kept = (1 << bits) - 1
        self._places = 1 << bits * np.arange(lanes)  # the lowest bit of each lane
        tops = self._places << bits - 1
        # The bit above all marks stands for a field without a lane: no two marks differ in it.
        self.tops_F = np.append(tops, np.full(fields - lanes, 1 << MARK_BITS))
        self.below_tops = int((tops - self._places).sum())

    def of(self, ids_NF: NDArray[np.int32]) -> NDArray[np.int64]:
        marks_N: NDArray[np.int64] = (ids_NF[:, : len(self._places)] & self._kept) @ self._places
        return marks_N


def best_matches(
    ids_BF: NDArray[np.int32],
    idf_BF: NDArray[np.float64],
    lists: Lists,
    marks: Marks,
    marks_P: NDArray[np.int64],
    ids_NF: NDArray[np.int32],
    rows_BK: Rows,
    scores_BK: Scores,
) -> None:
    """Write each query's best rows into `rows_BK` and `scores_BK`, which come filled with `NOBODY` and -inf.

    Where two rows score the same, the larger one is better. Other threads run meanwhile.
    """
    order_BF = np.argsort(lists.lengths_BF, axis=1, kind="stable")
    postings = (lists.starts_BFS, lists.lengths_BFS, lists.rows_P, marks_P)
    arrays: tuple[NDArray[Any], ...] = (ids_BF, idf_BF, order_BF, marks.of(ids_BF), *postings, ids_NF, marks.tops_F)
    _search(*map(_read_only, arrays), marks.below_tops, rows_BK, scores_BK)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the one form that `_search` is compiled for: as it comes from an object store, in C order."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _compiled(function: Callable[..., Any]) -> Any:
    """Compiled on the first call, for all processes to come where there is a folder to keep that in."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        return njit(nogil=True)(function)


@_compiled
def _search(  # type: ignore[no-untyped-def]
    ids_BF, idf_BF, order_BF, marks_B, starts_BFS, lengths_BFS, rows_P, marks_P, ids_NF, tops_F, below_tops,
    rows_BK, scores_BK,
) -> None:  # fmt: skip
    for b in range(len(ids_BF)):
        query = ids_BF[b], idf_BF[b], marks_B[b]
        best = rows_BK[b], scores_BK[b]
        at_most = idf_BF[b].sum()  # by a row in none of the lists read so far
        for j in range(order_BF.shape[1]):
            if at_most < scores_BK[b, -1]:
                break
            left = order_BF[b, j:]
            for s in range(starts_BFS.shape[2] - 1, -1, -1):
                start = starts_BFS[b, left[0], s]
                end = start + lengths_BFS[b, left[0], s]
                _read(rows_P[start:end], marks_P[start:end], left, at_most, query, ids_NF, tops_F, below_tops, best)
            at_most -= idf_BF[b, left[0]]


@_compiled
def _read(rows, marks, left, at_most, query, ids_NF, tops_F, below_tops, best) -> None:  # type: ignore[no-untyped-def]
    """Let the rows of one segment compete that share the field left[0] with the query, newest first.

    `left` are the fields whose lists are not read yet, those of the rarest values first.
    """
    ids_F, idf_F, mark = query
    best_rows, best_scores = best
    decisive = _decisive(left, at_most, idf_F, tops_F, best_scores[-1])
    for p in range(len(rows) - 1, -1, -1):
        row = rows[p]
        if not _enters(at_most, row, best_rows, best_scores):
            return  # nor does an older one
        differing = marks[p] ^ mark
        alike = ~(((differing & below_tops) + below_tops) | differing)  # the top bit of each lane without a difference
        if not alike & decisive:
            continue
        score = 0.0
        for f in range(len(idf_F)):
            score += idf_F[f] if alike & tops_F[f] else 0.0
        if score < best_scores[-1]:
            continue
        score = 0.0
        for f in range(len(idf_F)):
            score += idf_F[f] if ids_NF[row, f] == ids_F[f] else 0.0
        # A row that was in an earlier list too may be among the best already.
        if _enters(score, row, best_rows, best_scores) and not (best_rows == row).any():
            _insert(score, row, best_rows, best_scores)
            decisive = _decisive(left, at_most, idf_F, tops_F, best_scores[-1])


@_compiled
def _decisive(left, at_most, idf_F, tops_F, least) -> int:  # type: ignore[no-untyped-def]
    """The top bits of the lanes of which a row must share one to reach the score `least`; all, if it need not."""
    if idf_F[left[0]] >= least:
        return -1
    decisive = 0
    for f in left[1:]:
        if at_most < least:
            break
        at_most -= idf_F[f]
        decisive |= tops_F[f]
    return decisive


@_compiled
def _enters(score, row, best_rows, best_scores) -> bool:  # type: ignore[no-untyped-def]
    return bool(score > best_scores[-1] or (score == best_scores[-1] and row > best_rows[-1]))


@_compiled
def _insert(score, row, best_rows, best_scores) -> None:  # type: ignore[no-untyped-def]
    """Put a row at its place among the best; the last of them falls out."""
    at = len(best_rows) - 1
    while at and _enters(score, row, best_rows[:at], best_scores[:at]):
        best_rows[at], best_scores[at] = best_rows[at - 1], best_scores[at - 1]
        at -= 1
    best_rows[at], best_scores[at] = row, score

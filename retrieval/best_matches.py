"""The best rows of each query by the summed IDF of shared values: the compiled loop of the field-match index.

Exact, and reads few rows (MaxScore, Turtle and Flood 1995). The lists of the rarest values come first. A row that
stands in none of the lists read so far can reach at most the sum of the IDFs left; once that cannot enter the best K,
the rest need not be read. A list is read newest rows first, and a row is given up at the first mismatch that keeps it
out. Sums of IDFs are exact (see `idf`), so nothing here needs a tolerance.

Shapes: B queries, F fields, K neighbours, S segments, P postings, N pool rows and room for more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from retrieval.leaders import Rows, Scores
from retrieval.postings import Lists

Function = TypeVar("Function", bound=Callable[..., Any])


def best_matches(
    ids_BF: NDArray[np.int32],
    idf_BF: NDArray[np.float64],
    lists: Lists,
    ids_NF: NDArray[np.int32],
    rows_BK: Rows,
    scores_BK: Scores,
) -> None:
    """Write each query's best rows into `rows_BK` and `scores_BK`, which come filled with `NOBODY` and -inf.

    Where two rows score the same, the larger one is better. Other threads run meanwhile.
    """
    order_BF = np.argsort(lists.lengths_BF, axis=1, kind="stable")
    arrays = (ids_BF, idf_BF, order_BF, lists.starts_BFS, lists.lengths_BFS, lists.rows_P, ids_NF)
    _search(*map(_read_only, arrays), rows_BK, scores_BK)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The array in the one form that `_search` is compiled for: as it comes from an object store, in C order."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


def _compiled(function: Function) -> Function:
    """Compiled on the first call, for all processes to come where there is a folder to keep that in."""
    try:
        made: Function = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written
        made = njit(nogil=True)(function)
    return made


@_compiled
def _search(  # type: ignore[no-untyped-def]
    ids_BF, idf_BF, order_BF, starts_BFS, lengths_BFS, rows_P, ids_NF, rows_BK, scores_BK
) -> None:
    for b in range(len(ids_BF)):
        at_most = idf_BF[b].sum()  # by a row in none of the lists read so far
        for f in order_BF[b]:
            if at_most < scores_BK[b, -1]:
                break
            for s in range(starts_BFS.shape[2] - 1, -1, -1):
                start = starts_BFS[b, f, s]
                rows = rows_P[start : start + lengths_BFS[b, f, s]]
                _read(rows, at_most, ids_BF[b], idf_BF[b], ids_NF, rows_BK[b], scores_BK[b])
            at_most -= idf_BF[b, f]


@_compiled
def _read(rows, at_most, ids_F, idf_F, ids_NF, best_rows, best_scores) -> None:  # type: ignore[no-untyped-def]
    """Let the rows of a list within one segment compete, newest first."""
    for p in range(len(rows) - 1, -1, -1):
        row = rows[p]
        if not _enters(at_most, row, best_rows, best_scores):
            return  # nor does an older one
        score = 0.0
        for f in range(len(ids_F)):
            score += idf_F[f] if ids_NF[row, f] == ids_F[f] else 0.0
        # A row that was in an earlier list too may be among the best already.
        if _enters(score, row, best_rows, best_scores) and not (best_rows == row).any():
            _insert(score, row, best_rows, best_scores)


@_compiled
def _enters(score, row, best_rows, best_scores) -> bool:  # type: ignore[no-untyped-def]
    return score > best_scores[-1] or (score == best_scores[-1] and row > best_rows[-1])


@_compiled
def _insert(score, row, best_rows, best_scores) -> None:  # type: ignore[no-untyped-def]
    """Put a row at its place among the best, in place of the last of them."""
    at = len(best_rows) - 1
    while at and (score > best_scores[at - 1] or (score == best_scores[at - 1] and row > best_rows[at - 1])):
        best_rows[at], best_scores[at] = best_rows[at - 1], best_scores[at - 1]
        at -= 1
    best_rows[at], best_scores[at] = row, score

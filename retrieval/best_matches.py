"""The best rows of each query by the summed IDF of shared values: the compiled loop of the field-match index.

Exact, and reads few rows (MaxScore, Turtle and Flood 1995). The lists of the rarest values come first. A row that
stands in none of the lists read so far can reach at most the sum of the IDFs left; once that cannot enter the best K,
the rest need not be read. A list is read newest rows first, for the newer of two equal rows wins.

To look at a row's ids is to wait for memory. So each posting comes with its row's mark, a few bits of each id: a list
is read from end to end, and ids are looked at only where the mark says that the row may enter. Sums of IDFs are exact
(see `idf`), so nothing here needs a tolerance.

Shapes: B queries, F fields, K neighbours, S segments, P postings, N pool rows, L lanes of a mark.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.compiled import compiled, read_only
from retrieval.idf import idf
from retrieval.leaders import Rows, Scores
from retrieval.postings import Postings, find_lists

MARK_BITS = 62  # of a positive int64; the bit above them is 0 in every mark
ID_BITS = 31


class Marks:
    """A row's mark: the lowest bits of each of its ids, side by side in lanes of equal width.

    Rows whose marks differ in a lane differ in that field. Beyond 62 fields, the others have no lane.
    """

    def __init__(self, fields: int) -> None:
        lanes = min(fields, MARK_BITS)
        bits = min(MARK_BITS // lanes, ID_BITS)
        places_L = 1 << bits * np.arange(lanes)  # the lowest bit of each lane
        tops_L = places_L << bits - 1
        # The bit above all marks stands for a field without a lane: no two marks differ in it.
        self.tops_F = read_only(np.append(tops_L, np.full(fields - lanes, 1 << MARK_BITS)))
        self.below_tops = int((tops_L - places_L).sum())
        self._lanes = (1 << bits) - 1, read_only(places_L)

    def of(self, ids_NF: NDArray[np.int32]) -> NDArray[np.int64]:
        marks_N: NDArray[np.int64] = _marks(read_only(ids_NF), *self._lanes)
        return marks_N


@compiled
def _marks(ids_NF, kept, places_L):  # type: ignore[no-untyped-def]
    marks_N = np.zeros(len(ids_NF), np.int64)
    for n in range(len(ids_NF)):
        for lane in range(len(places_L)):
            marks_N[n] += (ids_NF[n, lane] & kept) * places_L[lane]
    return marks_N


def best_matches(
    ids_BF: NDArray[np.int32],
    segments: int,
    rows: int,
    postings: Postings,
    marks: Marks,
    marks_P: NDArray[np.int64],
    ids_NF: NDArray[np.int32],
    rows_BK: Rows,
    scores_BK: Scores,
) -> None:
    """Write each query's best of the `rows` rows in the first `segments` segments into `rows_BK` and `scores_BK`.

    These come filled with `NOBODY` and -inf. Where two rows score the same, the larger one is better.
    """
    arrays: tuple[NDArray[Any], ...] = (ids_BF, marks.of(ids_BF), postings.rows, marks_P, ids_NF, marks.tops_F)
    _search(segments, rows, postings.lists, *map(read_only, arrays), marks.below_tops, rows_BK, scores_BK)


@compiled
def _search(  # type: ignore[no-untyped-def]
    segments, rows, lists, ids_BF, marks_B, rows_P, marks_P, ids_NF, tops_F, below_tops, rows_BK, scores_BK,
) -> None:  # fmt: skip
    for b in range(len(ids_BF)):
        starts_1FS, lengths_1FS = find_lists(ids_BF[b : b + 1], segments, lists)
        lengths_F = lengths_1FS[0].sum(axis=1)
        idf_F = idf(lengths_F, rows)  # 0 for a missing value, which has no list
        order_F = np.argsort(lengths_F, kind="mergesort")
        query = ids_BF[b], idf_F, marks_B[b]
        best = rows_BK[b], scores_BK[b]
        at_most = idf_F.sum()  # by a row in none of the lists read so far
        for j in range(len(order_F)):
            if at_most < scores_BK[b, -1]:
                break
            left = order_F[j:]
            for s in range(segments - 1, -1, -1):
                start = starts_1FS[0, left[0], s]
                end = start + lengths_1FS[0, left[0], s]
                _read(rows_P[start:end], marks_P[start:end], left, at_most, query, ids_NF, tops_F, below_tops, best)
            at_most -= idf_F[left[0]]


@compiled
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


@compiled
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


@compiled
def _enters(score, row, best_rows, best_scores) -> bool:  # type: ignore[no-untyped-def]
    return bool(score > best_scores[-1] or (score == best_scores[-1] and row > best_rows[-1]))


@compiled
def _insert(score, row, best_rows, best_scores) -> None:  # type: ignore[no-untyped-def]
    """Put a row at its place among the best; the last of them falls out."""
    at = len(best_rows) - 1
    while at and _enters(score, row, best_rows[:at], best_scores[:at]):
        best_rows[at], best_scores[at] = best_rows[at - 1], best_scores[at - 1]
        at -= 1
    best_rows[at], best_scores[at] = row, score

"""RIM's retrieval without a server: the rows that share the most telling fields with the query.

RIM (Qin et al. 2021, section 4.2) asks Elasticsearch for the rows that match any of the query's fields, ranked by
BM25. Each row holds each field once, so BM25's term frequency and length are constants and the score is

    score(row) = sum over the query's fields that the row shares of  ln(1 + (N - n_f + 0.5) / (n_f + 0.5))

with N the rows before the search's bound, and n_f those of them that hold the query's value of field f. A missing
value matches nothing.

The search is exact and reads few rows (MaxScore, Turtle and Flood 1995). The lists of the rarest values come first.
A row that stands in none of the lists read so far can reach at most the sum of the IDFs left; once that cannot enter
the best K, the rest need not be read. A long list is read newest rows first, for the newer of two equal rows wins.

Memory: 8 bytes a row and field, for a posting and a copy of the id, and 16 bytes a distinct value of a field and
period; half as much again where the arrays have just grown.

Shapes: B queries, F query fields, K neighbours, C candidates, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Batch
from retrieval.growing import Growing
from retrieval.idf import idf
from retrieval.leaders import Leaders, Rows, Scores, best_of_each
from retrieval.pool import Pool, Segment
from retrieval.postings import Lists, Postings
from retrieval.retriever import Found, Retriever

AT_ONCE = 2048  # rows scored in one go: a few numpy calls take about as long as so many rows
QUERIES_AT_ONCE = 64  # whose short lists are read together: few enough for their rows to stay in the cache
FASTER = 4  # each further part of a long list is so many times longer


class FieldMatchIndex(Retriever):
    """The top K rows by the summed IDF of the query fields that they share with the query."""

    def __init__(self, pool: Pool, fields: Sequence[str]) -> None:
        super().__init__(pool)
        self._columns = [pool.column(name) for name in fields]
        self._postings = Postings()
        self._ids_NF: Growing[np.int32] = Growing(np.int32, len(fields))
        self.extend()

    @property
    def bytes(self) -> int:
        return self._ids_NF.bytes + self._postings.bytes

    def _add(self, segment: Segment) -> None:
        ids_BF = segment.rows.ids_BF[:, self._columns].numpy()
        self._ids_NF.append(ids_BF)
        self._postings.append(ids_BF, segment.first_row)

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        ids_BF = queries.ids_BF[:, self._columns].cpu().numpy()
        rows_BK = np.empty((len(ids_BF), k), dtype=np.int64)
        scores_BK = np.empty((len(ids_BF), k))
        for start in range(0, len(ids_BF), QUERIES_AT_ONCE):
            some = slice(start, start + QUERIES_AT_ONCE)
            rows_BK[some], scores_BK[some] = self._best(ids_BF[some], k, segments)
        return Found.of_arrays(rows_BK, scores_BK)

    def _best(self, ids_BF: NDArray[np.int32], k: int, segments: int) -> tuple[Rows, Scores]:
        """The best rows of each query and their scores, [B, K]: from the short lists of all, then the long of each."""
        lists = self._postings.find(ids_BF, segments)
        idf_BF = idf(lists.lengths_BF, self.pool.rows_of(segments))  # 0 for a missing value, which has no list
        short_BF = _short(lists.lengths_BF)
        query, rows = lists.candidates(short_BF)
        shared = np.take(self._ids_NF.values, rows, axis=0) == ids_BF[query]
        scores = np.einsum("cf,cf->c", shared, idf_BF[query])
        rows_BK, scores_BK = best_of_each(query, rows, scores, len(ids_BF), k)
        at_most_B = np.where(short_BF, 0.0, idf_BF).sum(axis=1)  # by a row in none of the short lists
        for b in np.flatnonzero((at_most_B > 0) & (at_most_B >= scores_BK[:, -1])).tolist():
            leaders = Leaders(k, rows_BK[b], scores_BK[b])
            self._read_long(lists, b, np.flatnonzero(~short_BF[b]), ids_BF[b], idf_BF[b], leaders)
            rows_BK[b, : len(leaders.rows)] = leaders.rows
            scores_BK[b, : len(leaders.rows)] = leaders.scores
        return rows_BK, scores_BK

    def _read_long(
        self,
        lists: Lists,
        b: int,
        long: NDArray[np.int64],
        ids_F: NDArray[np.int32],
        idf_F: NDArray[np.float64],
        leaders: Leaders,
    ) -> None:
        """Let the rows in the lists of the fields `long` of query b compete, those of the rarest value first."""
        by_rarity = long[np.argsort(lists.lengths_BF[b, long], kind="stable")].tolist()
        for position in range(len(by_rarity)):
            left = by_rarity[position:]
            if idf_F[left].sum() < leaders.least:
                return
            self._read(lists, b, left, ids_F, idf_F, leaders)

    def _read(
        self,
        lists: Lists,
        b: int,
        left: list[int],
        ids_F: NDArray[np.int32],
        idf_F: NDArray[np.float64],
        leaders: Leaders,
    ) -> None:
        """Let the rows of one long list compete, newest first, by the fields `left`, of which the first is shared.

        A row that shares a rarer field too was in an earlier list and competed there with its full score.
        """
        at_most = float(idf_F[left].sum())
        idf_left_F = np.zeros_like(idf_F)
        idf_left_F[left] = idf_F[left]
        end, size = int(lists.lengths_BF[b, left[0]]), AT_ONCE
        while end > 0:
            rows = lists.part(b, left[0], max(0, end - size), end)
            if not leaders.would_admit(at_most, int(rows[-1])):
                break
            # Of the fields without which a row could not enter, the rarest leaves the fewest rows to look at.
            needed = next((f for f in left[1:] if at_most - idf_F[f] < leaders.least), None)
            if needed is not None:
                rows = rows[self._ids_NF.values[rows, needed] == ids_F[needed]]
            shared = np.take(self._ids_NF.values, rows, axis=0) == ids_F
            leaders.admit(rows, shared @ idf_left_F)
            end, size = end - size, size * FASTER


def _short(lengths_BF: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which lists of a query are read first: its shortest, of `AT_ONCE` postings in all."""
    order_BF = np.argsort(lengths_BF, axis=1, kind="stable")
    fits_BF = np.cumsum(np.take_along_axis(lengths_BF, order_BF, 1), axis=1) <= AT_ONCE
    short_BF = np.empty_like(fits_BF)
    np.put_along_axis(short_BF, order_BF, fits_BF, 1)
    return short_BF

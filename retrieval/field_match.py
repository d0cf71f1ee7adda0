"""RIM's retrieval without a server: the rows that share the most telling fields with the query.

RIM (Qin et al. 2021, section 4.2) asks Elasticsearch for the rows that match any of the query's fields, ranked by
BM25. Each row holds each field once, so BM25's term frequency and length are constants and the score is

    score(row) = sum over the query's fields that the row shares of  ln(1 + (N - n_f + 0.5) / (n_f + 0.5))

with N the rows before the search's bound, and n_f those of them that hold the query's value of field f. A missing
value matches nothing.

The search is exact and reads few rows (MaxScore, Turtle and Flood 1995). The lists of the rarest values come first.
A row that stands in none of the lists read so far can reach at most the sum of the IDFs left; once that cannot enter
the best K, the rest need not be read. A long list is read newest rows first, for the newer of two equal rows wins.

Memory: 8 bytes a row and field (a posting and a copy of the id, which may take half as much again while there is
room to grow), and 16 bytes a distinct value and period.

Shapes: B queries, F query fields, K neighbours, C candidates, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Batch
from retrieval.growing import Growing
from retrieval.idf import idf
from retrieval.leaders import Leaders
from retrieval.pool import Pool, Segment
from retrieval.postings import PostingLists, Postings
from retrieval.retriever import Found, Retriever

AT_ONCE = 2048  # rows scored in one go: a few numpy calls take about as long as so many rows
FASTER = 4  # each further part of a long list is so many times longer


class FieldMatchIndex(Retriever):
    """The top K rows by the summed IDF of the query fields that they share with the query."""

    def __init__(self, pool: Pool, fields: Sequence[str]) -> None:
        super().__init__(pool)
        self._columns = [pool.column(name) for name in fields]
        self._postings: list[Postings] = []
        self._ids_NF: Growing[np.int32] = Growing(len(fields), np.int32)
        self.extend()

    @property
    def bytes(self) -> int:
        return self._ids_NF.bytes + sum(p.bytes for p in self._postings)

    def _add(self, segment: Segment) -> None:
        ids_BF = segment.rows.ids_BF[:, self._columns].numpy()
        self._ids_NF.append(ids_BF)
        self._postings.append(Postings.build(ids_BF, segment.first_row))

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        ids_BF = queries.ids_BF[:, self._columns].cpu().numpy()
        lists = PostingLists(self._postings[:segments], ids_BF)
        idf_BF = idf(lists.lengths_BF, self.pool.rows_of(segments))  # 0 for a missing value, which has no list
        best = [self._best(ids_BF[b], idf_BF[b], lists, b, k) for b in range(len(ids_BF))]
        return Found.of([(leaders.rows, leaders.scores) for leaders in best], k)

    def _best(
        self, ids_F: NDArray[np.int32], idf_F: NDArray[np.float64], lists: PostingLists, b: int, k: int
    ) -> Leaders:
        leaders = Leaders(k)
        lengths_F = lists.lengths_BF[b]
        by_rarity = [f for f in np.argsort(lengths_F, kind="stable").tolist() if lengths_F[f]]
        short = int(np.searchsorted(np.cumsum(lengths_F[by_rarity]), AT_ONCE, side="right"))
        if short:
            rows = np.sort(np.concatenate([lists.rows(b, f) for f in by_rarity[:short]]))
            rows = rows[np.diff(rows, prepend=-1) > 0]  # each once
            leaders.admit(rows, self._scores(rows, ids_F, idf_F))
        for position in range(short, len(by_rarity)):
            left = by_rarity[position:]
            if idf_F[left].sum() < leaders.least:
                break
            self._read(lists.rows(b, left[0]), left, ids_F, idf_F, leaders)
        return leaders

    def _read(
        self,
        rows: NDArray[np.int32],
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
        end, size = len(rows), AT_ONCE
        while end > 0 and leaders.would_admit(at_most, int(rows[end - 1])):
            part = rows[max(0, end - size) : end]
            for f in left[1:]:
                if at_most - idf_F[f] < leaders.least:  # a row without this field could not enter
                    part = part[self._ids_NF.values[part, f] == ids_F[f]]
            leaders.admit(part, self._scores(part, ids_F, idf_left_F))
            end, size = end - size, size * FASTER

    def _scores(
        self, rows: NDArray[np.int32], ids_F: NDArray[np.int32], idf_F: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The summed IDF of the fields that each row shares with the query; [C]."""
        scores: NDArray[np.float64] = (np.take(self._ids_NF.values, rows, axis=0) == ids_F) @ idf_F
        return scores

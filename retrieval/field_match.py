"""RIM's retrieval without a server: the rows that share the most telling fields with the query.

RIM (Qin et al. 2021, section 4.2) asks Elasticsearch for the rows that match any of the query's fields, ranked by
BM25. Each row holds each field once, so BM25's term frequency and length are constants and the score is

    score(row) = sum over the query's fields that the row shares of  ln(1 + (N - n_f + 0.5) / (n_f + 0.5))

with N the rows before the search's bound, and n_f those of them that hold the query's value of field f. A missing
value matches nothing.

The search is exact, see `best_matches`.

Memory: 16 bytes a row and field, for a posting, its mark and a copy of the id, and 12 bytes a distinct value of a
field and period; half as much again where the arrays have just grown.

Shapes: B queries, F query fields, K neighbours, P postings.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray

from pkb.batch import Batch
from retrieval.best_matches import Marks, best_matches
from retrieval.growing import Growing
from retrieval.pool import NOBODY, Pool, Segment
from retrieval.postings import Postings
from retrieval.retriever import Found, Retriever

LARGE = 64  # queries, from which on threads cost less than they save


class FieldMatchIndex(Retriever):
    """The top K rows by the summed IDF of the query fields that they share with the query."""

    def __init__(self, pool: Pool, fields: Sequence[str]) -> None:
        super().__init__(pool)
        self._columns = [pool.column(name) for name in fields]
        self._postings = Postings()
        self._ids_NF: Growing[np.int32] = Growing(np.int32, len(fields))
        self._marks = Marks(len(fields))
        self._marks_P: Growing[np.int64] = Growing(np.int64)  # of each posting's row
        self.extend()

    @property
    def bytes(self) -> int:
        return self._ids_NF.bytes + self._postings.bytes + self._marks_P.bytes

    def _add(self, segment: Segment) -> None:
        ids_BF = segment.rows.ids_BF.numpy()[:, self._columns]
        self._ids_NF.append(ids_BF)
        self._postings.append(ids_BF, segment.first_row)
        new = self._postings.rows[len(self._marks_P) :]
        self._marks_P.append(self._marks.of(ids_BF)[new - segment.first_row])

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        ids_BF = queries.ids_BF.cpu().numpy()[:, self._columns]
        rows_BK = np.full((len(ids_BF), k), NOBODY, dtype=np.int64)
        scores_BK = np.full((len(ids_BF), k), -np.inf)

        def search(part: slice) -> None:
            self._best(ids_BF[part], segments, rows_BK[part], scores_BK[part])

        threads = torch.get_num_threads() if len(ids_BF) >= LARGE else 1
        if threads == 1:
            search(slice(None))
        else:
            with ThreadPoolExecutor(threads) as executor:
                bounds = [len(ids_BF) * t // threads for t in range(threads + 1)]
                list(executor.map(search, map(slice, bounds[:-1], bounds[1:])))
        return Found.of_arrays(rows_BK, scores_BK)

    def _best(
        self, ids_BF: NDArray[np.int32], segments: int, rows_BK: NDArray[np.int64], scores_BK: NDArray[np.float64]
    ) -> None:
        """Write the best rows of each query and their scores."""
        rows, marks_P, ids_NF = self.pool.rows_of(segments), self._marks_P.values, self._ids_NF.values
        best_matches(ids_BF, segments, rows, self._postings, self._marks, marks_P, ids_NF, rows_BK, scores_BK)

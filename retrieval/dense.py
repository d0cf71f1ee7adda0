"""The dense index: the rows whose vectors have the largest inner product with the query's.

Each period has a FAISS index of its own. So a search bounded in time leaves out whole indexes, and a new period costs
that period. The encoder's weights are read when a row is indexed: after training it further, build a new index.

Shapes: B queries, D width of a vector, K neighbours, S segments.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Batch
from pkb.errors import CheckpointError
from retrieval.encoding import Encoder, encode
from retrieval.faiss_files import Build, Part, read_parts, rows_hash, write_parts
from retrieval.faiss_kinds import DenseSettings, choose, make, memory, on_cpu, on_gpu, recall
from retrieval.pool import NOBODY, Pool, Segment
from retrieval.retriever import Found, Retriever


class DenseIndex(Retriever):
    """The top K rows by inner product; exact for flat indexes, whose ties at the K-th place are FAISS's to break."""

    def __init__(
        self, pool: Pool, encoder: Encoder, width: int, settings: DenseSettings, *, stored: Path | None = None
    ) -> None:
        """Index the pool's periods; the first of them are read from the folder `stored`, if one is given.

        CheckpointError if what is stored is damaged or is of other rows. It must be of the same encoder.
        """
        super().__init__(pool)
        self.builds: list[Build] = []  # one for each period
        self._encoder = encoder
        self._width = width
        self._settings = settings
        self._indexes: list[Any] = []  # of FAISS
        if stored is not None:
            for part in read_parts(stored):
                self._put(part, stored)
        self.extend()

    @property
    def bytes(self) -> int:
        return sum(build.bytes for build in self.builds)

    def _add(self, segment: Segment) -> None:
        vectors_ND = encode(self._encoder, segment.rows, self._width)
        choice = choose(len(segment), self._width, self._settings)
        index = make(vectors_ND, choice.kind, self._settings)
        self._indexes.append(index)
        self.builds.append(
            Build(
                start=segment.start,
                end=segment.end,
                rows=len(segment),
                kind=choice.kind,
                reason=choice.reason,
                recall=recall(index, vectors_ND, self._settings.recall_k, self._settings.recall_queries),
                bytes=memory(index, choice.kind),
            )
        )

    def _search(self, queries: Batch, k: int, segments: int) -> Found:
        query_BD = encode(self._encoder, queries, self._width)
        scores = [np.empty((len(queries), 0), dtype=np.float64)]
        rows = [np.empty((len(queries), 0), dtype=np.int64)]
        for segment, index in zip(self.pool.segments[:segments], self._indexes[:segments], strict=True):
            near = min(k, len(segment))
            if near and len(queries):
                scores_BK, local_BK = index.search(query_BD, near)
                scores.append(np.where(local_BK < 0, -np.inf, scores_BK))
                rows.append(np.where(local_BK < 0, NOBODY, local_BK + segment.first_row))
        return _best(np.concatenate(rows, axis=1), np.concatenate(scores, axis=1), k)

    def save(self, folder: Path) -> None:
        """Write the index to a new folder, with a hash of each file; all of it or nothing."""
        indexed = zip(self._indexes, self.builds, self.pool.segments[: self._indexed], strict=True)
        write_parts(folder, [Part(index=on_cpu(i), build=b, rows_hash=rows_hash(segment)) for i, b, segment in indexed])

    def _put(self, part: Part, folder: Path) -> None:
        """Take in a stored index as that of the next period."""
        at, build = self._indexed, part.build
        if at >= len(self.pool.segments) or rows_hash(self.pool.segments[at]) != part.rows_hash:
            raise CheckpointError(
                f"{folder}: its period [{build.start}, {build.end}) is not number {at} of this pool; build anew"
            )
        if (part.index.d, part.index.ntotal) != (self._width, build.rows):
            raise CheckpointError(
                f"{folder}: holds {part.index.ntotal} vectors of {part.index.d} numbers for period {at}, "
                f"not {build.rows} of {self._width}; build anew"
            )
        self._indexes.append(part.index if build.kind == "hnsw" else on_gpu(part.index))
        self.builds.append(build)
        self._indexed += 1


def _best(rows_BC: NDArray[np.int64], scores_BC: NDArray[np.float64], k: int) -> Found:
    """The best `k` of C candidates, and padding where there are fewer."""
    short = max(0, k - rows_BC.shape[1])
    rows_BC = np.pad(rows_BC, ((0, 0), (0, short)), constant_values=NOBODY)
    scores_BC = np.pad(scores_BC, ((0, 0), (0, short)), constant_values=-np.inf)
    order_BK = np.lexsort((rows_BC, scores_BC), axis=1)[:, ::-1][:, :k]
    return Found.of_arrays(np.take_along_axis(rows_BC, order_BK, 1), np.take_along_axis(scores_BC, order_BK, 1))

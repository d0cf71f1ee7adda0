"""The search pool of a process, and what rows find in it.

By a retriever, whose index all contenders share; or by one contender's own encoder. Rows of a period find older rows
alone. Of a group's ranks the first alone searches by an encoder; it tells the others what it found.

Shapes: B rows, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from pkb.batch import Batch, Neighbours, Schema
from pkb.dated import Dated
from pkb.ranks import Ranks
from retrieval.dense import DenseIndex
from retrieval.faiss_files import Build
from retrieval.indexed_pool import DENSE, GIVES_IDF, IndexedPool, RetrievalSettings
from simulator.contender.contender import Contender
from simulator.loop.search import search
from simulator.stream.learnable import Learnable
from simulator.stream.log import Period

POOL = "pool"
PIECE = 500_000  # rows after which the other ranks hear from the first: they wait only so long


class Finder:
    """A search pool, with an index for each retriever by name, and one for each contender that encodes."""

    def __init__(
        self, settings: RetrievalSettings, schema: Schema, names: Iterable[str], ranks: Ranks | None = None
    ) -> None:
        self.ranks, names = ranks or Ranks(), set(names)
        self.needed, self.shared = bool(names), names - {DENSE}
        self.indexed = IndexedPool(schema, self.shared, settings)
        self._indexes: dict[str, tuple[int, DenseIndex]] = {}  # of contenders, after so many trainings

    def append(self, rows: Batch, *, start: int, end: int) -> None:
        """Let the rows of `[start, end)`, whose labels are known by now, be found from now on."""
        if self.needed and start < end:
            self.indexed.append(rows, start=start, end=end)

    def append_arrived(self, period: int, learnable: Learnable, rows_of: Callable[[Period], Batch]) -> None:
        """Let the rows whose labels arrived in this period be found from now on."""
        if self.needed:
            at = range(period, period + 1)
            start, end = learnable.shown_in(at)
            self.append(learnable.rows(at, rows_of, again=False), start=start, end=end)

    def find(self, rows: Batch, name: str, *, until: int) -> Neighbours:
        """Find by a shared retriever, among the rows before `until`."""
        rows_BK = search(self.indexed, name, rows, until=until)
        idf_BF = self.indexed.idf(name, rows, until=until) if name in GIVES_IDF else None
        return self.indexed.neighbours(rows_BK, until=until, idf_BF=idf_BF)

    def find_own(self, contender: Contender, rows: Batch, *, until: int, encoder_of: int | None = None) -> Neighbours:
        """Find by the contender's own encoder, among the rows before `until`.

        FutureError if the encoder was trained beyond `encoder_of`, which is `until` for all but rows that are learned.
        """
        assert contender.encoder is not None, f"{contender.key} has no encoder"
        trained = contender.encoder.built_until
        Dated(what=f"the encoder of {contender.key}", value=contender, built_until=trained).at(encoder_of or until)
        k = self.indexed.settings.k

        found = [torch.empty(0, k, dtype=torch.int64)]
        for some in rows.minibatches(PIECE):
            if self.ranks.first:
                rows_SK = self.make_index(contender).search(some, k, until=until).rows_BK
            else:
                rows_SK = torch.empty((len(some), k), dtype=torch.int64)
            found.append(self.ranks.broadcast(rows_SK))
        return self.indexed.neighbours(torch.cat(found), until=until)

    def with_own(self, contender: Contender, rows: Batch, *, until: int) -> Batch:
        """Give rows of no time what a prediction of this contender reads by its own encoder, if it reads any."""
        if not contender.reads.predicting_by_own:
            return rows
        found = self.find_own(contender, replace(rows, ts=None), until=until)
        return replace(rows, neighbours=rows.neighbours | {DENSE: found})

    def with_all(self, contender: Contender, rows: Batch, *, until: int) -> Batch:
        """Give rows of no time all that a prediction of this contender reads of the pool."""
        rows = replace(rows, ts=None)
        names = sorted(contender.reads.predicting & self.shared)
        found = {name: self.find(rows, name, until=until) for name in names}
        return self.with_own(contender, replace(rows, neighbours=rows.neighbours | found), until=until)

    def make_index(self, contender: Contender) -> DenseIndex:
        """Index the present pool by the contender's present encoder; anew when that has learned."""
        encoder = contender.encoder
        assert encoder is not None, f"{contender.key} has no encoder"
        trainings, index = self._indexes.get(contender.key, (-1, None))
        if index is None or index.pool is not self.indexed.pool or trainings != contender.trainings:
            index = self.indexed.dense(encoder, encoder.width)
            self._indexes[contender.key] = contender.trainings, index
        index.extend()
        return index

    def save_index(self, contender: Contender, folder: Path) -> None:
        """Write the index that the contender's predictions search by its own encoder, if they do, into a checkpoint."""
        if contender.reads.predicting_by_own:
            self.make_index(contender).save(folder / "index")

    def load_index(self, contender: Contender, folder: Path) -> None:
        """Take that index from a checkpoint, for the same pool.

        To build it anew would not do: k-means rounds otherwise on other threads, and other cells find other rows.
        """
        if contender.reads.predicting_by_own:
            assert contender.encoder is not None
            stored = folder / "index"
            index = self.indexed.dense(contender.encoder, contender.encoder.width, stored=stored)
            self._indexes[contender.key] = contender.trainings, index

    def sizes(self) -> dict[str, int]:
        """Count the bytes of the pool and of each shared retriever's index, by name."""
        return {POOL: self.indexed.pool.bytes} | {name: r.bytes for name, r in self.indexed.retrievers.items()}

    def bytes(self, contender: Contender, sizes: Mapping[str, int]) -> dict[str, int]:
        """Sum up the pool and the indexes, of these sizes: what a prediction searches, and what only learning does."""
        own = self._indexes[contender.key][1].bytes if contender.key in self._indexes else 0
        sizes, predicting = {DENSE: own, **sizes}, contender.reads.predicting
        learning = contender.reads.all - predicting
        return {
            "index": sum(sizes[name] for name in predicting) + (sizes[POOL] if predicting else 0),
            "teaching_index": sum(sizes[name] for name in learning)
            + (sizes[POOL] if learning and not predicting else 0),
        }

    def builds(self, contender: Contender) -> list[Build]:
        """Tell kind, reason, recall and bytes of each period's part of the contender's own index."""
        return self._indexes[contender.key][1].builds if contender.key in self._indexes else []

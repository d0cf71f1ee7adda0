"""What rows find among older ones: once for each period, stored as columns for every arm that reads them.

    neighbours/<source>/period-00003.parquet    a row of columns for each row of the period, in its order

A source is a retriever, whose index all arms share; or one contender, which encodes the pool with its own model.
Rows of a period find older rows alone, and keep what they found: learned again later, they read it from here.

Shapes: B rows, F fields, K neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data
import torch
from torch import Tensor

from pkb.batch import Batch, Neighbours, Schema
from pkb.dated import Dated
from retrieval.dense import DenseIndex
from retrieval.faiss_files import Build
from retrieval.pool import NOBODY
from retrieval.shelf import DENSE, Shelf
from simulator.arms import Contender
from simulator.files import write_parquet
from simulator.settings import Settings
from simulator.stream.log import Period
from simulator.train.ranks import Ranks

IN_PROCESS = 100_000  # rows; below it, starting a Ray Data execution (2 s) costs more than it saves
BLOCK = 8_192  # rows that one task searches for
PIECE = 500_000  # rows after which the other ranks hear from the first


class Finder:
    """The search pool of a run, and what the rows of the present period and of earlier ones found in it."""

    def __init__(self, run: Path, settings: Settings, schema: Schema, contenders: list[Contender]) -> None:
        self.folder, self.schema = run / "neighbours", schema
        self.ranks = contenders[0].ranks if contenders else Ranks()
        names = {name for c in contenders for name in c.retrievers}
        self.needed, self.shared = bool(names), names - {DENSE}
        self.shelf = Shelf(schema, self.shared, settings.retrieval)
        self._indexes: dict[str, tuple[int, DenseIndex]] = {}  # of contenders, after so many lessons

    def append(self, rows: Batch, *, start: int, end: int) -> None:
        """The rows of `[start, end)`, whose labels are known by now, can be found from now on."""
        if self.needed and start < end:
            self.shelf.append(rows, start=start, end=end)

    def find(self, rows: Batch, names: Iterable[str], *, until: int) -> Batch:
        """The rows, with what these shared retrievers find for them among the rows before `until`."""
        found = dict(rows.neighbours)
        for name in names:
            k = self.shelf.settings.neighbours(name)
            rows_BK = self._on_first(partial(search, self.shelf, name, until=until), rows, k)
            found[name] = self.shelf.neighbours(name, rows_BK, rows, until=until)
        return replace(rows, neighbours=found)

    def find_own(self, contender: Contender, rows: Batch, *, until: int, encoder_of: int | None = None) -> Neighbours:
        """What the contender finds by its own encoder before `until`.

        FutureError if the encoder was trained beyond `encoder_of`, which is `until` for all but rows that are learned.
        """
        _, _, trained = contender.encoder()
        Dated(what=f"the encoder of {contender.key}", value=contender, built_until=trained).at(encoder_of or until)
        k = self.shelf.settings.k
        rows_BK = self._on_first(lambda some: self.make_index(contender).search(some, k, until=until).rows_BK, rows, k)
        return self.shelf.neighbours(DENSE, rows_BK, rows, until=until)

    def for_now(self, contender: Contender, rows: Batch, *, until: int) -> Batch:
        """Rows of no time, with what the contender's model reads of all that the pool holds."""
        rows = self.find(replace(rows, ts=None), contender.reads & self.shared, until=until)
        if DENSE not in contender.reads:
            return rows
        found = self.find_own(contender, rows, until=until)
        return replace(rows, neighbours=rows.neighbours | {DENSE: found})

    def make_index(self, contender: Contender) -> DenseIndex:
        """Of the present pool by the contender's present encoder; made anew when that has learned."""
        encode, width, _ = contender.encoder()
        lessons, index = self._indexes.get(contender.key, (-1, None))
        if index is None or index.pool is not self.shelf.pool or lessons != contender.lessons:
            index = self.shelf.dense(encode, width)
            self._indexes[contender.key] = contender.lessons, index
        index.extend()
        return index

    def save_index(self, contender: Contender, folder: Path) -> None:
        """Write the index that the contender's predictions search by its own encoder, if they do, into a checkpoint."""
        if DENSE in contender.reads:
            self.make_index(contender).save(_own_index(folder, contender))

    def load_index(self, contender: Contender, folder: Path) -> None:
        """Take it from there, for the same pool.

        To build it anew would not do: k-means rounds otherwise on other threads, and other cells find other rows.
        """
        if DENSE in contender.reads:
            encode, width, _ = contender.encoder()
            index = self.shelf.dense(encode, width, stored=_own_index(folder, contender))
            self._indexes[contender.key] = contender.lessons, index

    def bytes(self, contender: Contender) -> dict[str, int]:
        """Memory of the pool and the indexes: what a prediction searches, and what only learning does."""
        predicting = contender.reads
        learning = contender.retrievers - predicting
        pool = self.shelf.pool.bytes
        return {
            "index": sum(self._index_bytes(contender, name) for name in predicting) + (pool if predicting else 0),
            "teaching_index": sum(self._index_bytes(contender, name) for name in learning)
            + (pool if learning and not predicting else 0),
        }

    def builds(self, contender: Contender) -> list[Build]:
        """Of the contender's own index: kind, reason, recall and bytes of each period's part."""
        return self._indexes[contender.key][1].builds if contender.key in self._indexes else []

    def _index_bytes(self, contender: Contender, name: str) -> int:
        if name != DENSE:
            return self.shelf.retrievers[name].bytes
        return self._indexes[contender.key][1].bytes if contender.key in self._indexes else 0

    def store(self, source: str, period: Period, found: Neighbours) -> None:
        if self.ranks.first:
            (self.folder / source).mkdir(parents=True, exist_ok=True)
            write_parquet(self._file(source, period), _to_table(found))

    def stored(self, source: str, period: Period) -> Neighbours:
        return _from_table(pq.read_table(self._file(source, period)), len(self.schema.fields))

    def _file(self, source: str, period: Period) -> Path:
        return self.folder / source / f"period-{period.index:05d}.parquet"

    def _on_first(self, search: Callable[[Batch], Tensor], rows: Batch, k: int) -> Tensor:
        """What the first rank finds, [B, K], on all of them; told piece by piece, as the others wait so long only."""
        found = [torch.empty(0, k, dtype=torch.int64)]
        for some in rows.minibatches(PIECE):
            rows_SK = search(some) if self.ranks.first else torch.empty((len(some), k), dtype=torch.int64)
            found.append(self.ranks.broadcast(rows_SK))
        return torch.cat(found)


def _own_index(checkpoint: Path, contender: Contender) -> Path:
    return checkpoint / f"{contender.key}-index"


def search(shelf: Shelf, name: str, rows: Batch, *, until: int) -> Tensor:
    """The pool rows that a retriever finds, [B, K]; for many rows by tasks of Ray Data that share the index."""
    retriever, k = shelf.retrievers[name], shelf.settings.neighbours(name)
    if not len(shelf.pool):
        return torch.full((len(rows), k), NOBODY)
    if len(rows) < IN_PROCESS:
        return retriever.search(rows, k, until=until).rows_BK
    retriever.check_time(rows, until)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    index = ray.put(retriever.without_rows())
    blocks = [rows.ids_BF[start : start + BLOCK].numpy() for start in range(0, len(rows), BLOCK)]
    tables = [pa.table({"ids": _lists(block)}) for block in blocks]
    how = {"index": index, "k": k, "until": until}
    found = ray.data.from_arrow(tables).map_batches(
        _search_block,  # type: ignore[arg-type]
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs=how,
    )
    answers: Iterator[Any] = iter(found.iter_batches(batch_size=None, batch_format="pyarrow"))
    return torch.from_numpy(np.concatenate([_rectangle(table.column("rows"), k) for table in answers]))


def _search_block(block: pa.Table, index: Any, k: int, until: int) -> pa.Table:
    ids = block.column("ids")
    queries = Batch(
        row_id=torch.arange(len(block)),
        ids_BF=torch.from_numpy(_rectangle(ids, ids.type.list_size)),
        label=torch.zeros(len(block)),
    )
    rows_BK = ray.get(index).search(queries, k, until=until).rows_BK
    return pa.table({"rows": _lists(rows_BK.numpy())})


def _to_table(found: Neighbours) -> pa.Table:
    columns = {
        "ids": found.ids_BKF.flatten(1),
        "label": found.label_BK.to(torch.int8),
        "age": found.age_BK,
        "present": found.present_BK.to(torch.int8),
        "idf": found.idf_BF,
    }
    return pa.table({name: _lists(values.numpy()) for name, values in columns.items() if values is not None})


def _from_table(table: pa.Table, fields: int) -> Neighbours:
    def column(name: str) -> Tensor:
        lists = table.column(name)
        return torch.tensor(_rectangle(lists, lists.type.list_size))

    return Neighbours(
        ids_BKF=column("ids").unflatten(1, (-1, fields)),
        label_BK=column("label").float(),
        age_BK=column("age"),
        present_BK=column("present").bool(),
        idf_BF=column("idf") if "idf" in table.column_names else None,
    )


def _lists(values_BX: np.ndarray) -> pa.FixedSizeListArray:
    """[B, X] -> B lists of X numbers."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values_BX.reshape(-1)), values_BX.shape[1])


def _rectangle(lists: pa.ChunkedArray, width: int) -> np.ndarray:
    """The inverse."""
    values: np.ndarray = lists.combine_chunks().flatten().to_numpy()
    return values.reshape(-1, width)

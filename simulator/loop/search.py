"""Searches of many rows at once, by tasks of Ray Data that share the index.

Shapes: B rows, K neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from torch import Tensor

from pkb.batch import Batch
from retrieval.indexed_pool import IndexedPool
from retrieval.pool import NOBODY
from simulator.loop.neighbour_files import from_lists, to_lists

IN_PROCESS = 100_000  # rows; below it, starting a Ray Data execution (2 s) costs more than it saves
BLOCK = 8_192  # rows that one task searches for


def search(pool: IndexedPool, name: str, rows: Batch, *, until: int) -> Tensor:
    """Give the pool rows that a retriever finds, [B, K]."""
    retriever, k = pool.retrievers[name], pool.settings.neighbours(name)
    if not len(pool.pool):
        return torch.full((len(rows), k), NOBODY)
    if len(rows) < IN_PROCESS:
        return retriever.search(rows, k, until=until).rows_BK
    import ray.data  # takes half a second: no server waits for it

    retriever.check_time(rows, until)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    index = ray.put(retriever.without_rows())
    blocks = [rows.ids_BF[start : start + BLOCK].numpy() for start in range(0, len(rows), BLOCK)]
    tables = [pa.table({"ids": to_lists(block)}) for block in blocks]
    found = ray.data.from_arrow(tables).map_batches(
        _search_block,  # type: ignore[arg-type]
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"index": index, "k": k, "until": until},
        num_cpus=0,  # of what is free now; that none is must not keep a search waiting
        compute=ray.data.TaskPoolStrategy(size=max(1, int(ray.available_resources().get("CPU", 1)))),
    )
    answers: Iterator[Any] = iter(found.iter_batches(batch_size=None, batch_format="pyarrow"))
    return torch.from_numpy(np.concatenate([from_lists(table.column("rows"), k) for table in answers]))


def _search_block(block: pa.Table, index: Any, k: int, until: int) -> pa.Table:
    ids = block.column("ids")
    queries = Batch(
        row_id=torch.arange(len(block)),
        ids_BF=torch.from_numpy(from_lists(ids, ids.type.list_size)),
        label=torch.zeros(len(block)),
    )
    rows_BK = ray.get(index).search(queries, k, until=until).rows_BK
    return pa.table({"rows": to_lists(rows_BK.numpy())})

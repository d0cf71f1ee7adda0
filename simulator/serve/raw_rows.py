"""Rows of a log -> requests with raw values, as a client would send them.

Shapes: B rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from pkb.batch import MISSING, Batch
from simulator.serve.traffic import evenly_spaced
from simulator.stream.asked import Reader
from simulator.stream.features import OF_LIST
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings

Row = dict[str, Any]


def raw_rows(log: Log, reader: Reader, rows: Batch) -> list[Row]:
    """What a request holds of each row, its time included: the texts of its ids, its numbers, lists and vectors."""
    schema = log.schema
    of_ids = {name: rows.ids_BF[:, place].tolist() for place, name in enumerate(schema.names_of("category"))}
    lists = {name: ids.tolist() for name, ids in {**rows.lists, **rows.histories}.items()}
    texts = _texts_of(log, rows)
    columns: dict[str, Sequence[Any]] = {name: [texts.get(one) for one in ids] for name, ids in of_ids.items()}
    columns |= {name: [_values(ids, texts) for ids in held] for name, held in lists.items()}
    if rows.numbers_BN is not None:
        for name, numbers in zip(schema.names_of("number"), rows.numbers_BN.T.tolist(), strict=True):
            columns[name] = [None if math.isnan(number) else number for number in numbers]
    for name, vectors in rows.vectors.items():
        columns[name] = [None if math.isnan(entries[0]) else entries for entries in vectors.tolist()]
    assert rows.ts is not None
    columns[reader.time] = rows.ts.tolist()
    sent = [name for name in reader.names if name in columns]
    return [dict(zip(sent, values, strict=True)) for values in zip(*(columns[name] for name in sent), strict=True)]


def in_requests(rows: Batch, stream: StreamSettings, *, size: int, most: int) -> list[NDArray[np.int64]]:
    """The places of about `most` rows, spread over all, in requests: `size` each, or the log's own lists.

    Where a feature tells a row's place among those shown with it, a list must be asked for as a whole.
    """
    if rows.request is None or not any(feature.kind in OF_LIST for feature in stream.derived):
        places = evenly_spaced(len(rows), most).numpy()
        return np.split(places, range(size, len(places), size))
    order = np.argsort(rows.request.numpy(), kind="stable")
    _, starts = np.unique(rows.request.numpy()[order], return_index=True)
    lists = np.split(order, starts[1:])
    wanted = max(1, most * len(lists) // len(rows))
    return [lists[place] for place in evenly_spaced(len(lists), wanted).tolist()]


def _values(ids: list[int], texts: dict[int, str]) -> list[str | None]:
    """Of a list, up to the last entry that is not MISSING."""
    kept = np.trim_zeros(np.array(ids), "b").tolist()
    return [texts.get(one) for one in kept]


def _texts_of(log: Log, rows: Batch) -> dict[int, str]:
    """The text of each id, of which there is none for MISSING."""
    categories_BV = rows.ids_BF[:, : len(log.schema.names_of("category"))]
    ids = [categories_BV, *rows.lists.values(), *rows.histories.values()]
    wanted = torch.cat([each.flatten() for each in ids]).unique()
    among = pc.field("id").isin(wanted[wanted != MISSING].tolist())
    held = pq.read_table(log.folder / "vocabulary.parquet", filters=among, partitioning=None)
    return dict(zip(held.column("id").to_pylist(), held.column("text").to_pylist(), strict=True))

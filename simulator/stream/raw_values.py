"""The raw values behind the ids of a log: what a request holds that comes from outside.

A category is its text, a list or a history the texts of its values, a number or a vector what it is; what is missing
is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.batch import MISSING, Batch, Schema
from pkb.errors import DataError
from simulator.stream.asked_columns import time_name
from simulator.stream.features import need_time
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings

VOCABULARY = "vocabulary.parquet"  # of a log: id, field and text of every value, by id


def raw_values(rows: Batch, schema: Schema, log: Path) -> dict[str, list[Any]]:
    """Of each field and history, the raw values of all rows; DataError where the log's folder tells no texts."""
    columns = dict(zip(schema.names, rows.ids_BF.unbind(dim=1), strict=True))
    many = {**{name: rows.lists[name] for name in schema.names_of("list")}, **rows.histories}
    single = {name: columns[name].numpy() for name in schema.names_of("category")}
    named = _texts([*single.values(), *(ids.numpy() for ids in many.values())], log)
    values: dict[str, list[Any]] = {name: [named(one) for one in ids.tolist()] for name, ids in single.items()}
    for name, ids in many.items():
        values[name] = [[named(one) for one in np.trim_zeros(row, "b").tolist()] for row in ids.numpy()]
    if rows.numbers_BN is not None:
        for name, numbers in zip(schema.names_of("number"), rows.numbers_BN.T.tolist(), strict=True):
            values[name] = [None if math.isnan(number) else number for number in numbers]
    for name, vectors in rows.vectors.items():
        values[name] = [None if math.isnan(entries[0]) else entries for entries in vectors.tolist()]
    return {name: values[name] for name in (*schema.names, *rows.histories)}


def asked_values(rows: Batch, log: Log, stream: StreamSettings) -> dict[str, list[Any]]:
    """What requests to `serve` hold of rows: no derived field, and the time in seconds where one is computed of it.

    `stream` is that of the log's ingest. Errors as those of `raw_values`.
    """
    derived = {feature.name for feature in stream.derived}
    values = {name: held for name, held in raw_values(rows, log.schema, log.folder).items() if name not in derived}
    if need_time(stream.derived):
        assert rows.ts is not None
        values[time_name(log.schema)] = rows.ts.tolist()
    return values


def _texts(ids: Sequence[np.ndarray], log: Path) -> Callable[[int], str | None]:
    """What names each of these ids; only theirs of the vocabulary are held."""
    file = log / VOCABULARY
    if not file.exists():
        raise DataError(f"{file}: is missing, so nothing tells the raw values; ingest the log again")
    wanted = np.unique(np.concatenate([one.ravel() for one in ids]))
    wanted = wanted[wanted != MISSING]
    table = pq.read_table(
        file, columns=["id", "text"], filters=pc.field("id").isin(pa.array(wanted)), partitioning=None
    )
    text: dict[int, str | None] = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    if len(text) < len(wanted):
        raise DataError(f"{file}: lacks {len(wanted) - len(text)} of the values in the log; ingest the log again")
    return (text | {MISSING: None}).__getitem__

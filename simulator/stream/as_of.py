"""The derived features of a request at any time, from the rows of a log: those that its rows have in the log.

Shapes: B rows of requests, D features that are numbers.
"""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from pkb.batch import Schema
from simulator.stream.by_definition import by_definition
from simulator.stream.deriving import arrival, key_columns
from simulator.stream.features import OF_LIST, Feature
from simulator.stream.log import Log
from simulator.stream.raw import name, path
from simulator.stream.settings import StreamSettings


class AsOf:
    """Asks the log on disk, by the definition alone; so it reads the columns of every key for each answer."""

    def __init__(self, log: Log, stream: StreamSettings) -> None:
        """`stream` is that of the log's ingest."""
        self.features = [feature for feature in stream.derived if feature.is_number]
        self._schema = log.schema
        self._keys = key_columns(self.features)
        files = ", ".join(path(log.path(period)) for period in log.periods)
        held = "".join(f", {name(field)} AS {key}" for field, key in self._keys.items())
        self._told = f"""
            SELECT row_id AS n, ts, {arrival(stream)} AS arrived, {name(log.schema.labels[0])} AS click{held}
            FROM read_parquet([{files}], hive_partitioning=false)"""

    def numbers(self, ids_BF: Tensor, ts_B: Tensor, request_B: Tensor | None = None) -> Tensor:
        """[B, D] float32, NaN where missing, of rows at these times (seconds); one request unless told otherwise.

        The rows of a request stand in the order in which they are shown.
        """
        request = np.zeros(len(ids_BF), np.int64) if request_B is None else request_B.numpy()
        asked = {"n": np.arange(len(ids_BF)), "ts": ts_B.numpy()}
        asked |= {key: ids_BF[:, _column(self._schema, field)].numpy() for field, key in self._keys.items()}
        with duckdb.connect(":memory:") as engine:
            engine.register("asked", pa.table(asked))
            engine.execute(f"CREATE VIEW told AS {self._told}")
            columns = [self._values(engine, feature, request) for feature in self.features]
        return torch.from_numpy(np.stack(columns, axis=1))

    def _values(self, engine: duckdb.DuckDBPyConnection, feature: Feature, request: np.ndarray) -> np.ndarray:
        if feature.kind in OF_LIST:
            return _of_list(feature.kind, request)
        query = f"SELECT value FROM ({by_definition(feature, self._keys)}) ORDER BY n"
        values = engine.sql(query).to_arrow_table().column(0)
        held: np.ndarray = values.to_numpy().astype(np.float32)
        return held


def _of_list(kind: str, request: np.ndarray) -> np.ndarray:
    """Place in the list, from 1 on, or size of the list of each row."""
    _, which, sizes = np.unique(request, return_inverse=True, return_counts=True)
    if kind == "list_size":
        return sizes[which].astype(np.float32)
    order = np.argsort(which, kind="stable")
    place = np.empty(len(request), np.float32)
    place[order] = np.arange(len(request)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    return place


def _column(schema: Schema, field: str) -> int:
    return schema.names.index(field)

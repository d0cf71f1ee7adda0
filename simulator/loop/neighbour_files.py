"""What rows have found among older ones, on disk: a row of columns for each row of a period, in its order.

Shapes: B rows, F fields, K neighbours.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pkb.batch import Neighbours
from simulator.record.files import write_parquet

Spent = tuple[float, float]  # wall and CPU seconds of a search


def write_neighbours(file: Path, found: Neighbours, spent: Spent) -> None:
    """Write what rows have found, and what the search took."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(file, _to_table(found).replace_schema_metadata({"spent": json.dumps(spent)}))


def read_neighbours(file: Path, fields: int) -> tuple[Neighbours, Spent]:
    """Read what rows have found, and what the search took."""
    table = pq.read_table(file, partitioning=None)
    wall, cpu = json.loads(table.schema.metadata[b"spent"])
    return _from_table(table, fields), (wall, cpu)


def _to_table(found: Neighbours) -> pa.Table:
    columns = {
        "ids": found.ids_BKF.flatten(1),
        "label": found.label_BK.to(torch.int8),
        "age": found.age_BK,
        "present": found.present_BK.to(torch.int8),
        "idf": found.idf_BF,
    }
    return pa.table({name: to_lists(values.numpy()) for name, values in columns.items() if values is not None})


def _from_table(table: pa.Table, fields: int) -> Neighbours:
    def column(name: str) -> Tensor:
        lists = table.column(name)
        return torch.tensor(from_lists(lists, lists.type.list_size))

    return Neighbours(
        ids_BKF=column("ids").unflatten(1, (-1, fields)),
        label_BK=column("label").float(),
        age_BK=column("age"),
        present_BK=column("present").bool(),
        idf_BF=column("idf") if "idf" in table.column_names else None,
    )


def to_lists(values_BX: np.ndarray) -> pa.FixedSizeListArray:
    """[B, X] -> B lists of X numbers."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values_BX.reshape(-1)), values_BX.shape[1])


def from_lists(lists: pa.ChunkedArray, width: int) -> np.ndarray:
    """B lists of X numbers -> [B, X]."""
    values: np.ndarray = lists.combine_chunks().flatten().to_numpy()
    return values.reshape(-1, width)

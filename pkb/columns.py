"""A batch as named tensors, and back: what files of tensors hold.

    row_id, ids_BF, label, ...              its own
    histories.clicked, lists.genres, ...    of a group of columns by name
    neighbours.field_match.label_BK, ...    of what a retriever found

A column that is not there has no tensor.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from torch import Tensor

from pkb.batch import Batch, Neighbours


def to_tensors(rows: Batch) -> dict[str, Tensor]:
    """All columns of rows."""
    tensors: dict[str, Tensor] = {}
    for name, column in _parts(rows):
        if isinstance(column, dict):
            for key, part in column.items():
                if isinstance(part, Tensor):
                    tensors[f"{name}.{key}"] = part
                else:
                    tensors |= {f"{name}.{key}.{own}": t for own, t in _parts(part) if t is not None}
        elif column is not None:
            tensors[name] = column
    return tensors


def from_tensors(tensors: dict[str, Tensor]) -> Batch:
    """The rows whose columns these are; names of groups may hold points."""
    columns: dict[str, Any] = {}
    for name, tensor in tensors.items():
        group, _, key = name.partition(".")
        if group == "neighbours":
            retriever, _, own = key.rpartition(".")
            columns.setdefault(group, {}).setdefault(retriever, {})[own] = tensor
        elif key:
            columns.setdefault(group, {})[key] = tensor
        else:
            columns[name] = tensor
    if "neighbours" in columns:
        columns["neighbours"] = {name: Neighbours(**found) for name, found in columns["neighbours"].items()}
    return Batch(**columns)


def _parts(value: Any) -> list[tuple[str, Any]]:
    return [(f.name, getattr(value, f.name)) for f in fields(value)]

"""A batch as named tensors and back: every column, whatever the names."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from pkb.batch import Batch
from pkb.columns import from_tensors, to_tensors
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.neighbours import make_neighbours
from tests.pkb.test_kinds_contract import OF_EVERY_KIND


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and one.dtype == other.dtype and torch.allclose(one, other, equal_nan=True)
    return (
        other is None if one is None else all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    )


def test_a_batch_with_columns_of_every_kind_comes_back() -> None:
    rows = make_rows(20, schema=OF_EVERY_KIND)
    near = make_neighbours(rows, schema=OF_EVERY_KIND)
    rows = replace(
        rows,
        further_labels={"label.of.points": rows.label},
        neighbours={"field_match": near, "dense": replace(near, idf_BF=rows.ids_BF.float())},
        request=rows.row_id // 2,
        label_ts=rows.row_id + 7,
        weight=rows.label + 0.5,
    )
    assert same(from_tensors(to_tensors(rows)), rows)
    assert all(getattr(rows, f.name) is not None for f in fields(Batch) if f.name != "p_true"), "nothing is left out"


def test_a_batch_of_ids_alone_comes_back() -> None:
    rows = Batch(row_id=torch.arange(3), ids_BF=torch.ones(3, 2, dtype=torch.int32), label=torch.zeros(3))
    assert list(to_tensors(rows)) == ["row_id", "ids_BF", "label"]
    assert same(from_tensors(to_tensors(rows)), rows)

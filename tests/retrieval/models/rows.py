"""Rows with neighbours, for models that read them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pkb.batch import MISSING, Batch, Neighbours
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.neighbours import make_neighbours


def with_neighbours(rows: Batch, retriever: str, near: Neighbours | None = None) -> Batch:
    return replace(rows, neighbours={retriever: make_neighbours(rows) if near is None else near})


def make_met_rows(retriever: str, number: int = 32, *, seed: int = 0) -> Batch:
    """The rows of `make_rows`, with neighbours."""
    return with_neighbours(make_rows(number, seed=seed), retriever)


def padded(near: Neighbours, columns: int) -> Neighbours:
    """So many absent neighbours more, which hold anything at all: what is absent must not be read."""
    rows, _, fields = near.ids_BKF.shape

    def more(values: Tensor, *shape: int, value: float = 7) -> Tensor:
        return torch.cat([values, torch.full((rows, columns, *shape), value, dtype=values.dtype)], dim=1)

    return replace(
        near,
        ids_BKF=more(near.ids_BKF, fields),
        label_BK=more(near.label_BK, value=1),
        age_BK=more(near.age_BK),
        present_BK=more(near.present_BK, value=0),
    )


def reordered(near: Neighbours, order: Tensor) -> Neighbours:
    """The neighbours of every row in another order."""
    return replace(
        near,
        ids_BKF=near.ids_BKF[:, order],
        label_BK=near.label_BK[:, order],
        age_BK=near.age_BK[:, order],
        present_BK=near.present_BK[:, order],
    )


def absent(near: Neighbours) -> Neighbours:
    """As many, but none of them present."""
    return replace(near, ids_BKF=torch.full_like(near.ids_BKF, MISSING), present_BK=torch.zeros_like(near.present_BK))

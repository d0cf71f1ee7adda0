"""Neighbours for rows, as a retriever would have found them."""

from __future__ import annotations

import torch

from pkb.batch import Batch, Neighbours, Schema
from tests.pkb.backbones.check_backbone import IDS, SCHEMA

NEIGHBOURS = 5


def make_neighbours(rows: Batch, *, most: int = NEIGHBOURS, seed: int = 0, schema: Schema = SCHEMA) -> Neighbours:
    """Draw 0 to `most` rows, in turn, that share the first value and about half of the others with theirs."""
    draw = torch.Generator().manual_seed(seed)
    shape = (len(rows), most, len(schema.fields))
    others = torch.randint(schema.first_value_id, IDS, shape, generator=draw, dtype=torch.int32)
    shared = (torch.rand(shape, generator=draw) < 0.5) | (torch.arange(len(schema.fields)) == 0)
    present = torch.arange(most) < (rows.row_id % (most + 1)).unsqueeze(1)
    return Neighbours(
        ids_BKF=torch.where(shared, rows.ids_BF.unsqueeze(1), others) * present.unsqueeze(2),
        label_BK=torch.randint(2, shape[:2], generator=draw).float() * present,
        age_BK=torch.randint(1, 10_000, shape[:2], generator=draw, dtype=torch.int32) * present,
        present_BK=present,
    )

"""A small encoder for the tests: rows that share ids have alike vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from pkb.batch import Batch

WIDTH = 16


def encoder(rows: Batch) -> Tensor:
    """The mean of a fixed random vector for each id; [B, WIDTH]."""
    table = torch.randn(200, WIDTH, generator=torch.Generator().manual_seed(5))
    return table[rows.ids_BF.long()].mean(dim=1)

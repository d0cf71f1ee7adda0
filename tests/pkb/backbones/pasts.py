"""Histories to try an interest on."""

from __future__ import annotations

import torch

from pkb.sequence import Past


def make_past(lengths: list[int], *, width: int = 4, columns: int = 6, seed: int = 0) -> Past:
    """Random behaviours, so many in each row."""
    draw = torch.Generator().manual_seed(seed)
    length = torch.tensor(lengths)
    present = torch.arange(columns) < length[:, None]
    return Past(
        behaviours_BHD=torch.randn(len(lengths), columns, width, generator=draw) * present.unsqueeze(2),
        present_BH=present,
        length_B=length,
        target_BD=torch.randn(len(lengths), width, generator=draw),
    )

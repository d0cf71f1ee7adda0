"""Small blocks shared by several models."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def mlp(width_in: int, hidden: Sequence[int], width_out: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Linear-ReLU(-Dropout) for each hidden width, then a Linear to `width_out`; [..., in] -> [..., out]."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(width_in, width), nn.ReLU()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width_in = width
    return nn.Sequential(*layers, nn.Linear(width_in, width_out))

"""Small blocks shared by several models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def dense(width_in: int, width_out: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Linear-ReLU(-Dropout); [..., in] -> [..., out]."""
    layers: list[nn.Module] = [nn.Linear(width_in, width_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Dropout(dropout)) if dropout else nn.Sequential(*layers)


def mlp(width_in: int, hidden: Sequence[int], width_out: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Linear-ReLU(-Dropout) for each hidden width, then a Linear to `width_out`; [..., in] -> [..., out]."""
    layers: list[nn.Module] = []
    for width in hidden:
        layers += dense(width_in, width, dropout=dropout)
        width_in = width
    return nn.Sequential(*layers, nn.Linear(width_in, width_out))


def bi_interaction(v_BFD: Tensor) -> Tensor:
    """sum_{f<g} v_f * v_g, element by element, in O(F D): half of (sum v)^2 - sum v^2; [B, F, D] -> [B, D].

    Its sum over D is the pairwise term of a factorisation machine (Rendle 2010, Lemma 3.1).
    """
    return 0.5 * (v_BFD.sum(dim=1).square() - v_BFD.square().sum(dim=1))


def inner_products(v_BFD: Tensor) -> Tensor:
    """<v_f, v_g> for every pair f < g; [B, F, D] -> [B, F (F - 1) / 2]."""
    row, column = torch.triu_indices(v_BFD.shape[1], v_BFD.shape[1], offset=1, device=v_BFD.device)
    return torch.bmm(v_BFD, v_BFD.mT)[:, row, column]

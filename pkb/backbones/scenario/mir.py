"""Mutual information of two variables, bounded by how well a discriminator tells pairs that belong together.

max_T E[-softplus(-T(x, a))] - E[softplus(T(x, a'))] = 2 JSD(p(x, a), p(x) p(a)) - log 4

with a' from another row: 0 is perfect, -log 4 is no information (Nowozin et al. 2016, table 6; the objective of
Deep InfoMax, Hjelm et al. 2019, eq. 4). It grows with mutual information, but is none: it is bounded.

Shapes: B rows, D width of x, A width of a.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pkb.layers import mlp


class Discriminator(nn.Module):
    """T; [B, D], [B, A] -> [B]."""

    def __init__(self, x_width: int, a_width: int, hidden: int) -> None:
        super().__init__()
        self.network = mlp(x_width + a_width, [hidden], 1)

    def forward(self, x_BD: Tensor, a_BA: Tensor) -> Tensor:
        told: Tensor = self.network(torch.cat([x_BD, a_BA], dim=1)).squeeze(1)
        return told


def mutual_information_loss(discriminator: nn.Module, x_BD: Tensor, a_BA: Tensor) -> tuple[Tensor, Tensor]:
    """The two terms of the bound with their signs turned: of the rows' own pairs, and of pairs shuffled in the batch.

    Both the discriminator and what makes `a` lower them; minus their sum is the bound.
    """
    shuffled_BA = a_BA[torch.randperm(len(a_BA), device=a_BA.device)]
    own = softplus(-discriminator(x_BD, a_BA)).mean()
    return own, softplus(discriminator(x_BD, shuffled_BA)).mean()

"""DeepFM: factorisation machine and deep network over shared embeddings (Guo et al., IJCAI 2017).

y = w_0 + sum_f w_f + sum_{f<g} <v_f, v_g> + MLP([v_1, ..., v_F])         (eq. 1 to 4)

Extra fields take part in the pairwise and the deep terms; the linear term sees original ids only.

Shapes: B rows, F fields, K extra fields, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import mlp


def pairwise_inner_products(v_BFD: Tensor) -> Tensor:
    """sum_{f<g} <v_f, v_g> in O(F D): half of (sum v)^2 - sum v^2 (Rendle 2010, Lemma 3.1); [B, F, D] -> [B]."""
    return 0.5 * (v_BFD.sum(dim=1).square() - v_BFD.square().sum(dim=1)).sum(dim=1)


class DeepFM(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        hidden: tuple[int, ...] = (256, 128)  # widths of the deep part
        dropout: float = 0.0

    def __init__(self, schema: Schema, settings: Settings, extra_fields: int = 0) -> None:
        super().__init__(schema, settings, extra_fields)
        fields, width = len(schema.fields), settings.width
        self.embedding_width = width
        self.table = EmbeddingTable(fields, 1 + width)  # column 0 is the linear weight
        self.bias = nn.Parameter(torch.zeros(()))
        self.deep = mlp((fields + extra_fields) * width, settings.hidden, 1, dropout=settings.dropout)

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def forward(self, batch: Batch, extra_BKD: Tensor | None = None) -> Tensor:
        rows_BFD = self.table(batch.ids_BF)
        linear_B, v_BFD = rows_BFD[..., 0].sum(dim=1), rows_BFD[..., 1:]
        if self.extra_fields:
            if extra_BKD is None:
                extra_BKD = v_BFD.new_zeros(len(batch), self.extra_fields, self.embedding_width)
            v_BFD = torch.cat([v_BFD, extra_BKD], dim=1)
        deep_B = self.deep(v_BFD.flatten(1)).squeeze(1)
        logits: Tensor = self.bias + linear_B + pairwise_inner_products(v_BFD) + deep_B
        return logits

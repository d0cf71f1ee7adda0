"""DeepFM: factorisation machine and deep network over shared embeddings (Guo et al., IJCAI 2017).

y = w_0 + sum_f w_f + sum_{f<g} <v_f, v_g> + MLP([v_1, ..., v_F])         (eq. 1 to 4)

Extra fields and joined embeddings take part in the pairwise and the deep terms; the linear term sees ids only.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import bi_interaction
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class DeepFM(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        hidden: tuple[int, ...] = (256, 128)  # widths of the deep part
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, width = len(schema.fields), settings.width
        self.embedding_width = width
        self.table = EmbeddingTable(schema.fields, 1 + width)  # column 0 is the linear weight
        self.bias = nn.Parameter(torch.zeros(()))
        number, width = sockets.around(fields, width)
        self.tower = Tower(number * width, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        rows_BFD: Tensor = self.table(batch)
        linear_B, v_BFD = rows_BFD[..., 0].sum(dim=1), self.with_knowledge(rows_BFD[..., 1:], plugged)
        deep_B: Tensor = self.tower(v_BFD.flatten(1), plugged)
        return self.bias + linear_B + bi_interaction(v_BFD).sum(dim=1) + deep_B

"""FM: factorisation machine (Rendle, ICDM 2010).

y = w_0 + sum_f w_f + sum_{f<g} <v_f, v_g>                                (eq. 1)

The pairwise term is 1^T sum_{f<g} v_f * v_g; that vector, the bi-interaction of He and Chua (SIGIR 2017, eq. 3),
serves as the hidden layer that knowledge is added to or gates. Extra fields and joined embeddings take part in the
pairwise term; the linear one sees ids only.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, enter
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import bi_interaction
from pkb.plug import EMPTY, Plugged, Sockets


class FM(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        _, self.hidden_width = sockets.around(fields, settings.width)
        self.table = EmbeddingTable(schema.fields, 1 + settings.width)  # column 0 is the linear weight
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        rows_BFD: Tensor = self.table(batch)
        linear_B, v_BFD = rows_BFD[..., 0].sum(dim=1), self.with_knowledge(rows_BFD[..., 1:], plugged)
        return self.bias + linear_B + enter(bi_interaction(v_BFD), plugged).sum(dim=1)

"""DCN: deep and cross network (Wang et al., ADKDD 2017).

x_0 = [v_1, ..., v_F]
x_{l+1} = x_0 (x_l^T w_l) + b_l + x_l                                     (eq. 3, the cross network)
y = w^T [x_L, h] + w_0,  h the last hidden layer of MLP(x_0)

Knowledge is added to, or gates, a hidden layer of the MLP.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, X = (F + K)(D + J) inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class Cross(nn.Module):
    """One cross layer: x_0 (x^T w) + b + x; [B, X], [B, X] -> [B, X]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(inputs))

    def forward(self, x0_BX: Tensor, x_BX: Tensor) -> Tensor:
        scale_B1: Tensor = self.weight(x_BX)
        return x0_BX * scale_B1 + self.bias + x_BX


class DCN(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        layers: int = 3  # of the cross network
        hidden: tuple[int, ...] = (256, 128)  # widths of the deep part
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        number, width = sockets.around(fields, settings.width)
        inputs = number * width
        self.cross = nn.ModuleList(Cross(inputs) for _ in range(settings.layers))
        self.last = nn.Linear(inputs, 1, bias=False)  # its part of w; the tower holds the rest, and w_0
        self.tower = Tower(inputs, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        x0_BX = x_BX = self.with_knowledge(self.table(batch), plugged).flatten(1)
        for layer in self.cross:
            x_BX = layer(x0_BX, x_BX)
        crossed_B: Tensor = self.last(x_BX).squeeze(1)
        deep_B: Tensor = self.tower(x0_BX, plugged)
        return crossed_B + deep_B

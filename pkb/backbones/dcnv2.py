"""DCN V2: cross layers with a matrix, or a mixture of low-rank experts (Wang et al., WWW 2021), beside an MLP.

x_0 = [v_1, ..., v_F]
x_{l+1} = x_0 * (W_l x_l + b_l) + x_l                                     (eq. 1)
x_{l+1} = sum_e G_e(x_l) E_e(x_l) + x_l,  G = softmax(W_g x_l)            (eq. 3, DCN-Mix)
          E_e(x_l) = x_0 * (U_e tanh(C_e tanh(V_e^T x_l)) + b_l)          (eq. 4)
y = w^T [x_L, h] + w_0,  h the last hidden layer of MLP(x_0)              (the parallel structure of Figure 1b)

Knowledge is added to, or gates, a hidden layer of the MLP.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, X = (F + K)(D + J) inputs, E experts,
R rank.
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


class MatrixCross(nn.Module):
    """One cross layer: x_0 * (W x + b) + x; [B, X], [B, X] -> [B, X]."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.weight = nn.Linear(inputs, inputs)

    def forward(self, x0_BX: Tensor, x_BX: Tensor) -> Tensor:
        mapped_BX: Tensor = self.weight(x_BX)
        return x0_BX * mapped_BX + x_BX


class MixtureCross(nn.Module):
    """One cross layer of E experts of rank R; [B, X], [B, X] -> [B, X].

    The gates are scalars that sum to one, so the mixture is formed at width R before the common products with U:
    sum_e G_e U_e c_e = [U_1 ... U_E] [G_1 c_1, ..., G_E c_E].
    """

    def __init__(self, inputs: int, experts: int, rank: int) -> None:
        super().__init__()
        self.experts, self.rank = experts, rank
        self.down = nn.Linear(inputs, experts * rank, bias=False)  # V_e^T, one below the other
        self.core_ERR = nn.Parameter(torch.empty(experts, rank, rank))
        self.up = nn.Linear(experts * rank, inputs)  # U_e, side by side
        self.gate = nn.Linear(inputs, experts)
        for core in self.core_ERR:
            nn.init.xavier_normal_(core)

    def forward(self, x0_BX: Tensor, x_BX: Tensor) -> Tensor:
        low_EBR = torch.tanh(self.down(x_BX)).view(-1, self.experts, self.rank).transpose(0, 1)
        low_BER = torch.tanh(torch.bmm(low_EBR, self.core_ERR.mT)).transpose(0, 1)
        mixed_BER = low_BER * torch.softmax(self.gate(x_BX), dim=1).unsqueeze(2)
        mapped_BX: Tensor = self.up(mixed_BER.flatten(1))
        return x0_BX * mapped_BX + x_BX


class DCNv2(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        layers: int = 3  # of the cross network
        rank: int = 0  # R of the low-rank experts; 0 takes one full matrix a layer instead
        experts: int = 4  # E, with a rank
        hidden: tuple[int, ...] = (256, 128)  # widths of the deep part
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        number, width = sockets.around(fields, settings.width)
        inputs = number * width
        self.cross = nn.ModuleList(
            MixtureCross(inputs, settings.experts, settings.rank) if settings.rank else MatrixCross(inputs)
            for _ in range(settings.layers)
        )
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

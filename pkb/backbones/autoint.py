"""AutoInt: self-attention over the fields (Song et al., CIKM 2019), beside an MLP (AutoInt+).

a_{fg} = softmax_g <W_Q e_f, W_K e_g>,  e'_f = sum_g a_{fg} W_V e_g       (eq. 5 and 6, for each head)
e_f <- relu([e'_f of each head] + W_res e_f)                              (eq. 7 and 8)
y = w^T [e_1, ..., e_F] + MLP([v_1, ..., v_F])                            (eq. 9)

Without hidden layers the MLP is left out: plain AutoInt. Extra fields and joined embeddings attend and are attended
to. Knowledge is added to, or gates, a hidden layer of the MLP, without one the logit.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, N heads, H width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower, enter
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class FieldAttention(nn.Module):
    """One interacting layer; [B, F, in] -> [B, F, N H]."""

    def __init__(self, width_in: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.head_width = heads, head_width
        self.project = nn.Linear(width_in, 4 * heads * head_width, bias=False)  # W_Q, W_K, W_V, W_res

    def forward(self, e_BFD: Tensor) -> Tensor:
        rows, fields, _ = e_BFD.shape
        projected = self.project(e_BFD).view(rows, fields, 4, self.heads, self.head_width)
        one_copy = projected[:, :, :3].permute(2, 0, 3, 1, 4).reshape(3, rows * self.heads, fields, self.head_width)
        query_RFH, key_RFH, value_RFH = one_copy  # R = B N
        weights_RFF = torch.softmax(torch.bmm(query_RFH, key_RFH.mT), dim=2)
        attended_RFH = torch.bmm(weights_RFF, value_RFH)
        attended = attended_RFH.view(rows, self.heads, fields, self.head_width).transpose(1, 2).flatten(2)
        return torch.relu(attended + projected[:, :, 3].flatten(2))


class AutoInt(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        layers: int = 3  # interacting layers
        heads: int = 2
        head_width: int = 16
        hidden: tuple[int, ...] = (256, 128)  # of the MLP beside the attention; none leaves it out
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        number, width = sockets.around(fields, settings.width)
        attended = settings.heads * settings.head_width
        self.attention = nn.Sequential(
            *(
                FieldAttention(attended if layer else width, settings.heads, settings.head_width)
                for layer in range(settings.layers)
            )
        )
        self.last = nn.Linear(number * (attended if settings.layers else width), 1, bias=not settings.hidden)
        self.tower = None
        self.hidden_width = 1
        if settings.hidden:
            self.tower = Tower(number * width, settings.hidden, sockets, dropout=settings.dropout)
            self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.with_knowledge(self.table(batch), plugged)
        logit_B1: Tensor = self.last(self.attention(v_BFD).flatten(1))
        if self.tower is None:
            return enter(logit_B1, plugged).squeeze(1)
        deep_B: Tensor = self.tower(v_BFD.flatten(1), plugged)
        return logit_B1.squeeze(1) + deep_B

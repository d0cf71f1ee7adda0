"""LR: logistic regression on the impression's values (Richardson et al., WWW 2007).

y = w_0 + sum_f w_f

An extra field adds its one column to the sum, joined columns likewise; the only "hidden layer" is the logit itself.

Shapes: B rows, F fields, K extra fields, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, enter
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets


class LR(Backbone):
    """One weight a value."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        pass

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.embedding_width = self.hidden_width = 1
        self.table = EmbeddingTable(schema.fields, 1)
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        w_BFD = self.with_knowledge(self.table(batch), plugged)  # [B, F + K, 1 + J]
        logit_B1 = self.bias + w_BFD.sum(dim=(1, 2)).unsqueeze(1)
        return enter(logit_B1, plugged).squeeze(1)

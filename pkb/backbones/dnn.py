"""DNN: embeddings and a multi-layer perceptron (Covington et al., RecSys 2016; "Embedding & MLP" of the DIN paper).

y = MLP([v_1, ..., v_F])

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


class DNN(Backbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D
        hidden: tuple[int, ...] = (256, 128)
        dropout: Dropout = 0.0

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, self.embedding_width = len(schema.fields), settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        number, width = sockets.around(fields, settings.width)
        self.tower = Tower(number * width, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.with_knowledge(self.table(batch), plugged)
        logits: Tensor = self.tower(v_BFD.flatten(1), plugged)
        return logits

"""The control that does not read the scenario: `dnn` on the fields of all other roles.

What a knowledge base says of a row may still depend on its scenario.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pkb.backbones.base import Backbone, Tower
from pkb.backbones.dnn import DNN
from pkb.backbones.scenario.base import scenario_column
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets


class DNNWithoutScenario(Backbone):
    Settings = DNN.Settings

    def __init__(self, schema: Schema, settings: DNN.Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        scenario_column(schema, type(self))
        fields, self.embedding_width = schema.fields, settings.width
        scenarios = [place for place, field in enumerate(fields) if field.role == "scenario"]
        self.table = EmbeddingTable(fields, settings.width)
        number, width = sockets.around(len(fields), settings.width)
        self.others = [place for place in range(number) if place not in scenarios]
        self.tower = Tower(len(self.others) * width, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.with_knowledge(self.table(batch), plugged)
        others = torch.tensor(self.others, device=v_BFD.device)
        logits: Tensor = self.tower(v_BFD.index_select(1, others).flatten(1), plugged)
        return logits

"""The control that shares no layer: an MLP of its own for each scenario, on embeddings that all share.

Embeddings of its own for each scenario as well would cost a table of all ids times the scenarios; what is told apart
here is what the models beside it share in some way, the network.

A step costs a plain DNN's and reading the networks of the batch's scenarios.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkb.backbones.scenario.base import OwnLinear, ScenarioBackbone, ScenarioSettings, put_back, select
from pkb.batch import Batch, Schema
from pkb.plug import EMPTY, Plugged, Sockets


class DNNPerScenario(ScenarioBackbone):
    Settings: ClassVar[type[ScenarioSettings]] = ScenarioSettings

    def __init__(self, schema: Schema, settings: ScenarioSettings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        widths = [self.inputs, *settings.hidden]
        self.layers = nn.ModuleList(OwnLinear(a, b) for a, b in zip(widths, settings.hidden, strict=False))
        self.last = OwnLinear(widths[-1], 1)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        here, order_B = self.last.own.here(batch.ids_BF[:, self.scenario]).sorted()
        x_BX = self.embedded(batch, plugged).flatten(1)[order_B]
        layers = [partial(_activated, layer, here) for layer in self.layers]
        x_BX = self.through(x_BX, layers, select(plugged, order_B))
        return put_back(self.last(x_BX, here).squeeze(1), order_B)


def _activated(layer: nn.Module, here: object, x_BX: Tensor) -> Tensor:
    return torch.relu(layer(x_BX, here))

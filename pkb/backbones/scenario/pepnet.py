"""PEPNet: gates on the embeddings and on every layer (Chang et al., KDD 2023).

gate(x) = 2 sigmoid(W' relu(W x + b) + b')                                                   (eq. 2, 3: Gate NU)
E' = gate([x_s, sg(E)]) * E                                                                  (eq. 5, EPNet)
h_l' = gate_l([v_user, v_item, sg(E')]) * h_l                                                (eq. 7, 8, PPNet)

with x_s the scenario's vector and sg a stop of the gradient: gates do not teach the embeddings that they weigh. The
paper's EPNet is the part that knows the scenario, its PPNet the part that knows the user.

A step costs a plain DNN's and a gate a layer of B (X + 2D) G + B G H products, G the gate's hidden width.

Shapes: B rows, D width of the scenario's vector, X inputs, H a layer's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from pkb.backbones.scenario.base import ConditionedBackbone, ScenarioSettings
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.layers import dense, mlp
from pkb.plug import EMPTY, Plugged, Sockets


class PEPNet(ConditionedBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(ScenarioSettings):
        gate: int = 64  # hidden width of each gate

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.gate < 1:
                raise SettingError(f"gate={self.gate}: must be at least 1")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.person = [schema.user_column, schema.item_column]
        widths, priors = [self.inputs, *settings.hidden], self.inputs + 2 * self.each
        self.layers = nn.ModuleList(dense(a, b) for a, b in zip(widths, settings.hidden, strict=False))
        self.domain_gate = mlp(settings.width + self.inputs, [settings.gate], self.inputs)
        self.gates = nn.ModuleList(mlp(priors, [settings.gate], width) for width in settings.hidden)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.embedded(batch, plugged)
        e_BX = v_BFD.flatten(1)
        e_BX = e_BX * _gate(self.domain_gate, [self.condition(batch), e_BX.detach()])
        prior = [v_BFD[:, self.person].flatten(1), e_BX.detach()]
        layers = [
            partial(_gated, layer, _gate(gate, prior)) for layer, gate in zip(self.layers, self.gates, strict=True)
        ]
        logits: Tensor = self.last(self.through(e_BX, layers, plugged)).squeeze(1)
        return logits


def _gate(network: nn.Module, inputs: list[Tensor]) -> Tensor:
    """Factors between 0 and 2."""
    return 2 * torch.sigmoid(network(torch.cat(inputs, dim=1)))


def _gated(layer: nn.Module, factor_BH: Tensor, x_BX: Tensor) -> Tensor:
    hidden_BH: Tensor = layer(x_BX)
    return factor_BH * hidden_BH

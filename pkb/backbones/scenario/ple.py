"""PLE, progressive layered extraction, with a scenario for a task (Tang et al., RecSys 2020).

Level by level, a row of scenario s has a path of its own, x_s, and a shared one, x_c; both start at the embeddings:

x_s <- sum_e softmax(G_s x_s)_e [experts of s on x_s, shared experts on x_c]_e               (eq. 1 to 3)
x_c <- sum_e softmax(G_c x_c)_e [experts of s on x_s, shared experts on x_c]_e               (not in the last level)
y = tower_s(x_s)

A task of the paper sees all rows, and its shared gate all tasks' experts. A row here is of one scenario, whose experts
alone run on it, so that a step costs the same whatever the number of scenarios: about as much as a plain DNN whose
layers have all `experts` and `shared_experts`, with U matrices to read.

Shapes: B rows, X inputs of a level, E experts, H width of each, U scenarios of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.base import enter
from pkb.backbones.scenario.base import OwnLinear, ScenarioBackbone, ScenarioSettings, put_back, select
from pkb.backbones.scenario.table import Here
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets


class Level(nn.Module):
    """Own and shared experts with their gates; [B, X], [B, X] -> [B, H], [B, H], rows sorted by scenario."""

    def __init__(self, inputs: int, width: int, experts: int, shared_experts: int, *, last: bool) -> None:
        super().__init__()
        self.width, number = width, experts + shared_experts
        self.own = OwnLinear(inputs, experts * width)
        self.shared = nn.Linear(inputs, shared_experts * width)
        self.own_gate = OwnLinear(inputs, number)
        self.shared_gate = None if last else nn.Linear(inputs, number)

    def forward(self, own_BX: Tensor, shared_BX: Tensor, here: Here) -> tuple[Tensor, Tensor]:
        experts = torch.cat([self.own(own_BX, here), self.shared(shared_BX)], dim=1)
        experts_BEH = torch.relu(experts).unflatten(1, (-1, self.width))
        mixed_BH = _mixed(experts_BEH, self.own_gate(own_BX, here))
        return mixed_BH, mixed_BH if self.shared_gate is None else _mixed(experts_BEH, self.shared_gate(shared_BX))


def _mixed(experts_BEH: Tensor, gate_BE: Tensor) -> Tensor:
    return torch.bmm(torch.softmax(gate_BE, dim=1).unsqueeze(1), experts_BEH).squeeze(1)


class PLE(ScenarioBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(ScenarioSettings):
        """`hidden` are the levels, by the width of their experts."""

        experts: int = 1  # of each scenario, in a level
        shared_experts: int = 1  # of all, in a level
        tower: int = 64  # hidden width of each scenario's tower

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("experts", "shared_experts", "tower"):
                if getattr(self, name) < 1:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        widths, levels = [self.inputs, *settings.hidden], len(settings.hidden)
        self.levels = nn.ModuleList(
            Level(widths[i], widths[i + 1], settings.experts, settings.shared_experts, last=i == levels - 1)
            for i in range(levels)
        )
        self.tower = OwnLinear(widths[-1], settings.tower)
        self.last = OwnLinear(settings.tower, 1)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        here, order_B = self.last.own.here(batch.ids_BF[:, self.scenario]).sorted()
        own = shared = self.embedded(batch, plugged).flatten(1)[order_B]
        plugged = select(plugged, order_B)
        for number, level in enumerate(self.levels, start=1):
            own, shared = level(own, shared, here)
            if number == self.socket:
                own = enter(own, plugged)
        hidden = nn.functional.dropout(torch.relu(self.tower(own, here)), self.dropout, self.training)
        return put_back(self.last(hidden, here).squeeze(1), order_B)

"""What models of many scenarios share: the scenario's column, its tables, and layers of its own.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, X = (F + K)(D + J) inputs, U scenarios of
the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.base import Backbone, enter
from pkb.backbones.scenario.table import Here, ScenarioTable
from pkb.batch import Batch, Schema, every_column
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.space import Dropout


def scenario_column(schema: Schema, model: type[Backbone]) -> int:
    """The column of the field that names the scenario; SettingError where the log has none."""
    if schema.scenario is None:
        raise SettingError(
            f"backbone {model.__name__} tells scenarios apart, but no field of the log has the role scenario "
            f"(fields: {', '.join(schema.names)}); name one (stream.table.scenario) or take another backbone"
        )
    return schema.names.index(schema.scenario)


@dataclass(frozen=True, kw_only=True)
class ScenarioSettings:
    """What every model here has; `hidden` are the backbone's layers, whose weights the scenario changes."""

    width: int = 16  # embedding width D
    hidden: tuple[int, ...] = (256, 128)
    dropout: Dropout = 0.0

    def __post_init__(self) -> None:
        if not self.hidden or min(self.hidden) < 1:
            raise SettingError(f"hidden={self.hidden}: must name at least one layer, each at least 1 wide")


class ScenarioBackbone(Backbone):
    """Embeddings, layers that the scenario has a say in, one logit."""

    Settings: ClassVar[type[ScenarioSettings]]

    def __init__(self, schema: Schema, settings: ScenarioSettings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.scenario = scenario_column(schema, type(self))
        self.dropout, fields = settings.dropout, len(schema.fields)
        self.embedding_width = settings.width
        self.table = EmbeddingTable(schema.fields, settings.width)
        self.embeddings, self.each = sockets.around(fields, settings.width)
        self.inputs = self.embeddings * self.each  # X
        self.socket = min(sockets.layer, len(settings.hidden))
        self.hidden_width = settings.hidden[self.socket - 1]

    def meet(self, rows: Batch, generator: torch.Generator) -> None:
        ids = rows.ids_BF[:, self.scenario].unique()
        for module in self.modules():
            if isinstance(module, ScenarioTable):
                module.meet(ids, generator)

    def embedded(self, batch: Batch, plugged: Plugged) -> Tensor:
        """Embeddings with what is plugged into them, [B, F + K, D + J]."""
        return self.with_knowledge(self.table(batch), plugged)

    def through(self, x_BX: Tensor, layers: Iterable[Callable[[Tensor], Tensor]], plugged: Plugged) -> Tensor:
        """What the last hidden layer says, [B, H]; each of `layers` gives its activations."""
        for number, layer in enumerate(layers, start=1):
            x_BX = functional.dropout(layer(x_BX), self.dropout, self.training)
            if number == self.socket:
                x_BX = enter(x_BX, plugged)
        return x_BX


class ConditionedBackbone(ScenarioBackbone):
    """A model whose weights are generated from a vector of the scenario, x_s, [B, D].

    The vector is the scenario's own beside its embedding among the fields: it starts at the mean of those known.
    """

    def __init__(self, schema: Schema, settings: ScenarioSettings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.scenarios = ScenarioTable(torch.zeros(settings.width), scale=0.1)
        self.last = nn.Linear(settings.hidden[-1], 1)

    def condition(self, batch: Batch) -> Tensor:
        """x_s of each row, [B, D]."""
        here = self.scenarios.here(batch.ids_BF[:, self.scenario])
        return self.scenarios.of(here)[here.which_B]


class OwnLinear(nn.Module):
    """A linear layer for each scenario; of a batch sorted by scenario, [B, in] -> [B, out].

    Each layer runs on its own rows alone: the cost is a plain layer's, and reading U matrices.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.width_in, self.width_out = width_in, width_out
        self.own = ScenarioTable(_flat(nn.Linear(width_in, width_out)))

    def weights(self, here: Here) -> tuple[Tensor, Tensor]:
        """Matrices [U, out, in] and biases [U, out]."""
        weight, bias = self.own.of(here).split([self.width_in * self.width_out, self.width_out], dim=1)
        return weight.unflatten(1, (self.width_out, self.width_in)), bias

    def forward(self, x_BX: Tensor, here: Here) -> Tensor:
        weight_UOX, bias_UO = self.weights(here)
        own = zip(x_BX.split(here.counts), weight_UOX, bias_UO, strict=True)
        return torch.cat([functional.linear(x, weight, bias) for x, weight, bias in own])


def _flat(linear: nn.Linear) -> Tensor:
    return torch.cat([linear.weight.flatten(), linear.bias])


def select(plugged: Plugged, order_B: Tensor) -> Plugged:
    """What is plugged in, of the rows in this order."""
    if plugged is EMPTY:
        return plugged
    selected: Plugged = every_column([plugged], lambda columns: columns[0][order_B])
    return selected


def put_back(logit_B: Tensor, order_B: Tensor) -> Tensor:
    """Logits of rows in this order, in the batch's own."""
    return torch.empty_like(logit_B).index_copy(0, order_B, logit_B)

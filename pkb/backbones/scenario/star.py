"""STAR, a star topology: one shared network and one for each scenario (Sheng et al., CIKM 2021).

W_s* = W * W_s,  b_s* = b + b_s                                                            (eq. 6)
x' = gamma * gamma_s * (x - mu_s) / sqrt(var_s + eps) + beta + beta_s                      (eq. 3, 4: partitioned norm)
y = STAR(x') + auxiliary([v_s, x])                                                         (eq. 8)

The statistics of the normalisation are the row's own scenario's: of its rows in the minibatch in training, moving ones
otherwise. The paper's minibatches hold one scenario each; of ours, one may hold few rows of a scenario, and these are
normalised by the moving statistics then. Of several workers each takes its own share's, so that what is learned depends
on `train.workers`.

A step costs a plain DNN's, and reading and multiplying the networks of the batch's scenarios: U W more products.

Shapes: B rows, X inputs, U scenarios of the batch, N of its rows of one scenario, D width of the scenario's vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.scenario.base import OwnLinear, ScenarioBackbone, ScenarioSettings, put_back, select
from pkb.backbones.scenario.table import Here, ScenarioTable
from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.layers import mlp
from pkb.plug import EMPTY, Plugged, Sockets

FEWEST = 8  # rows of a scenario in a minibatch from which on its own statistics are taken
EPSILON = 1e-5


class StarLinear(nn.Module):
    """A shared layer with one for each scenario: weights multiplied, biases added; [B, in] -> [B, out].

    The scenarios' start neutral, at ones and zeros.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.shared = nn.Linear(width_in, width_out)
        self.of_scenario = OwnLinear(width_in, width_out)
        self.of_scenario.own.start_P.fill_(1)[width_in * width_out :] = 0

    def forward(self, x_BX: Tensor, here: Here) -> Tensor:
        weight_UOX, bias_UO = self.of_scenario.weights(here)
        weight_UOX, bias_UO = self.shared.weight * weight_UOX, self.shared.bias + bias_UO
        own = zip(x_BX.split(here.counts), weight_UOX, bias_UO, strict=True)
        return torch.cat([functional.linear(x, weight, bias) for x, weight, bias in own])


class Statistics(ScenarioTable):
    """Moving statistics of X numbers for each scenario, as a row: [rows seen, means, means of squares].

    They are not learnt, but move as what is learnt does, so that all ranks' rows add up: the gradient of `observed`,
    which is zero, is the minibatch's sums. What was seen counts less by `decay` with each minibatch that has more.
    """

    of_weights: ClassVar[bool] = False
    decay: ClassVar[float] = 0.99

    def __init__(self, inputs: int) -> None:
        super().__init__(torch.cat([torch.zeros(1 + inputs), torch.ones(inputs)]))
        self.inputs = inputs

    def observed(self, x_BX: Tensor, here: Here) -> Tensor:
        """Zero, with these rows' numbers and their squares as a gradient; a mean over rows, as losses are."""
        x_BX = x_BX.detach()
        seen_BP = torch.cat([x_BX.new_ones(len(x_BX), 1), x_BX, x_BX.square()], dim=1)
        sums = (self.of(here)[here.which_B] * seen_BP).sum() / len(x_BX)
        return sums - sums.detach()

    def moving(self, here: Here) -> tuple[Tensor, Tensor]:
        """Mean and variance of each scenario, [U, X] each."""
        _, mean_UX, squares_UX = self.of(here).detach().split([1, self.inputs, self.inputs], dim=1)
        return mean_UX, (squares_UX - mean_UX.square()).clamp(min=0)

    @torch.no_grad()
    def apply_gradient(self, rows: Tensor, values: Tensor, learning_rate: float) -> None:
        """Take in a minibatch's sums; no rate plays a part."""
        seen, fresh = self.decay * self.weight[rows, :1], values[:, :1]
        self.weight[rows, :1] = seen + fresh
        share = 1 / (seen + fresh).clamp(min=1)
        self.weight[rows, 1:] += (values[:, 1:] - fresh * self.weight[rows, 1:]) * share


class PartitionedNorm(nn.Module):
    """Normalisation by the row's own scenario; [B, X] -> [B, X], rows sorted by scenario."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.statistics = Statistics(inputs)
        self.scale = nn.Parameter(torch.ones(inputs))
        self.shift = nn.Parameter(torch.zeros(inputs))
        self.own = ScenarioTable(torch.cat([torch.ones(inputs), torch.zeros(inputs)]))

    def forward(self, x_BX: Tensor, here: Here) -> Tensor:
        scale_UX, shift_UX = self.own.of(here).chunk(2, dim=1)
        scale_UX, shift_UX = self.scale * scale_UX, self.shift + shift_UX
        moving = zip(*self.statistics.moving(here), strict=True)
        normal = [self._normalised(x, *its) for x, its in zip(x_BX.split(here.counts), moving, strict=True)]
        return torch.cat(normal) * scale_UX[here.which_B] + shift_UX[here.which_B]

    def _normalised(self, x_NX: Tensor, mean_X: Tensor, variance_X: Tensor) -> Tensor:
        if self.training and len(x_NX) >= FEWEST:
            variance_X, mean_X = torch.var_mean(x_NX, dim=0, correction=0)
        return (x_NX - mean_X) * torch.rsqrt(variance_X + EPSILON)


class STAR(ScenarioBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(ScenarioSettings):
        normalise: bool = True  # the inputs, by their scenario
        auxiliary: int = 64  # hidden width of the auxiliary network; 0 leaves it out

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.auxiliary < 0:
                raise SettingError(f"auxiliary={self.auxiliary}: must be at least 0")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        widths = [self.inputs, *settings.hidden]
        self.norm = PartitionedNorm(self.inputs) if settings.normalise else None
        self.layers = nn.ModuleList(StarLinear(a, b) for a, b in zip(widths, settings.hidden, strict=False))
        self.last = StarLinear(widths[-1], 1)
        self.auxiliary = self.scenarios = None
        if settings.auxiliary:
            self.scenarios = ScenarioTable(torch.zeros(settings.width), scale=0.1)
            self.auxiliary = mlp(settings.width + self.inputs, [settings.auxiliary], 1)

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self._logits(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        logit_B, x_BX, here = self._logits(batch, plugged)
        return logit_B, None if self.norm is None else self.norm.statistics.observed(x_BX, here)

    def _logits(self, batch: Batch, plugged: Plugged) -> tuple[Tensor, Tensor, Here]:
        """Logits, [B]; the inputs before normalisation, [B, X], and the scenarios, sorted by these."""
        here, order_B = self.last.of_scenario.own.here(batch.ids_BF[:, self.scenario]).sorted()
        x_BX = self.embedded(batch, plugged).flatten(1)[order_B]
        normal_BX = x_BX if self.norm is None else self.norm(x_BX, here)
        layers = [partial(_activated, layer, here) for layer in self.layers]
        logit_B1 = self.last(self.through(normal_BX, layers, select(plugged, order_B)), here)
        if self.auxiliary is not None and self.scenarios is not None:
            v_BD = self.scenarios.of(here)[here.which_B]
            logit_B1 = logit_B1 + self.auxiliary(torch.cat([v_BD, x_BX], dim=1))
        return put_back(logit_B1.squeeze(1), order_B), x_BX, here


def _activated(layer: nn.Module, here: Here, x_BX: Tensor) -> Tensor:
    return torch.relu(layer(x_BX, here))

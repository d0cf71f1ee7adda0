"""Elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Batch
from pkb.errors import SettingError
from simulator.policies.base import Policy, Rows
from simulator.seeding import generator
from simulator.train.steps import dense_parameters, tables_of

if TYPE_CHECKING:
    from simulator.arms import Contender, Fit


class Ewc(Policy):
    """Fine-tunes, each weight held to its former value by how much it mattered.

    l + weight / 2 sum_i F_i (theta_i - theta*_i)^2 (Kirkpatrick et al. 2017, eq. 3), F the diagonal of the empirical
    Fisher information, decayed and added up over lessons (online EWC, Schwarz et al. 2018). Of an embedding table a
    step holds the rows that its minibatch touches.
    """

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        weight: float = 1.0  # 1 weighs a former row as much as a new one
        decay: float = 0.95  # of F from one lesson to the next
        rows: int = 8192  # of the lesson that F is estimated on
        group: int = 32  # rows whose gradients are squared together

        def __post_init__(self) -> None:
            for name, low in (("weight", 0), ("decay", 0), ("rows", 1), ("group", 1)):
                if getattr(self, name) < low:
                    raise SettingError(f"policies.ewc.{name}={getattr(self, name)}: must be at least {low}")

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__(settings, seed)
        self.importance: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        lesson = rows(window)
        fit(lesson, partial(self._penalty, arm) if self.anchor else None)
        if len(lesson):
            self._consolidate(arm, lesson, period)

    def _penalty(self, arm: Contender, batch: Batch, logits: Tensor) -> Tensor:
        tables = {f"table.{name}": table for name, table in tables_of(arm.model).items()}
        total = logits.new_zeros(())
        for name, parameter in _named(arm).items():
            F, anchor, weights = self.importance[name], self.anchor[name], cast(Tensor, parameter)
            if name in tables:
                rows = batch.unique_ids()
                rows = rows[rows < len(F)]
                F, anchor, weights = F[rows], anchor[rows], functional.embedding(rows, parameter, sparse=True)
            total = total + (F * (weights - anchor).square()).sum()
        held: Tensor = 0.5 * self.settings.weight * total
        return held

    def _consolidate(self, arm: Contender, lesson: Batch, period: int) -> None:
        order = torch.randperm(len(lesson), generator=generator(self.seed, "ewc", period))[: self.settings.rows]
        parameters, in_use = _named(arm), _in_use(arm)
        fresh = {name: torch.zeros_like(weights) for name, weights in in_use.items()}
        groups = list(lesson.minibatches(self.settings.group, order))
        arm.model.eval()
        for group in groups:
            arm.model.zero_grad()
            binary_cross_entropy_with_logits(arm.logits(group), group.label).backward()
            # of a mean over independent rows: the mean of their squares over the number of rows
            scale = len(group) / len(groups)
            for name, parameter in parameters.items():
                gradient = parameter.grad
                if gradient is None:
                    continue
                if gradient.is_sparse:
                    gradient = gradient.coalesce()
                    fresh[name][gradient.indices()[0]] += gradient.values().square() * scale
                else:
                    fresh[name] += gradient.square() * scale
        arm.model.zero_grad()
        for name, former in self.importance.items():
            fresh[name][tuple(map(slice, former.shape))] += self.settings.decay * former  # tables have grown
        self.importance, self.anchor = fresh, {name: weights.clone() for name, weights in in_use.items()}

    def state(self) -> dict[str, Tensor]:
        return {f"importance.{k}": v for k, v in self.importance.items()} | {
            f"anchor.{k}": v for k, v in self.anchor.items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        for key, value in state.items():
            kind, name = key.split(".", 1)
            (self.importance if kind == "importance" else self.anchor)[name] = value

    def beside(self, model: int) -> int:
        return 2 * model


def _named(arm: Contender) -> dict[str, nn.Parameter]:
    """The parameters of an arm's model: dense ones by their place, tables by their name."""
    dense = {f"dense.{place}": p for place, p in enumerate(dense_parameters(arm.model))}
    return dense | {f"table.{name}": table.weight for name, table in tables_of(arm.model).items()}


def _in_use(arm: Contender) -> dict[str, Tensor]:
    """Their values, of tables the rows in use."""
    tables = {f"table.{name}": table for name, table in tables_of(arm.model).items()}
    return {name: p.data[: tables[name].size] if name in tables else p.data for name, p in _named(arm).items()}

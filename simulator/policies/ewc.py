"""Elastic weight consolidation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Batch
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.parameters import dense_parameters, tables_of
from pkb.seeding import generator
from pkb.space import Between
from simulator.policies.base import Learner, Lesson, Policy, Rows


class Ewc(Policy):
    """Fine-tunes, each weight held to its former value by how much it mattered.

    l + weight / 2 sum_i F_i (theta_i - theta*_i)^2 (Kirkpatrick et al. 2017, eq. 3), F the diagonal of the empirical
    Fisher information, decayed and added up over lessons (online EWC, Schwarz et al. 2018). Of an embedding table a
    step holds the rows that its minibatch touches, and all those of numbers and vectors.
    """

    adds_to_loss: ClassVar[bool] = True
    holds_rows_by_place: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        weight: Annotated[float, Between(0.01, 10.0, log=True)] = 1.0  # 1 weighs a former row as much as a new one
        decay: float = 0.95  # of F from one lesson to the next
        rows: int = 8192  # of the lesson that F is estimated on
        group: int = 32  # rows whose gradients are squared together

        def __post_init__(self) -> None:
            for name, low in (("weight", 0), ("decay", 0), ("rows", 1), ("group", 1)):
                if getattr(self, name) < low:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least {low}")

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__(settings, seed)
        self.importance: dict[str, Tensor] = {}
        self.anchor: dict[str, Tensor] = {}

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson:
        return Lesson(rows=rows(window), addition=partial(self._penalty, learner.model) if self.anchor else None)

    def finish(self, learner: Learner, lesson: Lesson, window: range) -> None:
        if len(lesson.rows):
            self._consolidate(learner, lesson.rows, window[-1])

    def _penalty(self, model: nn.Module, batch: Batch, logits: Tensor) -> Tensor:
        total = logits.new_zeros(())
        for name, parameter in _dense(model).items():
            total = total + (self.importance[name] * (parameter - self.anchor[name]).square()).sum()
        for name, table in _tables(model).items():
            F, anchor = self.importance[name], self.anchor[name]
            rows = table.rows_of(batch.unique_ids())
            own = torch.arange(1 + table.fields, table.reserved, device=rows.device)  # of numbers and vectors
            rows = torch.cat([rows[rows < len(F)], own]).unique()
            total = total + (F[rows] * (table.rows(rows) - anchor[rows]).square()).sum()
        held: Tensor = 0.5 * self.settings.weight * total
        return held

    def _consolidate(self, learner: Learner, lesson: Batch, period: int) -> None:
        model = learner.model
        order = torch.randperm(len(lesson), generator=generator(self.seed, "ewc", period))[: self.settings.rows]
        weights = _weights(model)
        fresh = {name: torch.zeros_like(values) for name, values in weights.items()}
        groups = list(lesson.minibatches(self.settings.group, order))
        model.eval()
        for group in map(learner.place, groups):
            model.zero_grad()
            binary_cross_entropy_with_logits(learner.logits(group), group.label).backward()
            # of a mean over independent rows: the mean of their squares over the number of rows
            scale = len(group) / len(groups)
            for name, parameter in _dense(model).items():
                if parameter.grad is not None:
                    fresh[name] += parameter.grad.square() * scale
            for name, table in _tables(model).items():
                if (gradient := table.gradient()) is not None:
                    rows, values = gradient
                    fresh[name][rows] += values.square() * scale
        model.zero_grad()
        for name, former in self.importance.items():
            fresh[name][tuple(map(slice, former.shape))] += self.settings.decay * former  # tables have grown
        self.importance, self.anchor = fresh, {name: values.clone() for name, values in weights.items()}

    def forget_model(self) -> None:
        self.importance, self.anchor = {}, {}

    def state(self) -> dict[str, Tensor]:
        return {f"importance.{k}": v for k, v in self.importance.items()} | {
            f"anchor.{k}": v for k, v in self.anchor.items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        for key, value in state.items():
            kind, name = key.split(".", 1)
            (self.importance if kind == "importance" else self.anchor)[name] = value

    def bytes_beside(self, model: int) -> int:
        return 2 * model


def _dense(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name dense parameters by their place."""
    return {f"dense.{place}": p for place, p in enumerate(dense_parameters(model))}


def _tables(model: nn.Module) -> dict[str, EmbeddingTable]:
    return {f"table.{name}": table for name, table in tables_of(model).items()}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """Take the values of dense parameters, and of the tables' rows in use."""
    dense = {name: p.data for name, p in _dense(model).items()}
    return dense | {name: table.rows_in_use()["weight"] for name, table in _tables(model).items()}

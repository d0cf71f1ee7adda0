"""Weights that belong to a scenario: a row of a growing table for each one that was met.

A table of weights is no table of all ids: a row may hold a whole network, so only what was met as a scenario has one
(`ScenarioTable.meet`, between periods, alike on every rank). Nothing is rebuilt: a new scenario's row starts at the
mean of those known, which is also what a scenario without a row reads, as does a row whose scenario is missing.

Shapes: B rows, S scenarios with a row, U scenarios of a batch, K of them with a row, P weights a scenario.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkb.batch import MISSING, Field
from pkb.embedding import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Here:
    """The scenarios of a batch: those with a row, and behind them, if there is one, the unknown one."""

    rows_K: Tensor  # their rows in the tables, ascending
    unknown: bool  # whether some of the batch have no row: U = K + 1
    which_B: Tensor  # of each row of the batch, its place among the U

    def sorted(self) -> tuple[Here, Tensor]:
        """The same with the batch's rows sorted by scenario, and the order, [B], that sorts them."""
        order_B = self.which_B.argsort(stable=True)
        return Here(rows_K=self.rows_K, unknown=self.unknown, which_B=self.which_B[order_B]), order_B

    @cached_property
    def counts(self) -> list[int]:
        """Rows of the batch of each of the U."""
        counts: list[int] = torch.bincount(self.which_B, minlength=len(self.rows_K) + self.unknown).tolist()
        return counts


class ScenarioTable(EmbeddingTable):
    """A row of P weights for each scenario; Adam moves the rows that a minibatch touched, at the dense weights' rate.

    The first scenarios start at `start` [P], give or take `scale`; all alike, so that their mean is a network too.
    `first_moment` and `second_moment` [S, P] and `steps` [S] are the rows' state of Adam: a row takes a step when its
    scenario is in a minibatch, and corrects its moments by its own number of steps.
    """

    of_ids: ClassVar[bool] = False
    of_weights: ClassVar[bool] = True
    beta1: ClassVar[float] = 0.9
    beta2: ClassVar[float] = 0.999
    epsilon: ClassVar[float] = 1e-8

    def __init__(self, start_P: Tensor, *, scale: float = 0.0) -> None:
        width = len(start_P)
        super().__init__([Field(name="scenario", role="scenario")], width, scale=scale)
        self.start_P: Tensor
        self.first_moment: Tensor
        self.steps: Tensor
        self.ids: Tensor
        self.last_seen: Tensor
        self.register_buffer("start_P", start_P.detach().clone())
        moments = width if self.of_weights else 0
        self.register_buffer("first_moment", torch.empty(0, moments))
        self.register_buffer("second_moment", torch.empty(0, moments))
        self.register_buffer("steps", torch.empty(0))
        self.register_buffer("ids", torch.empty(0, dtype=torch.int32))  # whose row it is
        self.register_buffer("last_seen", torch.empty(0, dtype=torch.int32))  # a period
        self.now = 0

    def grow(self, size: int, generator: torch.Generator, known: int = 0) -> None:
        """Do nothing: which ids are scenarios says `meet`."""

    @torch.no_grad()
    def meet(self, ids: Tensor, generator: torch.Generator) -> None:
        """Give a row to each of these scenarios that has none; the missing one gets none."""
        fresh = ids[~torch.isin(ids, self.ids.to(ids.device)) & (ids != MISSING)].to(self.ids)
        if not len(fresh):
            return
        rows = self._mean().expand(len(fresh), -1)
        if not self.size and self.scale:
            noise = torch.randn(rows.shape, generator=generator) * self.scale
            rows = rows + noise.to(rows.device)
        moments = self.first_moment.new_zeros(len(fresh), self.first_moment.shape[1])
        self._take(
            weight=torch.cat([self.weight.data, rows]),
            first_moment=torch.cat([self.first_moment, moments]),
            second_moment=torch.cat([self.second_moment, moments]),
            steps=torch.cat([self.steps, self.steps.new_zeros(len(fresh))]),
            ids=torch.cat([self.ids, fresh]),
            last_seen=torch.cat([self.last_seen, torch.full_like(fresh, self.now)]),
        )

    @torch.no_grad()
    def renew(self, ids: Tensor, *, now: int, keep: int, generator: torch.Generator) -> None:
        """Take the rows of scenarios unseen for `keep` periods; those that come, `meet` gives one."""
        self.now = now
        self.last_seen[torch.isin(self.ids, ids.to(self.ids))] = now
        staying = self.last_seen > now - keep
        self._take(**{name: value[staying] for name, value in self.rows_in_use().items()})

    @property
    def end_of_ids(self) -> int:
        return int(self.ids.max()) + 1 if self.size else 0

    def rows_of(self, ids: Tensor) -> Tensor:
        """The row of each id, any shape; `size` for one that has none."""
        if not self.size:
            return torch.zeros_like(ids, dtype=torch.long)
        ascending, row = self.ids.sort()
        place = torch.searchsorted(ascending, ids.to(ascending.dtype).contiguous()).clamp_(max=self.size - 1)
        return torch.where(ascending[place] == ids, row[place], self.size)

    def here(self, ids_B: Tensor) -> Here:
        """Which scenarios a batch has; the same for all tables of a model, which met the same ones."""
        if torch.compiler.is_exporting():  # a program has one number of scenarios, whatever its rows are of
            return Here(rows_K=torch.arange(self.size), unknown=True, which_B=self.rows_of(ids_B))
        rows_U, which_B = self.rows_of(ids_B).unique(return_inverse=True)
        unknown = bool(len(rows_U)) and int(rows_U[-1]) == self.size
        return Here(rows_K=rows_U[:-1] if unknown else rows_U, unknown=unknown, which_B=which_B)

    def of(self, here: Here) -> Tensor:
        """The weights of a batch's scenarios, [U, P]; no step moves what the unknown one reads."""
        mean_1P = self._mean().unsqueeze(0)
        if not len(here.rows_K):
            return mean_1P
        known_KP = self.rows(here.rows_K)
        return torch.cat([known_KP, mean_1P]) if here.unknown else known_KP

    def _mean(self) -> Tensor:
        """The mean of all rows, [P]; before any, where the first ones start."""
        return self.weight.detach().mean(dim=0) if self.size else self.start_P

    @torch.no_grad()
    def apply_gradient(self, rows: Tensor, values: Tensor, learning_rate: float) -> None:
        """Take a step of Adam on these rows alone (Kingma and Ba 2015, algorithm 1); `values` may be scaled at will."""
        steps = self.steps[rows] + 1
        first = self.first_moment[rows].lerp_(values, 1 - self.beta1)
        second = self.second_moment[rows].mul_(self.beta2).addcmul_(values, values, value=1 - self.beta2)
        self.steps[rows], self.first_moment[rows], self.second_moment[rows] = steps, first, second
        root = second.sqrt_().div_((1 - self.beta2**steps).sqrt().unsqueeze(1)).add_(self.epsilon)
        self.weight[rows] -= first.mul_((learning_rate / (1 - self.beta1**steps)).unsqueeze(1)).div_(root)

    @property
    def row_bytes(self) -> int:
        return 4 * (self.width + 2 * self.first_moment.shape[1] + 3)  # weights and moments; steps, id, period

    def rows_in_use(self) -> dict[str, Tensor]:
        return {
            "weight": self.weight.data,
            "first_moment": self.first_moment,
            "second_moment": self.second_moment,
            "steps": self.steps,
            "ids": self.ids,
            "last_seen": self.last_seen,
        }

    def restore(self, rows: dict[str, Tensor]) -> None:
        self._take(**{name: value.to(self.weight.device, copy=True) for name, value in rows.items()})

    def _take(self, *, weight: Tensor, **state: Tensor) -> None:
        self.size, self.weight = len(weight), nn.Parameter(weight)
        for name, value in state.items():
            setattr(self, name, value)

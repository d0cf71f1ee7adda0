"""The passes over rows that training makes: their order, and how many a budget of row updates leaves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pkb.seeding import generator


class Passes:
    """Draws the order of each pass of one contender, and counts the rows that it takes in a period."""

    def __init__(self, seed: int, budget: int) -> None:
        """`budget` is the number of row updates in a period; 0 is no bound."""
        self.seed, self.budget = seed, budget
        self._period, self._taken = -1, 0

    def of_lesson(self, rows: int, epochs: int, *, period: int) -> Iterator[Tensor]:
        """Give the rows of each pass of a lesson; under a budget passes go on until all of it is used up."""
        return self._passes(rows, None if self.budget else epochs, "learn", period, now=period, most=self.budget)

    def of_compression(
        self, rows: int, epochs: int, stages: Sequence[str], *, old: int, now: int
    ) -> Iterator[tuple[str, Tensor]]:
        """Give stage and rows of each pass; half of a budget is compression's, in equal shares for its stages."""
        for number, stage in enumerate(stages, start=1):
            most = self.budget // 2 * number // len(stages)
            for order in self._passes(rows, epochs, stage, old, now=now, most=most):
                yield stage, order

    def _passes(self, rows: int, epochs: int | None, stage: str, of: int, *, now: int, most: int) -> Iterator[Tensor]:
        """Seed, stage, period and pass decide the order, so that every arm sees the same one."""
        if self._period != now:
            self._period, self._taken = now, 0
        for epoch in itertools.count():
            left = most - self._taken
            if epoch == epochs or (self.budget and left <= 0):
                return
            order = torch.randperm(rows, generator=generator(self.seed, "order", stage, of, epoch))
            order = order[:left] if self.budget else order
            self._taken += len(order)
            yield order

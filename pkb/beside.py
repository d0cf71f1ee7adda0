"""Two bases as one: what the second knows stands beside what the first does, and may be plugged in later.

KEEP (section 4.3) adds knowledge that becomes available later by another plug beside the first. Both take in the same
old rows, each in its own stages; in one that both have, in the same steps. Nothing of either depends on the other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Schema
from pkb.knowledge import Knowledge, KnowledgeBase
from pkb.plug import LATER


class Beside(KnowledgeBase):
    """The first base, and a second one, the names of whose parts, losses and figures begin with `beside_`."""

    def __init__(self, schema: Schema, first: KnowledgeBase, second: KnowledgeBase) -> None:
        later = [replace(part, name=LATER + part.name, factors=_later(part.factors)) for part in second.parts]
        super().__init__(schema, [*first.parts, *later], tuple(dict.fromkeys([*first.labels, *second.labels])))
        self.first, self.second = first, second
        self.stages = tuple(dict.fromkeys([*first.stages, *second.stages]))  # type: ignore[misc]
        self.estimators = (*first.estimators, *(LATER + name for name in second.estimators))  # type: ignore[misc]

    def grow(self, size: int, generator: torch.Generator) -> None:
        for base in (self.first, self.second):
            base.grow(size, generator)

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = {}
        for begins, base in (("", self.first), (LATER, self.second)):
            if stage in base.stages:
                losses |= {begins + name: loss for name, loss in base.compression_losses(batch, stage).items()}
        totals = [losses.pop(name) for name in ("total", LATER + "total") if name in losses]
        return {"total": torch.stack(totals).sum(), **losses}

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [group for base in (self.first, self.second) for group in base.parameter_groups(learning_rate)]

    def _knowledge(self, batch: Batch) -> Knowledge:
        later = self.second._knowledge(batch)
        return self.first._knowledge(batch) | {LATER + name: vectors for name, vectors in later.items()}

    def compression_only(self) -> list[nn.Module]:
        return [*self.first.compression_only(), *self.second.compression_only()]

    def health(self, batch: Batch) -> dict[str, float]:
        later = self.second.health(batch)
        return self.first.health(batch) | {LATER + name: value for name, value in later.items()}


def _later(factors: tuple[str, str] | None) -> tuple[str, str] | None:
    """Name the factors of a product as the second base's."""
    return factors and (LATER + factors[0], LATER + factors[1])

"""Distillation from the model as it was before the lesson."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Batch
from pkb.errors import SettingError
from pkb.parameters import nbytes
from pkb.space import Between
from simulator.policies.base import Learner, Lesson, Policy, Rows


class Distil(Policy):
    """Fine-tunes, held to what the model said before the lesson (learning without forgetting, Li and Hoiem 2016)."""

    adds_to_loss: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        # Of the cross entropy to the former model's probabilities, beside the labels'.
        weight: Annotated[float, Between(0.1, 10.0, log=True)] = 1.0

        def __post_init__(self) -> None:
            if self.weight < 0:
                raise SettingError(f"weight={self.weight}: must be at least 0")

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__(settings, seed)
        self.former_bytes = 0

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson:
        if learner.trained_through < 0:
            return Lesson(rows=rows(window))
        former = deepcopy(learner.model).eval()
        self.former_bytes = nbytes(former)

        def held(batch: Batch, logits: Tensor) -> Tensor:
            with torch.no_grad():
                target = torch.sigmoid(learner.logits(batch, former))
            loss: Tensor = self.settings.weight * binary_cross_entropy_with_logits(logits, target)
            return loss

        return Lesson(rows=rows(window), addition=held)

    def forget_model(self) -> None:
        self.former_bytes = 0

    def nbytes(self) -> int:
        return self.former_bytes

    def bytes_beside(self, model: int) -> int:
        return model

"""Distillation from the model as it was before the lesson."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.batch import Batch
from pkb.errors import SettingError
from simulator.policies.base import Policy, Rows
from simulator.train.steps import nbytes

if TYPE_CHECKING:
    from simulator.arms import Contender, Fit


class Distil(Policy):
    """Fine-tunes, held to what the model said before the lesson (learning without forgetting, Li and Hoiem 2016)."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        weight: float = 1.0  # of the cross entropy to the former model's probabilities, beside the labels'

        def __post_init__(self) -> None:
            if self.weight < 0:
                raise SettingError(f"policies.distil.weight={self.weight}: must be at least 0")

    def __init__(self, settings: Any, seed: int) -> None:
        super().__init__(settings, seed)
        self.teacher_bytes = 0

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        if arm.trained_through < 0:
            fit(rows(window))
            return
        former = deepcopy(arm.model).eval()
        self.teacher_bytes = nbytes(former)

        def held(batch: Batch, logits: Tensor) -> Tensor:
            with torch.no_grad():
                target = torch.sigmoid(arm.logits(batch, former))
            loss: Tensor = self.settings.weight * binary_cross_entropy_with_logits(logits, target)
            return loss

        fit(rows(window), held)

    def nbytes(self) -> int:
        return self.teacher_bytes

    def beside(self, model: int) -> int:
        return model

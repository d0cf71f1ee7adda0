"""DIN, deep interest network: behaviours count by how they meet the target (Zhou et al., KDD 2018).

interest = sum_h a(e_h, e_target) e_h,    a an MLP over [e_h, e_target, e_h - e_target, e_h * e_target]     (eq. 3)

The weights are not normalised, as in the paper: their sum says how strong the interest is.

Shapes: B rows, H history length, D embedding width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pkb.backbones.sequential import SequentialBackbone, SequentialSettings
from pkb.sequence import Interest, Past, Similarity, weighted_sum


class TargetAttention(Interest):
    """eq. 3; [B, D], zeros without behaviours."""

    def __init__(self, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.width = width
        self.similarity = Similarity(width, hidden)

    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        weights_BH = self.similarity(past.behaviours_BHD, past.target_BD) * past.present_BH
        return weighted_sum(weights_BH, past.behaviours_BHD), None


class DIN(SequentialBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        attention: tuple[int, ...] = (36,)  # hidden widths of the activation unit

    def new_interest(self, settings: Settings) -> TargetAttention:
        return TargetAttention(settings.width, settings.attention)

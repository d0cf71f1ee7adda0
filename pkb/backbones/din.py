"""DIN, deep interest network: behaviours count by how they meet the target (Zhou et al., KDD 2018).

interest = sum_h a(e_h, e_target) e_h,    a an MLP over [e_h, e_target, e_h - e_target, e_h * e_target]     (eq. 3)

The weights are not normalised, as in the paper: their sum says how strong the interest is.

Shapes: B rows, H history length, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

from pkb.backbones.sequential import SequentialBackbone, SequentialSettings
from pkb.sequence import TargetAttention


class DIN(SequentialBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        attention: tuple[int, ...] = (36,)  # hidden widths of the activation unit

    def new_interest(self, settings: Settings) -> TargetAttention:
        return TargetAttention(settings.width, settings.attention)

"""Blocks for behaviour histories.

A history is padded behind its last entry, and these blocks read it from front to back, so what a recurrent layer
says at the last entry never depends on the padding.

Shapes: B rows, H history length, D embedding width, S states or slots.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import MISSING
from pkb.embedding import EmbeddingTable
from pkb.layers import mlp


@dataclass(frozen=True, kw_only=True)
class Past:
    """One history of a batch, oldest behaviour first, and the value that the row asks about."""

    behaviours_BHD: Tensor  # zeros where nothing is
    present_BH: Tensor  # bool
    length_B: Tensor  # int64, entries up to the last one present
    target_BD: Tensor  # the row's own value of the field that the history holds


def read_past(table: EmbeddingTable, ids_BH: Tensor, column: int, target_BD: Tensor) -> Past:
    """Look a history up in the table of its field; one without columns gets one of padding."""
    if not ids_BH.shape[1]:
        ids_BH = functional.pad(ids_BH, (0, 1), value=MISSING)
    present = ids_BH != MISSING
    place = torch.arange(1, ids_BH.shape[1] + 1, device=ids_BH.device)
    return Past(
        behaviours_BHD=table.look_up(ids_BH, column),
        present_BH=present,
        length_B=(present * place).amax(dim=1),
        target_BD=target_BD,
    )


class Interest(nn.Module, ABC):
    """What one history says about the target, as a vector of `width` numbers."""

    width: int  # X

    @abstractmethod
    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        """[B, X]; and in training what is added to the loss (weighted, a mean over rows), None if nothing is."""


class Similarity(nn.Module):
    """DIN's activation unit: an MLP over [a, b, a - b, a * b]; a [B, S, D] against b [B, D] -> [B, S].

    (Zhou et al., KDD 2018, figure 2 and the authors' code; the paper's text leaves the difference out.)
    """

    def __init__(self, width: int, hidden: Sequence[int], *, bias: bool = True) -> None:
        """Without `bias` where a softmax follows, which takes no notice of what all scores have in common."""
        super().__init__()
        self.score = mlp(4 * width, hidden, 1)
        if not bias:
            self.score[-1].register_parameter("bias", None)

    def forward(self, a_BSD: Tensor, b_BD: Tensor) -> Tensor:
        b_BSD = b_BD.unsqueeze(1).expand_as(a_BSD)
        score_BS1: Tensor = self.score(torch.cat([a_BSD, b_BSD, a_BSD - b_BSD, a_BSD * b_BSD], dim=2))
        return score_BS1.squeeze(2)


class TargetAttention(Interest):
    """What behaviours add up to by how they meet the target (DIN, eq. 3); [B, D], zeros without behaviours."""

    def __init__(self, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.width = width
        self.similarity = Similarity(width, hidden)

    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        weights_BH = self.similarity(past.behaviours_BHD, past.target_BD) * past.present_BH
        return weighted_sum(weights_BH, past.behaviours_BHD), None


def masked_softmax(scores_BS: Tensor, present_BS: Tensor) -> Tensor:
    """Softmax over what is present; zeros in a row where nothing is."""
    weights: Tensor = scores_BS.masked_fill(~present_BS, torch.finfo(scores_BS.dtype).min).softmax(dim=1)
    return weights * present_BS


def weighted_sum(weights_BS: Tensor, values_BSD: Tensor) -> Tensor:
    """sum_s w_s v_s, [B, D]."""
    return torch.bmm(weights_BS.unsqueeze(1), values_BSD).squeeze(1)


def mean_behaviour(past: Past) -> Tensor:
    """[B, D], zeros without behaviours."""
    return past.behaviours_BHD.sum(dim=1) / past.present_BH.sum(dim=1, keepdim=True).clamp(min=1)


def state_after(states_BHD: Tensor, length_B: Tensor) -> Tensor:
    """The state after so many steps, [B, D]; zeros after none."""
    last_B11 = (length_B - 1).clamp(min=0)[:, None, None]
    last_BD = states_BHD.gather(1, last_B11.expand(-1, 1, states_BHD.shape[2])).squeeze(1)
    return last_BD * (length_B > 0).unsqueeze(1)

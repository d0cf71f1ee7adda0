"""DIEN, deep interest evolution network: interests are extracted, then evolve towards the target
(Zhou et al., AAAI 2019).

h_1 ... h_H = GRU(e_1 ... e_H)                                              interest extraction (eq. 2 to 5)
a_t = softmax_t(h_t W e_target)                                             attention (eq. 12)
h'_t = (1 - a_t u_t) * h'_{t-1} + a_t u_t * h~_t                            AUGRU (eq. 14 to 16); u_t, h~_t as in a GRU
L_aux = -mean_t [log sigmoid(h_t e_{t+1}) + log(1 - sigmoid(h_t e-_{t+1}))] auxiliary loss (eq. 6)

The negative e- of a step is a behaviour drawn from all of the batch, so popular ones are drawn more often. L_aux is
averaged over the steps of a row, then over rows, so that long histories do not outvote short ones.

Shapes: B rows, H history length, D embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from pkb.backbones.sequential import SequentialBackbone, SequentialSettings
from pkb.sequence import Interest, Past, masked_softmax


def next_behaviour_loss(states_BHD: Tensor, past: Past) -> Tensor:
    """L_aux, a scalar; 0 where no behaviour follows another."""
    behaviours, follows_BH = past.behaviours_BHD, past.present_BH[:, :-1] & past.present_BH[:, 1:]
    known_ND = behaviours[past.present_BH]
    if not len(known_ND):
        return states_BHD.new_zeros(())
    states, following = states_BHD[:, :-1], behaviours[:, 1:]
    drawn = torch.randint(len(known_ND), follows_BH.shape, device=known_ND.device)
    likelihood_BH = logsigmoid((states * following).sum(dim=2)) + logsigmoid(-(states * known_ND[drawn]).sum(dim=2))
    of_row = -(likelihood_BH * follows_BH).sum(dim=1) / follows_BH.sum(dim=1).clamp(min=1)
    return of_row.mean()


class AUGRU(nn.Module):
    """A GRU whose update gate is scaled by an attention score: a step of weight 0 leaves the state alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.of_input = nn.Linear(width, 3 * width)
        self.of_state = nn.Linear(width, 2 * width, bias=False)
        self.of_reset_state = nn.Linear(width, width, bias=False)

    def forward(self, inputs_BHD: Tensor, weights_BH: Tensor) -> Tensor:
        """The state behind the last step, [B, D]."""
        state_BD = torch.zeros_like(inputs_BHD[:, 0])
        steps = self.of_input(inputs_BHD).unbind(dim=1)  # all at once; only what needs the state is stepwise
        for input_B3D, weight_B1 in zip(steps, weights_BH.split(1, dim=1), strict=True):
            update, reset, candidate = input_B3D.chunk(3, dim=1)
            of_update, of_reset = self.of_state(state_BD).chunk(2, dim=1)
            reset = torch.sigmoid(reset + of_reset)
            candidate = torch.tanh(candidate + self.of_reset_state(reset * state_BD))
            state_BD = state_BD + weight_B1 * torch.sigmoid(update + of_update) * (candidate - state_BD)
        return state_BD


class EvolvingInterest(Interest):
    """[B, D], zeros without behaviours."""

    def __init__(self, width: int, auxiliary: float) -> None:
        super().__init__()
        self.width, self.auxiliary = width, auxiliary
        self.extraction = nn.GRU(width, width, batch_first=True)
        self.attention = nn.Linear(width, width, bias=False)  # W
        self.evolution = AUGRU(width)

    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        states_BHD, _ = self.extraction(past.behaviours_BHD)
        scores_BH = torch.bmm(states_BHD, self.attention(past.target_BD).unsqueeze(2)).squeeze(2)
        interest_BD = self.evolution(states_BHD, masked_softmax(scores_BH, past.present_BH))
        loss = self.auxiliary * next_behaviour_loss(states_BHD, past) if self.training and self.auxiliary else None
        return interest_BD, loss


class DIEN(SequentialBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        auxiliary: float = 1.0  # weight of L_aux; 0 leaves it out

    def new_interest(self, settings: Settings) -> EvolvingInterest:
        return EvolvingInterest(settings.width, settings.auxiliary)

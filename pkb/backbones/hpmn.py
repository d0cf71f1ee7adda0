"""HPMN, hierarchical periodic memory network: slots that remember at slower and slower paces (Ren et al., SIGIR 2019).

Layer l of stacked GRUs takes in every `period`-th state of the layer below; its latest state is memory slot m_l, so
slot l has seen 1 / period^(l-1) of the steps, each the summary of more behaviours. The target reads the slots:

q = W e_target;   `hops` times:   q = q U + sum_l softmax_l(a(m_l, q)) m_l

Slots are kept apart by a penalty on their covariance, |off-diagonal of (M - mean)(M - mean)' / width|_F^2, as in the
authors' code with the mean over rows.

Shapes: B rows, H history length, D embedding width, S slots, X width of the slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pkb.backbones.sequential import SequentialBackbone, SequentialSettings
from pkb.sequence import Interest, Past, Similarity, state_after, weighted_sum


def covariance_penalty(slots_BSX: Tensor) -> Tensor:
    """Mean over rows of the squared covariances of different slots."""
    centred = slots_BSX - slots_BSX.mean(dim=2, keepdim=True)
    covariance_BSS = torch.bmm(centred, centred.transpose(1, 2)) / slots_BSX.shape[2]
    off_diagonal = 1 - torch.eye(slots_BSX.shape[1], device=slots_BSX.device)
    return (covariance_BSS * off_diagonal).square().sum(dim=(1, 2)).mean()


class PeriodicMemory(Interest):
    """[B, X]; a row without behaviours has slots of zeros and answers with its mapped query alone."""

    def __init__(self, settings: HPMN.Settings) -> None:
        super().__init__()
        width, self.width = settings.width, settings.memory
        self.period, self.hops, self.penalty = settings.period, settings.hops, settings.penalty
        self.layers = nn.ModuleList(
            nn.GRU(width if slot == 0 else self.width, self.width, batch_first=True) for slot in range(settings.slots)
        )
        self.query = nn.Linear(width, self.width)
        self.carry = nn.Linear(self.width, self.width, bias=False)  # U
        self.similarity = Similarity(self.width, settings.attention, bias=False)

    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        slots_BSX = self._slots(past)
        query_BX = self.query(past.target_BD)
        for _ in range(self.hops):
            weights_BS = self.similarity(slots_BSX, query_BX).softmax(dim=1)
            query_BX = self.carry(query_BX) + weighted_sum(weights_BS, slots_BSX)
        return query_BX, self.penalty * covariance_penalty(slots_BSX) if self.training else None

    def _slots(self, past: Past) -> Tensor:
        """Each layer's state after the behaviours it has seen; zeros for one that has seen none, [B, S, X]."""
        states_BHX, length_B, slots = past.behaviours_BHD, past.length_B, []
        for layer in self.layers:
            states_BHX, _ = layer(states_BHX)
            slots.append(state_after(states_BHX, length_B))
            if states_BHX.shape[1] >= self.period:
                states_BHX = states_BHX[:, self.period - 1 :: self.period]
            length_B = length_B // self.period
        return torch.stack(slots, dim=1)


class HPMN(SequentialBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        slots: int = 3  # stacked layers, a memory slot each
        memory: int = 32  # width of a slot
        period: int = 2  # a layer takes in every so-manieth state of the one below
        hops: int = 3  # times that the target reads the memory
        attention: tuple[int, ...] = (80, 40)  # hidden widths of a
        penalty: float = 1e-5  # weight of the covariance penalty

    def new_interest(self, settings: Settings) -> PeriodicMemory:
        return PeriodicMemory(settings)

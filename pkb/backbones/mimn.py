"""MIMN, multi-channel user interest memory network: a neural Turing machine that reads the history
(Pi et al., KDD 2019).

Step t, with memory M [S slots], controller c and write weights g summed so far:

c   = GRU([e_t, last read], c)                      keys, sharpness, erase and add vectors are linear in c
w   = softmax_s(beta cos(key, M_s))                 addressing, for reading and for writing (eq. 2, 3)
w_W = w_W * softmax(W g)                            rebalancing: a slot that was written often yields (eq. 7, 8)
M_s = (1 - w_W,s erase) * M_s + w_W,s add           writing (eq. 5)
C_s = GRU([M_s, e_t], C_s)                          the channel of the slot that is read most (eq. 10)

and a penalty on the variance over slots of the sum of w_W (eq. 9). As in the authors' code, beta is
2 (softplus + 1). The interest is what a further read for the target finds in M, beside DIN's attention of the
target over the channels C. The memory's first content is learnt; it is all that a row without behaviours reads.

Shapes: B rows, H history length, D embedding width, S slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.sequential import SequentialBackbone, SequentialSettings
from pkb.sequence import Interest, Past, Similarity, weighted_sum


@dataclass(kw_only=True)
class Memory:
    """What is carried from step to step."""

    slots_BSD: Tensor
    channels_BSD: Tensor
    control_BD: Tensor
    read_BD: Tensor
    written_BS: Tensor  # write weights summed so far


class ChannelMemory(Interest):
    """[B, 2 D]: read from the slots, attention over the channels."""

    def __init__(self, settings: MIMN.Settings) -> None:
        super().__init__()
        width = settings.width
        self.width, self.penalty = 2 * width, settings.penalty
        self.first_slots_SD = nn.Parameter(torch.randn(settings.slots, width) * width**-0.5)
        self.controller = nn.GRUCell(2 * width, width)
        self.read_head = nn.Linear(width, width + 1)  # sharpness, key
        self.write_head = nn.Linear(width, 3 * width + 1)  # sharpness, key, erase, add
        self.rebalance = nn.Linear(settings.slots, settings.slots, bias=False)
        self.induction = nn.GRUCell(2 * width, width)
        self.similarity = Similarity(width, settings.attention)

    def forward(self, past: Past) -> tuple[Tensor, Tensor | None]:
        memory = self._empty(past.target_BD)
        for behaviour_BD, present_B1 in zip(
            past.behaviours_BHD.unbind(dim=1), past.present_BH.split(1, dim=1), strict=True
        ):
            memory = self._step(memory, behaviour_BD, present_B1)
        _, found_BD, _ = self._read(memory, past.target_BD)
        weights_BS = self.similarity(memory.channels_BSD, past.target_BD)
        interest = torch.cat([found_BD, weighted_sum(weights_BS, memory.channels_BSD)], dim=1)
        if not self.training:
            return interest, None
        return interest, self.penalty * memory.written_BS.var(dim=1, correction=0).mean()

    def _empty(self, like_BD: Tensor) -> Memory:
        slots_BSD = self.first_slots_SD.expand(like_BD.shape[0], -1, -1)
        zeros_BD = torch.zeros_like(like_BD)
        return Memory(
            slots_BSD=slots_BSD,
            channels_BSD=torch.zeros_like(slots_BSD),
            control_BD=zeros_BD,
            read_BD=zeros_BD,
            written_BS=zeros_BD.new_zeros(slots_BSD.shape[:2]),
        )

    def _step(self, memory: Memory, behaviour_BD: Tensor, present_B1: Tensor) -> Memory:
        """Take in one behaviour; a row that has none here stays as it is."""
        control_BD, read_BD, read_BS = self._read(memory, behaviour_BD)
        heads = self.write_head(control_BD)
        key_BD, erase_BD, add_BD = heads[:, 1:].chunk(3, dim=1)
        write_BS = addressed(heads[:, :1], key_BD, memory.slots_BSD)
        write_BS = write_BS * self.rebalance(memory.written_BS).softmax(dim=1) * present_B1
        write_BS1 = write_BS.unsqueeze(2)
        kept_BSD = memory.slots_BSD * (1 - write_BS1 * torch.sigmoid(erase_BD).unsqueeze(1))
        slots_BSD = kept_BSD + write_BS1 * torch.tanh(add_BD).unsqueeze(1)
        most_BS = functional.one_hot(read_BS.argmax(dim=1), read_BS.shape[1]) * present_B1
        return Memory(
            slots_BSD=slots_BSD,
            channels_BSD=self._induced(memory.channels_BSD, slots_BSD, behaviour_BD, most_BS),
            control_BD=torch.where(present_B1, control_BD, memory.control_BD),
            read_BD=torch.where(present_B1, read_BD, memory.read_BD),
            written_BS=memory.written_BS + write_BS,
        )

    def _read(self, memory: Memory, question_BD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The controller's new state, what it reads, and the slots' weights in that."""
        control_BD = self.controller(torch.cat([question_BD, memory.read_BD], dim=1), memory.control_BD)
        head = self.read_head(control_BD)
        weights_BS = addressed(head[:, :1], head[:, 1:], memory.slots_BSD)
        return control_BD, weighted_sum(weights_BS, memory.slots_BSD), weights_BS

    def _induced(self, channels_BSD: Tensor, slots_BSD: Tensor, behaviour_BD: Tensor, chosen_BS: Tensor) -> Tensor:
        """The channels, of which the chosen one (at most one a row) takes a step."""
        weights_BS = chosen_BS.to(slots_BSD.dtype)
        before_BD, slot_BD = weighted_sum(weights_BS, channels_BSD), weighted_sum(weights_BS, slots_BSD)
        after_BD = self.induction(torch.cat([slot_BD, behaviour_BD], dim=1), before_BD)
        return torch.where(chosen_BS.bool().unsqueeze(2), after_BD.unsqueeze(1), channels_BSD)


def addressed(sharpness_B1: Tensor, key_BD: Tensor, slots_BSD: Tensor) -> Tensor:
    """softmax_s(beta cos(tanh(key), M_s)), [B, S]."""
    beta_B1 = 2 * (functional.softplus(sharpness_B1) + 1)
    likeness_BS = functional.cosine_similarity(torch.tanh(key_BD).unsqueeze(1), slots_BSD, dim=2)
    return (beta_B1 * likeness_BS).softmax(dim=1)


class MIMN(SequentialBackbone):
    @dataclass(frozen=True, kw_only=True)
    class Settings(SequentialSettings):
        slots: int = 4
        attention: tuple[int, ...] = (36,)  # hidden widths of the attention over the channels
        penalty: float = 1e-3  # weight of the variance of the slots' use

    def new_interest(self, settings: Settings) -> ChannelMemory:
        return ChannelMemory(settings)

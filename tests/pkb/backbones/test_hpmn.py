from __future__ import annotations

import torch

from pkb.backbones.hpmn import HPMN, PeriodicMemory, covariance_penalty
from tests.pkb.backbones.pasts import make_past


def memory() -> PeriodicMemory:
    torch.manual_seed(0)
    return PeriodicMemory(HPMN.Settings(width=4, memory=5, attention=(6,)))


def test_a_layer_takes_in_every_second_state_of_the_one_below() -> None:
    model, past = memory(), make_past([6, 5, 1])
    slots = model._slots(past)
    for row, length in enumerate(past.length_B.tolist()):
        states = past.behaviours_BHD[row : row + 1, :length]
        for slot, layer in enumerate(model.layers):
            states, last = layer(states) if states.shape[1] else (states, torch.zeros(1, 1, 5))
            torch.testing.assert_close(slots[row, slot], last[0, 0])
            states = states[:, 1::2]


def test_the_penalty_is_the_squared_covariance_of_different_slots() -> None:
    slots = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0))
    covariances = [torch.cov(row, correction=0)[0, 1] for row in slots]
    torch.testing.assert_close(covariance_penalty(slots), 2 * torch.stack(covariances).square().mean())


def test_one_slot_has_nothing_to_be_kept_apart_from() -> None:
    assert covariance_penalty(torch.randn(3, 1, 5)) == 0

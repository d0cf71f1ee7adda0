from __future__ import annotations

import torch

from pkb.backbones.mimn import MIMN, ChannelMemory, addressed
from tests.pkb.backbones.pasts import make_past


def memory() -> ChannelMemory:
    torch.manual_seed(0)
    return ChannelMemory(MIMN.Settings(width=4, slots=3, attention=(6,)))


def test_the_slot_that_points_where_the_key_points_is_read_most() -> None:
    slots = torch.eye(3).unsqueeze(0)
    weights = addressed(torch.tensor([[5.0]]), torch.tensor([[0.0, 2.0, 0.0]]), slots)
    torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
    assert weights.argmax() == 1
    assert weights[0, 1] > 0.9


def test_an_absent_behaviour_changes_nothing_in_memory() -> None:
    model, past = memory(), make_past([3])
    before = model._step(model._empty(past.target_BD), past.behaviours_BHD[:, 0], torch.ones(1, 1).bool())
    after = model._step(before, torch.randn(1, 4), torch.zeros(1, 1).bool())
    for name, value in vars(before).items():
        torch.testing.assert_close(getattr(after, name), value)


def test_each_behaviour_moves_one_channel() -> None:
    model, past = memory(), make_past([3, 3])
    start = model._empty(past.target_BD)
    after = model._step(start, past.behaviours_BHD[:, 0], torch.ones(2, 1).bool())
    moved = (after.channels_BSD != start.channels_BSD).any(dim=2)
    assert moved.sum(dim=1).tolist() == [1, 1]


def test_no_slot_is_written_by_more_than_one_behaviour_may() -> None:
    model, past = memory(), make_past([6, 2])
    state = model._empty(past.target_BD)
    for behaviours, present in zip(past.behaviours_BHD.unbind(1), past.present_BH.split(1, dim=1), strict=True):
        state = model._step(state, behaviours, present)
    assert (state.written_BS > 0).all()
    assert (state.written_BS.sum(dim=1) <= past.length_B).all()


def test_the_penalty_is_the_variance_of_the_slots_use() -> None:
    model, past = memory().train(), make_past([4])
    state = model._empty(past.target_BD)
    for behaviours, present in zip(past.behaviours_BHD.unbind(1), past.present_BH.split(1, dim=1), strict=True):
        state = model._step(state, behaviours, present)
    written = state.written_BS[0]
    torch.testing.assert_close(model(past)[1], 1e-3 * (written - written.mean()).square().mean())

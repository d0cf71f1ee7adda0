from __future__ import annotations

from dataclasses import replace

import torch

from pkb.sequence import TargetAttention
from tests.pkb.backbones.pasts import make_past


def test_the_interest_is_the_sum_of_behaviours_weighted_by_their_likeness_to_the_target() -> None:
    attention, past = TargetAttention(4, (5,)), make_past([3, 1])
    expected = torch.zeros(4)
    for behaviour, target in zip(past.behaviours_BHD[0, :3], past.target_BD[0].expand(3, -1), strict=True):
        pair = torch.cat([behaviour, target, behaviour - target, behaviour * target])
        expected = expected + attention.similarity.score(pair) * behaviour
    torch.testing.assert_close(attention(past)[0][0], expected)


def test_weights_are_not_normalised_so_twice_the_behaviours_are_twice_the_interest() -> None:
    attention, once = TargetAttention(4, (5,)), make_past([3], columns=3)
    twice = replace(once, behaviours_BHD=once.behaviours_BHD.repeat(1, 2, 1), present_BH=once.present_BH.repeat(1, 2))
    torch.testing.assert_close(attention(twice)[0], 2 * attention(once)[0])


def test_no_behaviours_are_no_interest() -> None:
    interest, _ = TargetAttention(4, (5,))(make_past([0]))
    assert interest.tolist() == [[0.0] * 4]

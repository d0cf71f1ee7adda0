from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import logsigmoid

from pkb.backbones.dien import AUGRU, EvolvingInterest, next_behaviour_loss
from tests.pkb.backbones.pasts import make_past


def test_a_step_of_weight_zero_leaves_the_state_alone() -> None:
    cell, inputs = AUGRU(4), torch.randn(2, 3, 4)
    weights = torch.tensor([[0.3, 0.7, 0.0], [0.3, 0.7, 0.0]])
    torch.testing.assert_close(cell(inputs, weights), cell(inputs[:, :2], weights[:, :2]))
    assert cell(inputs, torch.zeros(2, 3)).abs().sum() == 0


def test_augru_follows_its_equations() -> None:
    cell, inputs, weights = AUGRU(4), torch.randn(1, 2, 4), torch.rand(1, 2)
    state = torch.zeros(4)
    to_update, to_reset, to_candidate = cell.of_input.weight.chunk(3)
    of_update, of_reset = cell.of_state.weight.chunk(2)
    bias_update, bias_reset, bias_candidate = cell.of_input.bias.chunk(3)
    for entry, attention in zip(inputs[0], weights[0], strict=True):
        u = torch.sigmoid(to_update @ entry + bias_update + of_update @ state)
        r = torch.sigmoid(to_reset @ entry + bias_reset + of_reset @ state)
        candidate = torch.tanh(to_candidate @ entry + bias_candidate + cell.of_reset_state.weight @ (r * state))
        state = (1 - attention * u) * state + attention * u * candidate
    torch.testing.assert_close(cell(inputs, weights)[0], state)


def test_the_auxiliary_loss_is_the_cross_entropy_of_the_next_behaviour_and_a_drawn_one() -> None:
    past, states = make_past([3, 1, 0]), torch.randn(3, 6, 4)
    alike = past.behaviours_BHD[0, 0] * past.present_BH.unsqueeze(2)  # whatever is drawn is this
    loss = next_behaviour_loss(states, replace(past, behaviours_BHD=alike))
    scores = states[0, :2] @ past.behaviours_BHD[0, 0]
    expected = -(logsigmoid(scores) + logsigmoid(-scores)).mean() / 3  # the two other rows have nothing to foretell
    torch.testing.assert_close(loss, expected)


def test_without_behaviours_there_is_no_auxiliary_loss() -> None:
    assert next_behaviour_loss(torch.randn(2, 6, 4), make_past([0, 0])) == 0


def test_no_behaviours_are_no_interest() -> None:
    interest, _ = EvolvingInterest(4, auxiliary=1.0).eval()(make_past([0, 3]))
    assert interest[0].abs().sum() == 0
    assert interest[1].abs().sum() > 0


def test_a_weight_of_zero_leaves_the_auxiliary_loss_out() -> None:
    assert EvolvingInterest(4, auxiliary=0.0).train()(make_past([3]))[1] is None

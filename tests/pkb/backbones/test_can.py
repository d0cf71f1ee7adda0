from __future__ import annotations

import torch

from pkb.backbones.can import CAN, small_networks
from pkb.sequence import mean_behaviour, read_past
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows
from tests.pkb.backbones.pasts import make_past


def test_each_row_has_a_network_of_its_own() -> None:
    inputs, weights = torch.randn(2, 3, 4), torch.randn(2, 4 * 3 + 3 * 2)
    outputs = small_networks(inputs, weights, (3, 2))
    for row in range(2):
        first = torch.tanh(inputs[row] @ weights[row, :12].reshape(4, 3))
        torch.testing.assert_close(outputs[row], torch.cat([first, first @ weights[row, 12:].reshape(3, 2)], dim=1))


def test_the_co_action_sums_over_behaviours_and_keeps_powers_apart() -> None:
    torch.manual_seed(0)
    model, rows = CAN(SCHEMA, CAN.Settings()), make_rows(4)
    model.grow(IDS, torch.Generator().manual_seed(0))
    model.eval()
    weights = model.weights.look_up(rows.ids_BF[:, 1], 1)
    past = read_past(model.behaviours, rows.histories["items"], 1, weights)
    length = int(past.length_B[1])
    behaviours = past.behaviours_BHD[1:2, :length]
    expected = [small_networks(behaviours**power, weights[1:2], model.units)[0].sum(dim=0) for power in (1, 2, 3)]
    torch.testing.assert_close(model._co_action(past)[1], torch.cat(expected))
    assert model._co_action(past)[0].abs().sum() == 0  # no behaviours


def test_the_mean_behaviour_is_over_what_is_present() -> None:
    past = make_past([2, 0])
    torch.testing.assert_close(mean_behaviour(past)[0], past.behaviours_BHD[0, :2].mean(dim=0))
    assert mean_behaviour(past)[1].abs().sum() == 0

from __future__ import annotations

import torch

from pkb.backbones.dcnv2 import DCNv2, MatrixCross, MixtureCross
from tests.pkb.backbones.check_backbone import stir
from tests.pkb.backbones.lively import lively


def test_a_matrix_layer_multiplies_the_inputs_with_a_map_of_the_layer_below() -> None:
    layer = stir(MatrixCross(6)).double()
    x0, x = torch.randn(2, 4, 6).double()
    expected = torch.stack([x0[b] * (layer.weight.weight @ x[b] + layer.weight.bias) + x[b] for b in range(4)])
    torch.testing.assert_close(layer(x0, x), expected)


def test_a_mixture_layer_is_the_gated_sum_of_its_experts() -> None:
    layer = stir(MixtureCross(6, experts=3, rank=2)).double()
    x0, x = torch.randn(2, 4, 6).double()
    gates = torch.softmax(x @ layer.gate.weight.T + layer.gate.bias, dim=1)
    expected = x
    for expert, core in enumerate(layer.core_ERR):
        down, up = layer.down.weight[2 * expert : 2 * expert + 2], layer.up.weight[:, 2 * expert : 2 * expert + 2]
        low = torch.tanh(torch.tanh(x @ down.T) @ core.T)
        expected = expected + gates[:, expert, None] * x0 * (low @ up.T + layer.up.bias)
    torch.testing.assert_close(layer(x0, x), expected)


def test_a_rank_makes_every_cross_layer_a_mixture() -> None:
    model = lively(DCNv2, rank=4, experts=2, layers=2)
    assert [type(layer) for layer in model.cross] == [MixtureCross, MixtureCross]
    assert [type(layer) for layer in lively(DCNv2, layers=1).cross] == [MatrixCross]

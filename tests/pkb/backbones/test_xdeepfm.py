from __future__ import annotations

import torch
from torch import nn

from pkb.backbones.xdeepfm import CIN, XDeepFM
from tests.pkb.backbones.check_backbone import make_rows, stir
from tests.pkb.backbones.lively import lively


def test_each_feature_map_is_a_weighted_sum_of_products_of_vectors() -> None:
    cin = stir(CIN(4, (3, 2))).double()
    cin.block = 2  # the last block has one row
    x0 = torch.randn(5, 4, 5).double()
    x, pooled = x0, []
    for layer in cin.layers:
        assert isinstance(layer, nn.Linear)
        weight = layer.weight.view(-1, x.shape[1], 4)  # W^{k,h}_{ij}
        x = torch.einsum("hij,bid,bjd->bhd", weight, x, x0)
        pooled.append(x.sum(dim=2))
    torch.testing.assert_close(cin(x0), torch.cat(pooled, dim=1) @ cin.last.weight[0])


def test_the_logit_is_the_sum_of_linear_compressed_and_deep_part() -> None:
    model, rows = lively(XDeepFM, width=5, hidden=(7,)), make_rows()
    vectors = model.table.weight[rows.ids_BF.long()]
    linear, v = vectors[..., 0].sum(dim=1), vectors[..., 1:]
    torch.testing.assert_close(model(rows), linear + model.cin(v) + model.tower(v.flatten(1)))

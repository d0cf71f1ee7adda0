from __future__ import annotations

import torch

from pkb.backbones.dcn import DCN, Cross
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.backbones.lively import lively


def test_the_logit_weighs_the_last_cross_and_the_last_hidden_layer() -> None:
    model, rows = lively(DCN, width=5, layers=2, hidden=(7,)), make_rows()
    x0 = x = model.table.weight[rows.ids_BF.long()].flatten(1)
    for layer in model.cross:
        assert isinstance(layer, Cross)
        outer = x0.unsqueeze(2) * x.unsqueeze(1)  # x_0 x_l^T
        x = outer @ layer.weight.weight[0] + layer.bias + x
    hidden = model.tower.layers[0](x0)
    weights = torch.cat([model.last.weight[0], model.tower.last.weight[0]])
    torch.testing.assert_close(model(rows), torch.cat([x, hidden], dim=1) @ weights + model.tower.last.bias)

from __future__ import annotations

import torch

from pkb.backbones.lr import LR
from pkb.plug import Plugged, Sockets
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.backbones.lively import lively


def test_the_logit_is_the_sum_of_the_values_weights() -> None:
    model, rows = lively(LR), make_rows()
    torch.testing.assert_close(model(rows), model.bias + model.table.weight[rows.ids_BF.long()].sum(dim=(1, 2)))


def test_extra_fields_and_joined_columns_add_to_the_sum() -> None:
    model, rows = lively(LR, Sockets(fields=2, joined=3)), make_rows()
    extra, joined = torch.randn(32, 2, 1).double(), torch.randn(32, 4, 3).double()
    scores = model(rows, Plugged(fields_BKD=extra, joined_BFJ=joined))
    torch.testing.assert_close(scores, model(rows) + extra.sum(dim=(1, 2)) + joined.sum(dim=(1, 2)))


def test_the_logit_itself_is_gated_and_added_to() -> None:
    model, rows = lively(LR), make_rows()
    gate, added = torch.rand(32, 1).double(), torch.randn(32, 1).double()
    expected = model(rows) * gate.squeeze(1) + added.squeeze(1)
    torch.testing.assert_close(model(rows, Plugged(gate_BH=gate, added_BH=added)), expected)

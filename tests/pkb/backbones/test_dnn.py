from __future__ import annotations

import torch

from pkb.backbones.dnn import DNN
from pkb.plug import Plugged, Sockets
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.backbones.lively import lively


def test_the_tower_reads_the_embeddings_side_by_side() -> None:
    model, rows = lively(DNN, width=5, hidden=(7, 6)), make_rows()
    torch.testing.assert_close(model(rows), model.tower(model.table.weight[rows.ids_BF.long()].flatten(1)))


def test_knowledge_enters_at_the_layer_that_the_socket_names() -> None:
    rows, added = make_rows(), torch.randn(32, 6).double()
    model = lively(DNN, Sockets(layer=2), width=5, hidden=(7, 6))
    assert model.hidden_width == 6
    shift = added @ model.tower.last.weight[0]
    torch.testing.assert_close(model(rows, Plugged(added_BH=added)), model(rows) + shift)
    first = lively(DNN, Sockets(layer=1), width=5, hidden=(7, 6))
    assert first.hidden_width == 7
    assert lively(DNN, Sockets(layer=9), width=5, hidden=(7, 6)).hidden_width == 6

from __future__ import annotations

import pytest
import torch

from pkb.backbones.scenario.pepnet import PEPNet
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import SCHEMA
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met


def test_the_scenario_gates_the_embeddings_and_user_and_item_gate_every_layer() -> None:
    rows = in_scenarios(3)
    model = met(PEPNet, rows, hidden=(6, 5), gate=4)
    v = model.table.weight[rows.ids_BF.long()]
    x_s = model.scenarios.weight[(rows.ids_BF[:, COLUMN] - FIRST).long()]
    e = v.flatten(1)
    e = 2 * torch.sigmoid(model.domain_gate(torch.cat([x_s, e], dim=1))) * e
    prior = torch.cat([v[:, SCHEMA.user_column], v[:, SCHEMA.item_column], e], dim=1)
    h = e
    for layer, gate in zip(model.layers, model.gates, strict=True):
        h = 2 * torch.sigmoid(gate(prior)) * torch.relu(layer[0](h))
    torch.testing.assert_close(model(rows), model.last(h).squeeze(1))


def test_gates_do_not_teach_the_embeddings_that_they_weigh() -> None:
    """With layers that say nothing of the embeddings, the score depends on the category's by the gates alone."""
    rows = in_scenarios(3)
    model = met(PEPNet, rows, hidden=(6,), gate=4)
    model.layers[0][0].weight.data.zero_()
    model(rows).sum().backward()
    gradient = model.table.weight.grad.to_dense()
    read = [rows.ids_BF[:, column].long() for column in range(len(SCHEMA.fields))]
    elsewhere = torch.isin(read[2], torch.cat([read[SCHEMA.user_column], read[SCHEMA.item_column]]))
    assert not gradient[read[2][~elsewhere]].any(), "the category enters by gates alone"
    assert gradient[read[SCHEMA.user_column]].any(dim=1).double().mean() > 0.5, (
        "the user's embedding is a prior of the gates"
    )
    category = model.table.weight.data[read[2][~elsewhere]].clone()
    before = model(rows)
    model.table.weight.data[read[2][~elsewhere]] = category + 1
    assert not torch.equal(model(rows), before), "the gates read it all the same"


def test_a_gate_without_width_is_refused() -> None:
    with pytest.raises(SettingError, match="gate=0"):
        PEPNet.Settings(gate=0)

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from pkb.backbones import BACKBONES
from pkb.backbones.scenario.per_scenario import DNNPerScenario
from pkb.backbones.scenario.without import DNNWithoutScenario
from pkb.batch import Field
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import IDS, SCHEMA
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met, moved_to

NAMES = [name for name, model in BACKBONES.items() if ".scenario." in model.__module__]
NONE = replace(SCHEMA, fields=(*SCHEMA.fields[:COLUMN], Field(name="hour", role="context")))


@pytest.mark.parametrize("name", NAMES)
def test_a_log_without_a_scenario_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(SettingError, match=r"role scenario \(fields: user, item, category, hour\); name one"):
        BACKBONES[name](NONE, BACKBONES[name].Settings())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "dnn_without_scenario"])
def test_a_model_without_hidden_layers_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=r"hidden=\(\): must name"):
        BACKBONES[name].Settings(hidden=())


@pytest.mark.parametrize("name", NAMES)
def test_only_the_control_without_it_does_not_read_the_scenario(name: str) -> None:
    rows = in_scenarios(2)
    model = met(BACKBONES[name], rows, hidden=(8, 4))
    one, other = (model(moved_to(rows, FIRST + scenario)) for scenario in range(2))
    if name == "dnn_without_scenario":
        assert torch.equal(one, other)
    else:
        assert not torch.isclose(one, other).any()


def test_without_the_scenario_the_other_fields_are_read_as_a_dnn_reads_them() -> None:
    rows = in_scenarios(2)
    model = met(DNNWithoutScenario, rows, hidden=(8,))
    others = [column for column in range(len(SCHEMA.fields)) if column != COLUMN]
    v = model.table.weight[rows.ids_BF.long()][:, others]
    torch.testing.assert_close(model(rows), model.tower(v.flatten(1)))


def test_each_scenario_has_a_network_of_its_own() -> None:
    rows = in_scenarios(3)
    model = met(DNNPerScenario, rows, hidden=(6,))
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    expected = []
    for row, scenario in zip(x, rows.ids_BF[:, COLUMN] - FIRST, strict=True):
        (w1, b1), (w2, b2) = (
            (own[:-out].view(out, -1), own[-out:])
            for own, out in ((model.layers[0].own.weight[scenario], 6), (model.last.own.weight[scenario], 1))
        )
        expected.append(functional.linear(functional.relu(functional.linear(row, w1, b1)), w2, b2))
    torch.testing.assert_close(model(rows), torch.cat(expected))


def test_what_a_scenario_is_crossed_of_is_not_read_without_it() -> None:
    rows, crossed = in_scenarios(2), replace(SCHEMA, fields=(*SCHEMA.fields, Field(name="part", role="scenario")))
    rows = replace(rows, ids_BF=torch.cat([rows.ids_BF, rows.ids_BF[:, [COLUMN]]], dim=1))
    model = DNNWithoutScenario(crossed, DNNWithoutScenario.Settings(hidden=(8,)))
    model.grow(IDS, torch.Generator().manual_seed(0))
    others = replace(rows, ids_BF=rows.ids_BF.clone())
    others.ids_BF[:, COLUMN:] = FIRST + 5
    assert torch.equal(model.eval()(rows), model(others))

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pkb.backbones.scenario.base import OwnLinear
from pkb.backbones.scenario.ple import PLE
from pkb.errors import SettingError
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met


def own(layer: OwnLinear, scenario: int, x: torch.Tensor) -> torch.Tensor:
    row, out = layer.own.weight[scenario], layer.width_out
    return functional.linear(x, row[:-out].view(out, -1), row[-out:])


def test_each_level_mixes_the_scenarios_own_experts_with_the_shared_ones_by_two_gates() -> None:
    rows = in_scenarios(3)
    model = met(PLE, rows, hidden=(6, 5), experts=2, shared_experts=3, tower=4)
    expected = []
    for x, s in zip(model.table.weight[rows.ids_BF.long()].flatten(1), rows.ids_BF[:, COLUMN] - FIRST, strict=True):
        of_s = of_all = x
        for level, width in zip(model.levels, (6, 5), strict=True):
            experts = torch.relu(torch.cat([own(level.own, s, of_s), level.shared(of_all)])).view(5, width)
            gate = torch.softmax(own(level.own_gate, s, of_s), dim=0)
            if level.shared_gate is not None:
                of_all = torch.softmax(level.shared_gate(of_all), dim=0) @ experts
            of_s = gate @ experts
        expected.append(own(model.last, s, torch.relu(own(model.tower, s, of_s))))
    torch.testing.assert_close(model(rows), torch.cat(expected))
    assert [level.shared_gate is None for level in model.levels] == [False, True]


@pytest.mark.parametrize("name", ["experts", "shared_experts", "tower"])
def test_none_of_something_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=f"{name}=0: must be at least 1"):
        PLE.Settings(**{name: 0})  # type: ignore[arg-type]

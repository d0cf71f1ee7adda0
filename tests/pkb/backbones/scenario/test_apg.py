from __future__ import annotations

import pytest
import torch

from pkb.backbones.scenario.apg import APG, Folded
from pkb.errors import SettingError
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met


@pytest.mark.parametrize("inner", [0, 9])
@pytest.mark.parametrize("condition", ["group", "mix"])
def test_a_layers_core_and_bias_are_generated_for_each_row(condition: str, inner: int) -> None:
    rows = in_scenarios(3)
    model = met(APG, rows, hidden=(8, 5), rank=3, inner=inner, condition=condition)
    x_s = model.scenarios.weight[(rows.ids_BF[:, COLUMN] - FIRST).long()]
    h = model.table.weight[rows.ids_BF.long()].flatten(1)
    for layer in model.layers:
        u, v = (torch.linalg.multi_dot([*m.factors]) if inner else m.factors[0] for m in (layer.u, layer.v))
        made = layer.generator(x_s if condition == "group" else torch.cat([x_s, h], dim=1))
        weights = [u @ core.view(3, 3) @ v for core in made[:, :9]]
        h = torch.relu(torch.stack([w @ row for w, row in zip(weights, h, strict=True)]) + made[:, 9:])
    torch.testing.assert_close(model(rows), model.last(h).squeeze(1))


def test_a_folded_product_is_made_once_for_all_requests_and_again_when_its_factors_change() -> None:
    matrix = Folded(6, 3, 9)
    with torch.no_grad():
        product = matrix()
        assert matrix() is product
        matrix.factors[0].mul_(2)
        torch.testing.assert_close(matrix(), 2 * product)
    torch.testing.assert_close(matrix().detach(), 2 * product)
    matrix().sum().backward()
    assert all(factor.grad is not None for factor in matrix.factors)


def test_what_was_folded_does_not_outlive_weights_that_are_loaded() -> None:
    matrix, other = Folded(6, 3, 9), Folded(6, 3, 9)
    with torch.no_grad():
        matrix()
        matrix.load_state_dict(other.state_dict())
        torch.testing.assert_close(matrix(), other())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"condition": "x"}, "condition=x"),
        ({"rank": 0}, "rank=0"),
        ({"rank": 8, "inner": 4}, "inner=4: must be at least"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        APG.Settings(**settings)  # type: ignore[arg-type]

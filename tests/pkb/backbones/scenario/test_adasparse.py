from __future__ import annotations

import pytest
import torch

from pkb.backbones.base import ClickModel
from pkb.backbones.scenario.adasparse import AdaSparse
from pkb.errors import SettingError
from pkb.step import Optimiser, click_loss
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met


@pytest.mark.parametrize("form", ["binarisation", "scaling", "fusion"])
def test_a_neuron_is_scaled_by_what_scenario_and_layer_say_or_pruned(form: str) -> None:
    rows = in_scenarios(3)
    model = met(AdaSparse, rows, hidden=(8, 5), form=form, alpha=3.0, epsilon=0.4, beta=1.5)
    x_s = model.scenarios.weight[(rows.ids_BF[:, COLUMN] - FIRST).long()]
    h, zeros = model.table.weight[rows.ids_BF.long()].flatten(1), 0
    for layer, pruner in zip(model.layers, model.pruners, strict=True):
        h = layer(h)
        v = pruner(torch.cat([x_s, h], dim=1))
        factor = {
            "binarisation": (torch.sigmoid(3 * v) > 0.4).double(),
            "scaling": 1.5 * torch.sigmoid(v),
            "fusion": torch.where(1.5 * torch.sigmoid(3 * v) > 0.4, 1.5 * torch.sigmoid(3 * v), 0.0),
        }[form]
        zeros += int((factor == 0).sum())
        h = h * factor
    torch.testing.assert_close(model(rows), model.last(h).squeeze(1))
    assert (zeros > 0) == (form != "scaling")
    first, second = (float(share.detach()) for share in model.pruned(rows)[1])
    assert zeros == round((first * 8 + second * 5) * len(rows))


def test_the_sparsity_term_is_zero_within_the_bounds_and_drives_the_share_into_them() -> None:
    rows = in_scenarios(3)
    wide = met(AdaSparse, rows, hidden=(8, 5), fewest=0.0, most=1.0)
    assert wide.with_auxiliary(rows)[1] == 0
    model = met(AdaSparse, rows, hidden=(32,), fewest=0.5, most=0.6, sparsity=50.0, lively=False)
    assert model.pruned(rows)[1][0] < 0.2
    click = ClickModel(model).double().train()
    optimiser = Optimiser(click, learning_rate=0.03)
    for _ in range(60):
        optimiser.step(click_loss(click, rows), len(rows))
    assert 0.45 < model.pruned(rows)[1][0] < 0.65
    scaling = met(AdaSparse, rows, hidden=(8,), form="scaling")
    assert scaling.with_auxiliary(rows)[1] is None


def test_the_threshold_sharpens_with_every_step_whether_this_rank_had_rows_or_not() -> None:
    rows = in_scenarios(3)
    click = ClickModel(met(AdaSparse, rows, hidden=(8,), alpha=1.0, alpha_step=0.5)).double()
    optimiser = Optimiser(click)
    optimiser.step(click_loss(click, rows), len(rows))
    optimiser.step(None, 1)
    assert click.backbone.alpha == 2.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"form": "x"}, "form=x"),
        ({"fewest": 0.5, "most": 0.4}, "fewest=0.5, most=0.4: must rise"),
        ({"epsilon": 1.0}, "epsilon=1.0: must lie between"),
        ({"alpha": 0.0}, "alpha=0.0: must be at least"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        AdaSparse.Settings(**settings)  # type: ignore[arg-type]

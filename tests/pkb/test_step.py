from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pkb.backbones.base import ClickModel, FittedBackbone, make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.backbones.gbdt import GBDT
from pkb.backbones.logistic import Logistic
from pkb.batch import Batch
from pkb.step import click_loss
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows


def weighted(rows: Batch) -> tuple[Batch, Batch]:
    """Rows of weights 0, 1, 2, and each row as often as its weight says."""
    times = torch.arange(len(rows)) % 3
    return replace(rows, weight=times.float()), rows.select(torch.arange(len(rows)).repeat_interleave(times))


def small_model() -> ClickModel:
    model = make_click_model(DeepFM, SCHEMA)
    model.backbone.grow(IDS, torch.Generator().manual_seed(0))
    return model.eval()


def test_a_row_of_weight_two_is_lost_as_two_rows_and_one_of_none_not_at_all() -> None:
    rows, repeated = weighted(make_rows(60))
    model = small_model()
    once, often = (click_loss(model, batch) * len(batch) for batch in (rows, repeated))
    torch.testing.assert_close(once, often)


def test_without_weights_the_loss_is_the_plain_mean() -> None:
    rows = make_rows(60)
    model = small_model()
    assert torch.equal(click_loss(model, rows), click_loss(model, replace(rows, weight=torch.ones(60))))


@pytest.mark.parametrize("backbone", [Logistic, GBDT])
def test_a_fitted_backbone_predicts_more_clicks_where_clicks_weigh_more(backbone: type[FittedBackbone]) -> None:
    rows, mean = make_rows(900), []
    for weight in (None, 1 + 4 * rows.label):
        model = backbone(SCHEMA, backbone.Settings())
        model.fit(replace(rows, weight=weight))
        mean.append(float(model(make_rows(200, seed=1)).sigmoid().mean()))
    assert mean[1] > mean[0] + 0.02


def test_the_prior_is_that_of_the_weighted_rows() -> None:
    model = small_model()
    model.start_at(torch.tensor([1.0, 0, 0]), torch.tensor([3.0, 7, 0]))
    assert float(model.prior) == pytest.approx(torch.tensor(4 / 8).log().item())

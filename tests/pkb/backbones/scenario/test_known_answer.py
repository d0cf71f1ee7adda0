"""Two scenarios in which an item's effect has opposite signs: what tells them apart must see it."""

from __future__ import annotations

from functools import cache

import pytest
import torch

from pkb.backbones import BACKBONES
from pkb.backbones.base import ClickModel
from pkb.batch import Batch
from pkb.step import Optimiser, click_loss
from tests.pkb.backbones.check_backbone import IDS, SCHEMA
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios

NAMES = [n for n, model in BACKBONES.items() if ".scenario." in model.__module__ and n != "dnn_without_scenario"]


def opposite(number: int, seed: int) -> Batch:
    rows = in_scenarios(2, number, seed=seed)
    item = rows.ids_BF[:, SCHEMA.item_column] = FIRST + 10 + rows.ids_BF[:, SCHEMA.item_column] % 8
    rows.label.copy_((item + rows.ids_BF[:, COLUMN]) % 2)
    return rows


@cache
def loss_of(name: str) -> float:
    """Mean log loss on rows that were not learned."""
    torch.manual_seed(0)
    learned, held = opposite(512, 0), opposite(256, 1)
    model = ClickModel(BACKBONES[name](SCHEMA, BACKBONES[name].Settings(hidden=(16, 8))))
    model.backbone.grow(IDS, torch.Generator().manual_seed(0))
    model.backbone.meet(learned, torch.Generator().manual_seed(0))
    optimiser = Optimiser(model.train(), learning_rate=0.01, embedding_learning_rate=0.1)
    for _ in range(12):
        for batch in learned.minibatches(64):
            optimiser.step(click_loss(model, batch), len(batch))
    with torch.no_grad():
        return float(torch.nn.functional.binary_cross_entropy_with_logits(model.eval()(held), held.label))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_scenarios_beats_the_one_that_does_not_read_them(name: str) -> None:
    blind = loss_of("dnn_without_scenario")
    assert blind > 0.65, "nothing but the scenario tells the items' effects apart"
    assert loss_of(name) < 0.4

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from pkb.backbones.base import ClickModel
from pkb.backbones.scenario.star import EPSILON, FEWEST, STAR, PartitionedNorm, Statistics
from pkb.batch import Batch
from pkb.errors import SettingError
from pkb.step import Optimiser, click_loss
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met


def plain(model: Any, x: torch.Tensor, scenario: int) -> torch.Tensor:
    """A plain net with this scenario's weights."""
    for layer in (*model.layers, model.last):
        shared, own = layer.shared, layer.of_scenario.own.weight[scenario]
        out = len(shared.bias)
        x = functional.linear(x, shared.weight * own[:-out].view_as(shared.weight), shared.bias + own[-out:])
        x = x if layer is model.last else torch.relu(x)
    return x.squeeze(1)


@pytest.mark.parametrize("scenarios", [1, 3])
def test_weights_are_multiplied_and_biases_added_so_one_scenario_is_a_plain_net(scenarios: int) -> None:
    rows = in_scenarios(scenarios)
    model = met(STAR, rows, hidden=(6, 5), normalise=False, auxiliary=0)
    x, which = model.table.weight[rows.ids_BF.long()].flatten(1), rows.ids_BF[:, COLUMN] - FIRST
    expected = torch.stack([plain(model, x, s) for s in range(scenarios)])[which.long(), torch.arange(len(rows))]
    torch.testing.assert_close(model(rows), expected)


def test_new_it_is_the_shared_net_in_every_scenario() -> None:
    rows = in_scenarios(3)
    model = met(STAR, rows, lively=False, hidden=(6, 5), normalise=False, auxiliary=0)
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    for layer in model.layers:
        x = torch.relu(layer.shared(x))
    torch.testing.assert_close(model(rows), model.last.shared(x).squeeze(1))


def test_the_auxiliary_network_adds_its_logit() -> None:
    rows = in_scenarios(3)
    model = met(STAR, rows, hidden=(6,), normalise=False, auxiliary=4)
    v = model.table.weight[rows.ids_BF.long()].flatten(1)
    own = model.scenarios.weight[(rows.ids_BF[:, COLUMN] - FIRST).long()]
    added = model.auxiliary(torch.cat([own, v], dim=1)).squeeze(1)
    expected = model(rows) - added
    model.auxiliary = None
    torch.testing.assert_close(model(rows), expected)


def norm_of(*scenarios: int) -> PartitionedNorm:
    norm = PartitionedNorm(4)
    for table in (norm.statistics, norm.own):
        table.meet(torch.tensor(scenarios, dtype=torch.int32), torch.Generator())
    return norm


def test_rows_are_normalised_by_their_own_scenario_in_training_and_by_moving_statistics_where_these_are_few() -> None:
    norm, draw = norm_of(1, 2), torch.Generator().manual_seed(0)
    ids = torch.tensor([1] * 20 + [2] * (FEWEST - 1), dtype=torch.int32)
    x = torch.randn(len(ids), 4, generator=draw) * (1 + ids.unsqueeze(1)) + 5 * ids.unsqueeze(1)
    here, _ = norm.own.here(ids).sorted()
    normal = norm.train()(x, here)
    torch.testing.assert_close(normal[:20].mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normal[:20].var(dim=0, correction=0), torch.ones(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normal[20:], x[20:] / (1 + EPSILON) ** 0.5), "a new scenario's statistics"
    torch.testing.assert_close(norm.eval()(x, here), x / (1 + EPSILON) ** 0.5)


def observe(model: torch.nn.ModuleList, statistics: Statistics, *parts: tuple[torch.Tensor, torch.Tensor]) -> None:
    """One step whose rows come in these parts, as from several ranks."""
    rows, optimiser = sum(len(ids) for _, ids in parts), Optimiser(model)
    losses = []
    for x, ids in parts:
        here, order = statistics.here(ids).sorted()
        losses.append(statistics.observed(x[order], here) * (len(ids) / rows))
    total = torch.stack(losses).sum()
    assert total == 0
    optimiser.step(total, rows)


def test_moving_statistics_are_those_of_all_rows_so_far_of_the_scenario_whoever_saw_them() -> None:
    statistics, draw = Statistics(4), torch.Generator().manual_seed(0)
    statistics.meet(torch.tensor([1, 2], dtype=torch.int32), draw)
    model = torch.nn.ModuleList([torch.nn.Linear(1, 1), statistics])
    ids = torch.randint(1, 3, (3000,), generator=draw, dtype=torch.int32)
    x = torch.randn(3000, 4, generator=draw) * ids.unsqueeze(1) + 3 * ids.unsqueeze(1)
    observe(model, statistics, (x[:700], ids[:700]), (x[700:], ids[700:]))
    here, _ = statistics.here(torch.tensor([1, 2], dtype=torch.int32)).sorted()
    mean, variance = statistics.moving(here)
    for scenario in (1, 2):
        own = x[ids == scenario]
        torch.testing.assert_close(mean[scenario - 1], own.mean(dim=0), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(variance[scenario - 1], own.var(dim=0, correction=0), rtol=1e-3, atol=1e-3)
    for _ in range(400):
        observe(model, statistics, (x[:200] + 1, ids[:200]))
    late = x[:200][ids[:200] == 1] + 1
    torch.testing.assert_close(statistics.moving(here)[0][0], late.mean(dim=0), rtol=0.03, atol=0.03)


def test_after_training_a_score_is_what_training_saw() -> None:
    rows = Batch(**{**vars(in_scenarios(2, 64)), "histories": {}})
    model = met(STAR, rows, lively=False, hidden=(8,)).train()
    click = ClickModel(model).double()
    optimiser = Optimiser(click, learning_rate=0.0, embedding_learning_rate=0.0)
    model.table.new_value_rate = 0.0
    for _ in range(3):
        optimiser.step(click_loss(click, rows), len(rows))
    torch.testing.assert_close(click.eval()(rows), click.train()(rows), rtol=1e-3, atol=1e-3)


def test_a_width_below_zero_is_refused() -> None:
    with pytest.raises(SettingError, match="auxiliary=-1"):
        STAR.Settings(auxiliary=-1)

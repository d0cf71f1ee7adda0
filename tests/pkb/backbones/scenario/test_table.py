from __future__ import annotations

import torch
from torch import Tensor, nn

from pkb.backbones.base import ClickModel
from pkb.backbones.scenario.per_scenario import DNNPerScenario
from pkb.backbones.scenario.table import ScenarioTable
from pkb.parameters import nbytes, tables_of
from pkb.step import Optimiser, click_loss
from tests.pkb.backbones.check_backbone import IDS, SCHEMA
from tests.pkb.backbones.scenario.made import FIRST, in_scenarios, met, moved_to

DRAW = torch.Generator()


def ids(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)


def table_of(*scenarios: int, width: int = 3) -> ScenarioTable:
    """Rows 1, 2, 3, ... of these scenarios."""
    table = ScenarioTable(torch.zeros(width))
    table.meet(ids(*scenarios), DRAW)
    table.weight.data += 1 + torch.arange(len(scenarios)).unsqueeze(1)
    return table


def read(table: ScenarioTable, *scenarios: int) -> list[float]:
    here = table.here(ids(*scenarios))
    read: list[float] = table.of(here)[here.which_B][:, 0].tolist()
    return read


def test_each_scenario_reads_its_own_row_and_an_unknown_or_missing_one_the_mean_of_all() -> None:
    table = table_of(70, 50, 90)
    assert read(table, 90, 0, 50, 70, 77, 50) == [3, 2, 2, 1, 2, 2]
    assert read(ScenarioTable(torch.full((3,), 7.0)), 5, 0) == [7, 7]


def test_a_new_scenario_starts_at_the_mean_of_those_known_and_leaves_these_as_they_were() -> None:
    table = table_of(70, 50)
    table.meet(ids(0, 50, 60, 80), DRAW)
    assert read(table, 70, 50, 60, 80) == [1, 2, 1.5, 1.5]
    assert table.size == 4, "a missing scenario has no row"
    assert table.steps.tolist() == [0] * 4


def test_a_scenario_unseen_for_long_loses_its_row_and_starts_anew() -> None:
    table = table_of(70, 50, 90)
    for now, seen in ((1, ids(50, 90, 9999)), (2, ids(50, 90))):
        table.renew(seen, now=now, keep=2, generator=DRAW)
    assert table.ids.tolist() == [50, 90]
    assert read(table, 50, 90, 70) == [2, 3, 2.5]
    assert table.end_of_ids == 91


def test_growing_for_ids_gives_no_row_to_them() -> None:
    table = table_of(70)
    table.grow(10_000, DRAW)
    assert table.size == 1


def test_a_row_moves_as_a_dense_weight_does_under_adam_and_the_others_stay() -> None:
    table, dense = table_of(70, 50, width=4), nn.Parameter(torch.ones(4))
    adam = torch.optim.Adam([dense], lr=0.01)
    optimiser = Optimiser(nn.ModuleList([nn.Linear(1, 1), table]), learning_rate=0.01)
    factors = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    for factor in factors:
        adam.zero_grad()
        ((dense * factor).sum() - 1).square().backward()
        adam.step()
        optimiser.step(((table.of(table.here(ids(70)))[0] * factor).sum() - 1).square(), 32)
    torch.testing.assert_close(table.weight[0], dense)
    assert table.weight[1].tolist() == [2] * 4
    assert table.steps.tolist() == [5, 0]


def test_what_a_checkpoint_keeps_is_all_that_the_rows_need_and_is_what_is_counted() -> None:
    table = table_of(70, 50)
    optimiser = Optimiser(nn.ModuleList([nn.Linear(1, 1), table]))
    for _ in range(2):
        optimiser.step(table.of(table.here(ids(50))).square().sum(), 1)
    kept = {name: value.clone() for name, value in table.rows_in_use().items()}
    other = ScenarioTable(torch.zeros(3))
    other.restore(kept)
    for each in (table, other):
        again = Optimiser(nn.ModuleList([nn.Linear(1, 1), each]))
        again.step(each.of(each.here(ids(50, 70))).square().sum(), 1)
    assert torch.equal(other.weight, table.weight)
    assert nbytes(table) == 2 * table.row_bytes


def test_scenarios_that_come_later_need_no_new_optimiser() -> None:
    rows = in_scenarios(2)
    model = DNNPerScenario(SCHEMA, DNNPerScenario.Settings(hidden=(8,)))
    model.grow(IDS, DRAW)
    model.meet(rows, DRAW)
    click, later = ClickModel(model), moved_to(rows, FIRST + 2)
    optimiser = Optimiser(click, learning_rate=0.02)
    optimiser.step(click_loss(click, rows), len(rows))
    before = model.eval()(later)
    model.meet(later, DRAW)
    assert torch.equal(model(later), before), "it starts as what an unknown one reads"
    optimiser.step(click_loss(click.train(), later), len(later))
    assert not torch.equal(model.eval()(later), before)


def test_a_model_of_scenarios_keeps_no_row_for_any_other_id() -> None:
    tables = tables_of(met(DNNPerScenario, in_scenarios(3), hidden=(8,)))
    assert {name: table.size for name, table in tables.items()} == {
        "table": IDS,
        "layers.0.own": 3,
        "last.own": 3,
    }

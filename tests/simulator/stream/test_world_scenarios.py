"""The world's scenarios: how large they are, when they are there, and how much of what items are worth they share."""

from __future__ import annotations

import numpy as np
import pytest

from pkb.errors import SettingError
from simulator.stream.world.presets import PRESETS
from simulator.stream.world.scenarios import Scenarios, present, with_scenarios
from simulator.stream.world_settings import DriftSettings, WorldSettings
from tests.simulator.stream.test_world_drift import periods_of


def test_each_scenario_is_half_as_large_as_the_one_before_and_every_third_comes_and_goes() -> None:
    tables = periods_of(6, drift={}, users=200, items=100, scenarios=6)
    rows = np.array([np.bincount(table["scenario"].to_numpy(), minlength=6) for table in tables])
    there = np.array([present(6, period) for period in range(6)])
    assert ((rows > 0) == there).all()
    assert [[period for period in range(6) if not there[period, number]] for number in range(6)] == [
        *([], [], [1, 2]),
        *([], [], [3, 4]),
    ]
    assert rows[0] / rows[0].sum() == pytest.approx(0.5 ** np.arange(6) / 1.96875, abs=0.02)
    assert (rows.sum(axis=1) == 20_000).all()


@pytest.mark.parametrize("preset", ["eleme", "alidisplay"])
def test_at_strength_0_scenarios_are_a_field_that_says_nothing(preset: str) -> None:
    without, same, other = (
        periods_of(2, rows=3_000, drift={"wander": 1.0, "scenarios": d}, users=50, items=50, scenarios=s, preset=preset)
        for s, d in ((0, 0.0), (5, 0.0), (5, 0.5))
    )
    for plain, its, their in zip(without, same, other, strict=True):
        assert its.drop_columns("scenario") == plain
        assert their["scenario"] == its["scenario"]
        assert their["p_true"] != its["p_true"]
        assert their["p_true"].to_numpy().mean() == pytest.approx(its["p_true"].to_numpy().mean(), rel=0.25)
    schema = with_scenarios(PRESETS[preset].schema)
    assert schema.scenario == "scenario"
    assert [f.role for f in schema.fields].count("scenario") == 1


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_two_scenarios_share_what_the_strength_leaves_and_items_differ_as_much_as_ever(strength: float) -> None:
    menu = PRESETS["eleme"].draw_menu(60_000, np.random.default_rng(0))
    draw = np.random.default_rng(1)
    shared = draw.standard_normal((menu.places, 5), dtype=np.float32) * [0.7, 1, 1, 1, 1]
    made = Scenarios(3, strength, menu, lambda *names: np.random.default_rng([7, *map(int, names[1:])]))
    made.begin(np.arange(menu.places), shared)
    place = np.arange(menu.places)[None]
    of = np.stack([made.worth(np.array([s]), place)[0] for s in range(3)])
    for column in range(5):
        pairs = np.corrcoef(of[:, :, column])[np.triu_indices(3, 1)]
        assert pairs == pytest.approx(1 - strength, abs=0.25), "kinds and themes are few, so that some agree by chance"
        assert of[:, :, column].std(axis=1) == pytest.approx(shared[:, column].std(), rel=0.25)
    if not strength:
        assert (of == shared).all()


def test_effects_of_scenarios_need_scenarios() -> None:
    with pytest.raises(SettingError, match=r"drift.scenarios=0.5: needs scenarios"):
        WorldSettings(drift=DriftSettings(scenarios=0.5))

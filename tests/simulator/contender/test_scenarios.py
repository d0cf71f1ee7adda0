"""Scenarios that appear in mid-stream, as a contender meets them: their weights are kept, held, lost and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from pkb.backbones.scenario.star import STAR
from pkb.backbones.scenario.table import ScenarioTable
from pkb.batch import Batch, Field
from pkb.parameters import tables_of
from pkb.seeding import generator
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.contender import Contender
from simulator.contender.learning import fit, learn
from simulator.contender.settings import ArmSettings
from simulator.contender.sizes import memory_bytes, of_scenario
from simulator.loop.budget import needed
from simulator.plays import play_of, recipe_of
from simulator.settings import Settings
from simulator.stream.log import Log, Period
from tests.simulator.tiny import SCHEMA, tiny_log, tiny_settings

SCENARIOS = replace(SCHEMA, fields=(*SCHEMA.fields[:2], Field(name="hour", role="scenario")))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("log")
    tiny_log(folder)
    (folder / "schema.json").write_text(SCENARIOS.to_json())
    return Log(folder)


def settings_in(folder: Path, *, policy: str = "finetune", **train: int) -> Settings:
    settings: Any = tiny_settings(
        folder, arms={"star": ArmSettings(backbone="star", policy=policy)}
    )  # sections made on the fly
    small = replace(settings.backbones, star=STAR.Settings(width=4, hidden=(8,)))
    return cast(Settings, replace(settings, backbones=small, train=replace(settings.train, epochs=1, **train)))


def contender(settings: Settings) -> Contender:
    return Contender(recipe_of(settings, "star", 0), SCENARIOS)


def of_hours(log: Log, period: Period, start: int, stop: int) -> Batch:
    """The period's rows whose hour is one of the first so many, in order of their ids."""
    rows = log.read(period)
    hours = rows.ids_BF[:, 2].unique()[start:stop]
    return rows.select(torch.isin(rows.ids_BF[:, 2], hours))


def met(c: Contender) -> set[int]:
    [ids] = {tuple(t.ids.tolist()) for t in tables_of(c.model).values() if isinstance(t, ScenarioTable)}
    return set(ids)


def hours(rows: Batch) -> set[int]:
    return set(rows.ids_BF[:, 2].tolist())


def test_a_contender_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path, log: Log) -> None:
    first, second, third, _ = log.periods
    kept = contender(settings_in(tmp_path, evict_after=2))
    early = of_hours(log, first, 0, 6)
    fit(kept, early, first)
    assert met(kept) == hours(early)
    save_contender(tmp_path / "kept", kept, 0)
    loaded = load_contender(tmp_path / "kept")
    for c in (kept, loaded):
        fit(c, of_hours(log, second, 3, 12), second)
    assert met(kept) == met(loaded) == hours(early) | hours(of_hours(log, second, 3, 12))
    assert np.array_equal(kept.predict(log.read(third)), loaded.predict(log.read(third)))


def test_a_scenario_that_stays_away_loses_its_weights(tmp_path: Path, log: Log) -> None:
    first, second, *_ = log.periods
    c = contender(settings_in(tmp_path, evict_after=1))
    fit(c, of_hours(log, first, 0, 6), first)
    late = of_hours(log, second, 4, 9)
    fit(c, late, second)
    assert met(c) == hours(late)


def test_elastic_weights_hold_those_of_the_scenarios_in_a_minibatch(tmp_path: Path, log: Log) -> None:
    first, second, *_ = log.periods
    c = contender(settings_in(tmp_path, policy="ewc"))
    window = range(1)
    learn(c, first, window, lambda _: of_hours(log, first, 0, 6))
    lesson = c.policy.lesson(c, range(1, 2), lambda _: log.read(second))
    assert lesson is not None
    assert lesson.addition is not None
    rows = of_hours(log, second, 2, 3)
    table = tables_of(c.model)["backbone.layers.0.of_scenario.own"]
    assert isinstance(table, ScenarioTable)
    table.weight.data += 1
    c.model.zero_grad()
    lesson.addition(rows, torch.zeros(len(rows))).backward()
    gradient = table.gradient()
    assert gradient is not None
    assert set(table.ids[gradient[0]].tolist()) == hours(rows)
    assert gradient[1].abs().sum() > 0


def test_a_budget_of_bytes_counts_the_weights_of_the_last_periods_scenarios(tmp_path: Path, log: Log) -> None:
    settings = settings_in(tmp_path)
    c = contender(settings)
    fit(c, log.read(log.periods[-1]), log.periods[-1])
    recipe = recipe_of(settings, "star", 0)
    kept = sum(memory_bytes(c).values())
    assert kept == pytest.approx(needed(recipe, 4, play_of(settings), log), rel=0.01)


def test_what_one_more_scenario_costs_is_what_the_model_grows_by(tmp_path: Path, log: Log) -> None:
    first, *_ = log.periods
    c = contender(settings_in(tmp_path))
    fit(c, of_hours(log, first, 0, 6), first)
    cost, before = of_scenario(c), memory_bytes(c)["model"]
    assert cost is not None
    c.model.backbone.meet(of_hours(log, first, 6, 7), generator(0, "one more"))
    embeddings = [table for table in tables_of(c.model).values() if table.of_ids]
    assert memory_bytes(c)["model"] - before == cost.bytes - sum(table.row_bytes for table in embeddings)
    layers = 3 * 4 * 8 + 8 + 8 + 1  # of weights and biases; the embedding, the auxiliary network's and the norm's
    assert (cost.scenarios, cost.parameters) == (6, layers + 4 + 4 + 2 * 3 * 4)
    assert of_scenario(Contender(recipe_of(settings_in(tmp_path), "star", 0), SCENARIOS)) == replace(cost, scenarios=0)


def test_a_log_without_scenarios_has_no_cost_of_one(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, arms={"plain": ArmSettings(backbone="dnn")})
    assert of_scenario(Contender(recipe_of(settings, "plain", 0), SCHEMA)) is None

"""Yardsticks are played beside the arms, and are nobody's arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import SettingError
from simulator.cluster.shares import guess
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.settings import ArmSettings, BudgetSettings
from simulator.contender.yardsticks import WINDOW, YARDSTICKS
from simulator.describe import describe
from simulator.loop.past import Past
from simulator.loop.plan import plan
from simulator.plays import play_of, recipe_of, within_budget, yardstick_of
from simulator.record.layout import RunFolder
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.tiny import tiny_log, tiny_settings

NAMES = ["popularity", "logistic", "gbdt_counts"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """One in which every other item is clicked often, and nothing else matters."""
    made, draw = tiny_log(tmp_path_factory.mktemp("log"), rows=1500), np.random.default_rng(0)
    for period in made.periods:
        table = pq.read_table(made.path(period), partitioning=None)
        often = table["item"].to_numpy() % 2 == 1
        click = pa.array((draw.random(len(table)) < np.where(often, 0.6, 0.2)).astype(np.int8))
        pq.write_table(table.set_column(table.column_names.index("click"), "click", click), made.path(period))
    return made


def with_yardsticks(folder: Path, *names: str) -> Settings:
    return replace(tiny_settings(folder), yardsticks=list(names or NAMES), seeds=[3, 1])


def played(contender: Contender, settings: Settings, log: Log) -> list[np.ndarray]:
    """What it says of each period that the plan has it predict."""
    past, said = Past(log, play_of(settings), RunFolder(Path(settings.runs)), [contender], 0), []
    for period in log.periods:
        past.arrive(period, log.read(period))
        todo = plan(settings.stream, settings.compress, log.periods, period.index)
        rows = past.rows(contender)
        if todo.predict:
            said.append(contender.predict_prequentially(period, rows))
        if todo.learn:
            stop_by = None if todo.stop_by is None else rows
            learn(contender, period, todo.learn, lambda some: past.known(contender, some), validation=stop_by)
    return said


def test_they_are_on_by_default_play_the_first_seed_and_stand_behind_the_arms(tmp_path: Path) -> None:
    assert Settings().yardsticks == list(YARDSTICKS) == NAMES
    settings = with_yardsticks(tmp_path)
    keys = [recipe.key for recipe in play_of(settings).recipes]
    assert keys == ["finetune-3", "finetune-1", "popularity-3", "logistic-3", "gbdt_counts-3"]
    told = describe(settings, "tiny")
    assert told.yardsticks == NAMES
    assert list(told.arms) == ["finetune"]
    assert sorted(told.keys) == sorted(keys)


def test_a_name_that_is_none_or_an_arms_or_stands_there_twice_is_refused() -> None:
    with pytest.raises(SettingError, match=r"^yardsticks\[0\]=populrity: is not one of .*did you mean popularity\?"):
        Settings(yardsticks=["populrity"])
    with pytest.raises(SettingError, match=r"^arms\.logistic: is a yardstick's name; rename the arm"):
        Settings(arms={"logistic": ArmSettings(backbone="lr")})
    assert Settings(arms={"logistic": ArmSettings(backbone="lr")}, yardsticks=["popularity"])
    with pytest.raises(SettingError, match=r"^yardsticks=.*name each once"):
        Settings(yardsticks=["logistic", "logistic"])


def test_a_model_without_a_place_for_knowledge_is_given_none() -> None:
    arm = ArmSettings(backbone="popularity", knowledge="edk")
    with pytest.raises(SettingError, match=r"^arms\.x\.knowledge=edk: popularity has no place for any"):
        Settings(arms={"x": arm})


@pytest.mark.parametrize("protocol", ["stream", "split"])
@pytest.mark.parametrize("name", NAMES)
def test_each_predicts_better_than_chance_and_goes_on_from_its_checkpoint(
    tmp_path: Path, log: Log, name: str, protocol: str
) -> None:
    settings = with_yardsticks(tmp_path)
    settings = replace(settings, stream=replace(settings.stream, protocol=protocol))
    contender = Contender(yardstick_of(settings, name), log.schema)
    said, last = played(contender, settings, log)[-1], log.read(log.periods[-1])
    assert np.corrcoef(said, last.label.numpy())[0, 1] > 0.2
    assert 0.8 < said.sum() / last.label.sum() < 1.25
    save_contender(tmp_path / "kept", contender, 3)
    assert np.array_equal(load_contender(tmp_path / "kept").predict(last), contender.predict(last))


def test_overlapping_windows_are_counted_once(tmp_path: Path, log: Log) -> None:
    settings = with_yardsticks(tmp_path)
    wide = replace(settings, stream=replace(settings.stream, window=3))
    for name in ("popularity", "gbdt_counts"):
        one, other = (played(Contender(yardstick_of(s, name), log.schema), s, log)[-1] for s in (settings, wide))
        assert np.array_equal(one, other)


def test_a_regression_learns_its_own_window_and_of_a_split_what_arms_learn(tmp_path: Path) -> None:
    settings = with_yardsticks(tmp_path)
    assert yardstick_of(settings, "logistic").policy.periods == WINDOW
    split = replace(settings, stream=replace(settings.stream, protocol="split"))
    assert yardstick_of(split, "logistic").policy.periods == 1


def test_no_budget_binds_them(tmp_path: Path, log: Log) -> None:
    budget = BudgetSettings(bytes=800_000, row_updates=100)
    settings = within_budget(replace(with_yardsticks(tmp_path), budget=budget), log)
    assert list(settings.arms) == ["finetune"]
    assert {yardstick_of(settings, name).row_updates for name in NAMES} == {0}


def test_groups_know_what_each_costs(tmp_path: Path) -> None:
    settings = with_yardsticks(tmp_path)
    cost = {name: sum(guess(yardstick_of(settings, name), 20)) for name in NAMES}
    arms = {"finetune": ArmSettings(), "edk": ArmSettings(knowledge="edk")}
    settings = replace(settings, arms=arms)
    finetune, edk = (sum(guess(recipe_of(settings, arm, 3), 20)) for arm in arms)
    assert 0 < cost["popularity"] < cost["gbdt_counts"] <= finetune < cost["logistic"] < edk

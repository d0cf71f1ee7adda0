"""A trial is the arm itself over the first periods: the same loop, the same rows, the same draws."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulator.contender.settings import ArmSettings
from simulator.loop.commons import Commons
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.loop.simulate import simulate
from simulator.plays import play_of
from simulator.record.costs import read_costs
from simulator.record.layout import RunFolder
from simulator.stream.log import Log
from simulator.tune.trial import mean_auc, named, play_trial
from tests.simulator.tiny import tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = {"finetune": ArmSettings(), "sim_hard": ArmSettings(backbone="sim_hard")}
PERIODS = 3


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=4, rows=300)


@pytest.fixture
def play(log: Log) -> Play:
    return play_of(tiny_settings(log.folder, arms=ARMS))


def provided(folder: Path, play: Play, log: Log) -> RunFolder:
    """A run whose shared files are all there."""
    run = RunFolder(folder)
    SharedFiles(run, len(log.schema.fields)).clear()
    commons = Commons(play, log, run)
    for period in log.periods:
        commons.provide_period(period, log.read(period))
    return run


def silent(**_: Any) -> None:
    pass


def test_the_trial_with_given_settings_has_the_auc_of_the_arm_in_the_run(tmp_path: Path, log: Log, play: Play) -> None:
    whole = provided(tmp_path / "whole", play, log)
    simulate(play, 0, [recipe.key for recipe in play.recipes], log, whole, silent)
    short = replace(play, learns_last=False, measure=replace(play.measure, holdout_periods=1))
    first = log.first(PERIODS)
    trials = provided(tmp_path / "trials", short, first)
    for recipe in play.recipes:
        through_2 = RunFolder(tmp_path / "through_2")
        shutil.copytree(whole.path, through_2.path, dirs_exist_ok=True)
        through_2.committed_file(recipe.key).write_text(str(PERIODS - 1))
        tried = play_trial(short, recipe.name, 0, {}, first, trials)
        assert tried == mean_auc(through_2, recipe)
        assert tried.n == PERIODS - 1
        other = play_trial(short, recipe.name, 1, {"train.learning_rate": 0.002}, first, trials)
        assert other.value != tried.value
        key = named(recipe, 0).key
        stages = [set(period.arms[0].stages) for period in read_costs(trials, [key])]
        assert [("learn" in some) for some in stages] == [True, True, False], "nothing asks for what comes after"
        trials.drop(key)
        assert not [file for file in trials.path.rglob("*") if file.name.startswith(key)]
    assert play_trial(short, "sim_hard", 1, {"train.learning_rate": 0.002}, first, trials) == other, "it had ended"


def test_a_trial_that_diverges_has_no_auc_and_says_why(tmp_path: Path, log: Log) -> None:
    play = play_of(tiny_settings(log.folder))
    first = log.first(PERIODS)
    value = play_trial(play, "finetune", 1, {"train.learning_rate": 1e30}, first, provided(tmp_path, play, first))
    assert value.value is None
    assert value.reason is not None
    assert value.reason.startswith("stopped: ")


def test_a_log_cut_short_is_the_log_as_it_was_then(log: Log) -> None:
    first = log.first(2)
    assert [period.index for period in first.periods] == [0, 1]
    assert len(log.periods) == 4
    assert first.schema == log.schema

"""A click model that is replaced on the way has learned nothing before the period that it starts in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pkb.batch import Batch, concatenate
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.settings import ArmSettings
from simulator.policies import POLICIES
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

GOING_ON = [name for name, policy in POLICIES.items() if policy.goes_on]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def made(folder: Path, arm: ArmSettings) -> Contender:
    settings = tiny_settings(folder, arms={"one": arm})
    window = POLICIES["retrain_window"].Settings(periods=1)
    settings = replace(settings, policies=replace(settings.policies, retrain_window=window))
    return contender_of(replace(settings, train=replace(settings.train, epochs=0)), "one")


def play(c: Contender, log: Log, periods: Sequence[int], below: int | None = None) -> Contender:
    """Learn these periods; of their rows, those without an id from `below` on."""

    def rows(wanted: range) -> Batch:
        found = concatenate([log.read(log.periods[i]) for i in wanted])
        return found if below is None else found.select((found.ids_BF < below).all(dim=1))

    for period in periods:
        learn(c, log.periods[period], range(period, period + 1), rows)
    return c


def same(one: Contender, other: Contender, rows: Batch) -> bool:
    return bool(np.array_equal(one.predict(rows), other.predict(rows)))


@pytest.mark.parametrize("policy", GOING_ON)
def test_from_its_restart_on_an_arm_is_one_whose_model_started_then(tmp_path: Path, log: Log, policy: str) -> None:
    restarted = play(made(tmp_path, ArmSettings(policy=policy, restart_at=[2])), log, [0, 1])
    fresh = made(tmp_path, ArmSettings(policy=policy))
    if policy == "replay":  # its sample is of rows, which nobody forgets
        fresh.policy.restore({name: value.clone() for name, value in restarted.policy.state().items()})
    fresh.known, fresh.passes_at_first = log.periods[1].vocabulary_size, restarted.passes_at_first
    rows = log.read(log.periods[3])
    for period in (2, 3):
        assert same(play(restarted, log, [period]), play(fresh, log, [period]), rows)
    assert restarted.trained_through == 3


def test_the_first_lesson_after_a_restart_is_that_of_a_window_of_one_period(tmp_path: Path, log: Log) -> None:
    restarted, going_on = ArmSettings(restart_at=[2]), ArmSettings()
    one, other = (play(made(tmp_path, arm), log, [0, 1, 2]) for arm in (restarted, going_on))
    window = play(made(tmp_path, ArmSettings(policy="retrain_window")), log, [0, 1, 2])
    rows = log.read(log.periods[3])
    assert same(one, window, rows)
    assert not same(one, other, rows)


@pytest.mark.parametrize("backbone", ["popularity", "logistic", "gbdt"])
def test_a_model_that_is_fitted_whole_forgets_what_it_counted(tmp_path: Path, log: Log, backbone: str) -> None:
    restarted = play(made(tmp_path, ArmSettings(backbone=backbone, restart_at=[2])), log, [0, 1, 2])
    fresh = play(made(tmp_path, ArmSettings(backbone=backbone)), log, [2])
    assert same(restarted, fresh, log.read(log.periods[3]))


@pytest.mark.parametrize("knowledge", ["edk", "novelty"])
def test_the_knowledge_base_stays_when_the_model_is_replaced(tmp_path: Path, log: Log, knowledge: str) -> None:
    arm = ArmSettings(knowledge=knowledge, restart_at=[2])
    going_on, restarted = made(tmp_path, replace(arm, restart_at=[])), made(tmp_path, arm)
    for c in (going_on, restarted):
        play(c, log, [0, 1])
        compress(c, log.read(log.periods[0]), log.periods[0], log.periods[2])
        play(c, log, [2])
    rows = log.read(log.periods[3])
    one, other = going_on.knowledge(rows), restarted.knowledge(rows)
    assert one is not None
    assert other is not None
    assert all(torch.equal(other[part], known) for part, known in one.items())
    assert not same(going_on, restarted, rows)


@pytest.mark.parametrize("policy", GOING_ON)
@pytest.mark.parametrize("after", [1, 2])
def test_around_its_restart_an_arm_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    tmp_path: Path, log: Log, policy: str, after: int
) -> None:
    below = log.periods[0].vocabulary_size - 20  # the lesson of the restart has rows of old values alone
    kept = play(made(tmp_path, ArmSettings(policy=policy, restart_at=[2])), log, [0, 1])
    if after == 2:
        play(kept, log, [2], below)
        assert kept.known > below, "some values are not new that the new model has never seen"
    save_contender(tmp_path / "checkpoint", kept, after)
    loaded = load_contender(tmp_path / "checkpoint")
    assert loaded.known == kept.known
    for c in (kept, loaded):
        if after == 1:
            play(c, log, [2], below)
        play(c, log, [3])
    assert same(kept, loaded, log.read(log.periods[3]))

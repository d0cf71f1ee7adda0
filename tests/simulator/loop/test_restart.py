"""Arms whose model is replaced, over a small log: what changes with the restart, and that a kill changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from simulator.contender.settings import ArmSettings
from simulator.loop.play import Play
from simulator.loop.simulate import simulate
from simulator.plays import play_of
from simulator.policies import POLICIES
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.stream.log import Log
from tests.simulator.loop.in_process import played, predictions, provided, silent
from tests.simulator.tiny import tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
PERIODS, AT = 5, 2
KINDS = {
    "bare": ArmSettings(),
    "novelty": ArmSettings(knowledge="novelty", plug="fields+join"),
    "edk": ArmSettings(knowledge="edk"),
    "rok": ArmSettings(knowledge="rok", plug="fields+join"),
    "dert": ArmSettings(backbone="dert"),
}
ARMS = {
    **KINDS,
    **{f"{name}_again": replace(arm, restart_at=[AT]) for name, arm in KINDS.items()},
    **{f"{name}_window": replace(arm, policy="retrain_window") for name, arm in KINDS.items()},
    "ewc_again": ArmSettings(policy="ewc", restart_at=[AT]),
    "replay_again": ArmSettings(policy="replay", restart_at=[AT]),
}
KEYS = [key_of((arm, 0)) for arm in ARMS]


class KilledError(Exception):
    pass


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=PERIODS, rows=300)


@pytest.fixture(scope="module")
def play(log: Log) -> Play:
    settings = tiny_settings(log.folder, arms=ARMS)
    window = POLICIES["retrain_window"].Settings(periods=1)
    return play_of(replace(settings, policies=replace(settings.policies, retrain_window=window)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, log: Log, play: Play) -> RunFolder:
    return played(play, log, RunFolder(tmp_path_factory.mktemp("run") / "whole"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_new_model_learns_the_period_of_the_restart_and_predicts_the_next(run: RunFolder, kind: str) -> None:
    said = predictions(run, KEYS)
    mine = {cell[1:]: p for cell, p in said.items() if cell[0] == f"{kind}_again"}
    twin, window = ({cell[1:]: p for cell, p in said.items() if cell[0] == name} for name in (kind, f"{kind}_window"))
    for cell, probability in mine.items():
        through = cell[0]
        if through < 0:  # as the model was drawn, on what rows have found by the one at hand
            continue
        if through < AT:
            assert np.array_equal(probability, twin[cell]), "the former model is the twin's"
        else:
            assert not np.array_equal(probability, twin[cell])
        if through == AT and kind != "dert":  # whose rows found their neighbours by the former model's encoder
            assert np.array_equal(probability, window[cell]), "it has learned the rows of one period alone"
        elif through > AT:
            assert not np.array_equal(probability, window[cell]), "it goes on"


@pytest.mark.parametrize("kind", ["novelty", "edk", "rok"])
def test_the_base_is_the_one_of_the_arm_that_was_not_restarted(run: RunFolder, kind: str) -> None:
    one, other = (
        load_file(run.checkpoint(key_of((arm, 0)), PERIODS - 1) / "state.safetensors")
        for arm in (kind, f"{kind}_again")
    )
    base = {name: value for name, value in one.items() if name.startswith("knowledge.")}
    assert base
    assert all(torch.equal(value, other[name]) for name, value in base.items())


@pytest.mark.slow
def test_a_run_killed_around_the_restart_ends_like_one_that_was_not(
    tmp_path: Path, log: Log, play: Play, run: RunFolder
) -> None:
    killed = provided(play, log, RunFolder(tmp_path / "killed"))
    keys = [key for key in KEYS if "again" in key]

    for moment in ((AT, "learn"), (AT + 1, "predict")):

        def dies(moment: tuple[int, str] = moment, **now: Any) -> None:
            if (now["period"], now["stage"], now["arm"]) == (*moment, "edk_again-0"):
                raise KilledError

        with pytest.raises(KilledError):
            simulate(play, 0, keys, log, killed, dies)
    simulate(play, 0, keys, log, killed, silent)
    whole, resumed = predictions(run, keys), predictions(killed, keys)
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(probability, resumed[cell]) for cell, probability in whole.items())

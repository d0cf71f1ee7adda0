"""Contenders with equal bases compress one between them, and nobody's numbers change by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.settings import ArmSettings
from simulator.contender.sharing import base_of, share_bases, with_one_base
from simulator.plays import recipe_of
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

ARMS = {
    "finetune": ArmSettings(),
    "edk": ArmSettings(knowledge="edk"),
    "window_edk": ArmSettings(knowledge="edk", policy="retrain_window", plug="hidden"),
    "shuffled": ArmSettings(knowledge="edk", control="shuffled"),
    "smaller": ArmSettings(knowledge="edk", options={"patterns": 2}),
    "rok": ArmSettings(knowledge="rok"),
    "learns_on": ArmSettings(knowledge="rok", options={"update": "both"}),
    "by_its_encoder": ArmSettings(knowledge="rok", options={"teacher": "dert"}),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def played(log: Log, contenders: list[Contender]) -> list[np.ndarray]:
    """Let them compress and learn period by period; what each says of the last one."""
    for period in log.periods[:-1]:
        if period.index:
            old = log.periods[period.index - 1]
            for first, *others in with_one_base(contenders):
                compress(first, log.read(old), old, period)
                for other in others:
                    other.compressed(old)
        for contender in contenders:
            learn(contender, period, range(period.index, period.index + 1), lambda some: log.read(log.periods[some[0]]))
    last = log.periods[-1]
    return [contender.predict_prequentially(last, log.read(last)) for contender in contenders]


def test_what_shares_a_base_predicts_as_it_would_alone_to_the_last_bit(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    names = ("window_edk", "edk", "shuffled", "finetune")
    together = [contender_of(settings, name, 0) for name in names]
    share_bases(together)
    assert [[c.recipe.name for c in some] for some in with_one_base(together)] == [["window_edk", "edk"], ["shuffled"]]
    alone = [played(log, [contender_of(settings, name, 0)])[0] for name in names]
    scores = played(log, together)
    assert all(np.array_equal(mine, its) for mine, its in zip(scores, alone, strict=True))
    assert len({its.tobytes() for its in scores}) == len(names)


def test_only_bases_that_all_settings_make_equal_are_shared(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    base = {name: base_of(recipe_of(settings, name, 0)) for name in ARMS}
    assert base["edk"] == base["window_edk"]
    assert base["finetune"] is base["learns_on"] is base["by_its_encoder"] is None
    assert len({base[name] for name in ("edk", "shuffled", "smaller", "rok")}) == 4
    assert base_of(recipe_of(settings, "edk", 1)) != base["edk"]
    slower = replace(settings, compress=replace(settings.compress, learning_rate=1e-4))
    assert base_of(recipe_of(slower, "edk", 0)) != base["edk"]
    assert base_of(replace(recipe_of(settings, "edk", 0), row_updates=100)) is None


def test_one_that_was_further_when_the_run_stopped_keeps_its_own(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    ahead, behind = contender_of(settings, "edk", 0), contender_of(settings, "window_edk", 0)
    compress(ahead, log.read(log.periods[0]), log.periods[0], log.periods[1])
    share_bases([ahead, behind])
    assert with_one_base([ahead, behind]) == [[ahead], [behind]]

"""Arms whose backbone takes no optimiser steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.contender.sizes import memory_bytes
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

ARMS = {
    "trees": ArmSettings(backbone="gbdt"),
    "trees_edk": ArmSettings(backbone="gbdt", knowledge="edk"),
    "logistic": ArmSettings(backbone="logistic"),
    "popularity": ArmSettings(backbone="popularity"),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


@pytest.mark.parametrize("arm", ARMS)
def test_they_learn_with_and_without_knowledge(tmp_path: Path, log: Log, arm: str) -> None:
    c, (first, second) = contender_of(tiny_settings(tmp_path, arms=ARMS), arm), log.periods[:2]
    assert (c.predict_prequentially(first, log.read(first)) == 0.5).all()
    fit(c, log.read(first), first)
    compress(c, log.read(first), first, second)
    assert c.predict_prequentially(second, log.read(second)).std() > 0
    fit(c, log.read(second), second)
    assert (c.trained_through, c.built_until) == (1, second.end)
    assert np.isfinite(c.predict(log.read(log.periods[2]))).all()


def test_they_go_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    first, second, third = log.periods[:3]
    contenders = [contender_of(settings, arm) for arm in ARMS]
    for c in contenders:
        fit(c, log.read(first), first)
        compress(c, log.read(first), first, second)
    for kept in contenders:
        save_contender(tmp_path / kept.key, kept, 0)
        loaded = load_contender(tmp_path / kept.key)
        assert np.array_equal(kept.predict(log.read(second)), loaded.predict(log.read(second)))
        for c in (kept, loaded):
            fit(c, log.read(second), second)
        assert np.array_equal(kept.predict(log.read(third)), loaded.predict(log.read(third)))


def test_what_they_keep_counts_as_memory(tmp_path: Path, log: Log) -> None:
    for arm, least in (("trees", 1000), ("logistic", 300), ("popularity", 300)):
        c, period = contender_of(tiny_settings(tmp_path, arms=ARMS), arm), log.periods[0]
        before = memory_bytes(c)["model"]
        fit(c, log.read(period), period)
        assert memory_bytes(c)["model"] > before + least

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pkb.errors import CheckpointError
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.tiny import SCHEMA, contender_of, tiny_log, tiny_settings

ARMS = {"finetune": ArmSettings(), "edk": ArmSettings(knowledge="edk")}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def played(log: Log, settings: Settings) -> list[Contender]:
    first, second = log.periods[:2]
    contenders = [contender_of(settings, arm) for arm in settings.arms]
    for c in contenders:
        fit(c, log.read(first), first)
        compress(c, log.read(first), first, second)
    return contenders


@pytest.mark.parametrize("evict_after", [0, 1])
def test_contenders_go_on_from_a_checkpoint_as_if_nothing_had_happened(
    tmp_path: Path, log: Log, evict_after: int
) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    settings = replace(settings, train=replace(settings.train, evict_after=evict_after))
    contenders = played(log, settings)
    second, third = log.periods[1:3]
    for kept in contenders:
        save_contender(tmp_path / kept.key, kept, 0)
        loaded = load_contender(tmp_path / kept.key)
        assert (loaded.recipe, loaded.schema, loaded.next_period) == (kept.recipe, SCHEMA, 1)
        assert (kept.key, kept.trained_through, kept.built_until) == (loaded.key, 0, second.start)
        for c in (kept, loaded):
            fit(c, log.read(second), second)
            compress(c, log.read(second), second, third)
        assert np.array_equal(kept.predict(log.read(third)), loaded.predict(log.read(third)))


def test_a_contender_that_was_stopped_stays_so(tmp_path: Path, log: Log) -> None:
    [_, contender] = played(log, tiny_settings(tmp_path, arms=ARMS))
    contender.stop("loss was nan")
    written = save_contender(tmp_path / "checkpoint", contender, 4)
    loaded = load_contender(tmp_path / "checkpoint")
    assert (loaded.stopped, loaded.next_period, loaded.compressed_through) == ("loss was nan", 5, 0)
    assert written == (tmp_path / "checkpoint" / "state.safetensors").stat().st_size


@pytest.mark.parametrize("file", ["state.safetensors", "contender.json", "schema.json"])
def test_a_damaged_file_is_named_before_it_is_read(tmp_path: Path, log: Log, file: str) -> None:
    settings = tiny_settings(tmp_path, arms=ARMS)
    save_contender(tmp_path / "checkpoint", played(log, settings)[1], 0)
    damaged = tmp_path / "checkpoint" / file
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file}: missing or damaged"):
        load_contender(tmp_path / "checkpoint")

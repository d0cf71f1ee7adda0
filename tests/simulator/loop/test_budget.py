from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from safetensors.torch import load_file

from pkb.backbones.deepfm import DeepFM
from pkb.center.manifest import ROSTER
from pkb.center.writing import folder_of
from pkb.edk import EDK
from pkb.errors import SettingError
from pkb.ranks import Ranks
from simulator.contender.centered import Centered, publish
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.settings import ArmSettings, BudgetSettings
from simulator.contender.sizes import memory_bytes
from simulator.loop.budget import needed, told, widest
from simulator.loop.past import Past
from simulator.plays import play_of, recipe_of, within_budget
from simulator.policies.replay import Replay
from simulator.record.layout import RunFolder
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

ARMS = {
    "finetune": ArmSettings(),
    "edk": ArmSettings(knowledge="edk"),
    "replay": ArmSettings(policy="replay"),
    "distil": ArmSettings(policy="distil"),
    "ewc": ArmSettings(policy="ewc"),
}
BYTES = 400_000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def budgeted(folder: Path, **budget: int) -> Settings:
    settings: Any = replace(
        tiny_settings(folder, arms=ARMS), budget=BudgetSettings(**budget)
    )  # sections made on the fly
    small = replace(
        settings,
        policies=replace(settings.policies, replay=Replay.Settings(bytes=50_000)),
        knowledge=replace(settings.knowledge, edk=EDK.Settings(patterns=2, depth=1)),
        backbones=replace(settings.backbones, deepfm=DeepFM.Settings(hidden=(16,))),
    )
    return cast(Settings, small)


def played(arm: str, settings: Settings, log: Log) -> tuple[Contender, int]:
    """A contender that has met every period, and the rows it trained on in the last."""
    contender, updates = contender_of(settings, arm), [0]
    past = Past(log, play_of(settings), RunFolder(Path(settings.runs)), [contender], 0)

    def done(rows: int) -> None:
        updates[0] += rows

    for period in log.periods:
        updates[0] = 0
        past.arrive(period, log.read(period))
        if period.index:
            old = log.periods[period.index - 1]
            compress(contender, past.old(old.index, contender), old, period, done)
        window = range(period.index, period.index + 1)
        learn(contender, period, window, partial(past.known, contender), progress=done)
    return contender, updates[0]


@pytest.mark.parametrize("arm", list(ARMS))
def test_every_arm_ends_just_within_the_bytes_of_the_budget(tmp_path: Path, log: Log, arm: str) -> None:
    settings = within_budget(budgeted(tmp_path, bytes=BYTES), log)
    kept = sum(memory_bytes(played(arm, settings, log)[0]).values())
    width = settings.arms[arm].width
    assert width is not None
    assert 0.9 * BYTES < kept <= BYTES
    recipe, play = recipe_of(settings, arm, 0), play_of(settings)
    assert needed(recipe, width, play, log) <= BYTES < needed(recipe, width + 1, play, log)


@pytest.mark.parametrize("arm", list(ARMS))
def test_every_arm_trains_on_as_many_rows_as_the_budget_says(tmp_path: Path, log: Log, arm: str) -> None:
    assert played(arm, budgeted(tmp_path, row_updates=1000), log)[1] == 1000
    assert played(arm, budgeted(tmp_path, row_updates=200), log)[1] == 200


def test_what_keeps_more_beside_its_model_gets_narrower_embeddings(tmp_path: Path, log: Log) -> None:
    width = {name: arm.width or 0 for name, arm in within_budget(budgeted(tmp_path, bytes=BYTES), log).arms.items()}
    assert width["finetune"] > max(width["edk"], width["replay"], width["distil"]) > width["ewc"]


@pytest.mark.parametrize("evict_after", [0, 1])
def test_a_center_counts_with_its_roster_and_the_version_that_is_read(
    tmp_path: Path, log: Log, evict_after: int
) -> None:
    keep = {"user_width": 6, "width": 4, "hidden": [16, 8]}
    arms = {"one": ArmSettings(knowledge="keep", options=keep, plug="hidden", source="center")}
    settings = tiny_settings(tmp_path, arms=arms)
    settings = replace(settings, train=replace(settings.train, evict_after=evict_after))
    contender, recipe, play = contender_of(settings, "one"), recipe_of(settings, "one", 0), play_of(settings)
    assert isinstance(contender.source, Centered)
    contender.source.write_to(tmp_path / "center", Ranks())
    past = Past(log, play, RunFolder(Path(settings.runs)), [contender], 0)
    for old, now in pairwise(log.periods):
        past.arrive(now, log.read(now))
        rows = past.old(old.index, contender)
        compress(contender, rows, old, now)
        publish(contender.source, rows, log.read(now), Ranks())
    folder = folder_of(tmp_path / "center", log.periods[-2].index)
    version = sum(file.stat().st_size for file in folder.iterdir() if file.suffix in (".keys", ".values"))
    roster = sum(t.numel() * t.element_size() for t in load_file(folder / ROSTER).values())
    assert memory_bytes(contender)["center"] == version + roster == told(recipe, play, log)
    least = needed(recipe, 1, play, log)
    with pytest.raises(SettingError, match=f"budget.bytes={least}: arm one needs {least + version + roster} at the"):
        widest(recipe, least, play, log)


def test_a_budget_that_no_width_meets_is_refused(tmp_path: Path, log: Log) -> None:
    with pytest.raises(SettingError, match=r"budget.bytes=100: arm finetune needs .* at the least"):
        within_budget(budgeted(tmp_path, bytes=100), log)

"""What can be tuned of an arm: legal values of what shows in the periods at hand, and of nothing that the arm fixed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkb.bases import KNOWLEDGE_BASES
from pkb.space import Between, spaces
from simulator.contender.models import MODELS
from simulator.contender.settings import ArmSettings, CompressSettings
from simulator.plays import play_of, recipe_of
from simulator.policies import POLICIES
from simulator.settings import Settings, load, to_yaml
from simulator.stream.log import Log
from simulator.train.settings import TrainSettings
from simulator.tune.space import space_of, values_of, with_values
from tests.simulator.tiny import tiny_log, tiny_settings

SECTIONS = {
    "train": TrainSettings,
    "compress": CompressSettings,
    **{f"backbones.{name}": model.Settings for name, model in MODELS.items()},
    **{f"knowledge.{name}": base.Settings for name, base in KNOWLEDGE_BASES.items()},
    **{f"policies.{name}": policy.Settings for name, policy in POLICIES.items()},
}
STEPS = {"train.learning_rate", "train.embedding_learning_rate", "train.batch_size"}
COMPRESSION = {"compress.learning_rate", "compress.epochs"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=6, rows=50)


def tuned_of(log: Log, arm: ArmSettings, periods: int = 4) -> set[str]:
    settings = tiny_settings(log.folder, arms={"arm": arm})
    return set(space_of(recipe_of(settings, "arm", 0), play_of(settings), log.first(periods)))


@pytest.mark.parametrize("name", SECTIONS)
def test_every_declared_value_is_one_that_a_user_could_write(name: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("arms:\n  finetune: {}\n")
    for key, space in spaces(SECTIONS[name]).items():
        for value in (space.low, space.high) if isinstance(space, Between) else space.values:
            settings: Any = load(config, [f"{name}.{key}={value}"])
            for part in (*name.split("."), key):
                settings = getattr(settings, part)
            assert settings == value
            assert space.holds(value)


def test_every_kind_of_arm_has_something_to_tune(log: Log) -> None:
    counts = {"popularity", "logistic"}  # they learn all that they can in one way
    for backbone in MODELS.keys() - counts:
        assert tuned_of(log, ArmSettings(backbone=backbone)), backbone
    assert not any(tuned_of(log, ArmSettings(backbone=backbone)) for backbone in counts)


def test_declared_spaces_leave_the_settings_as_they_were_written(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(to_yaml(settings))
    assert load(config) == settings


def test_an_arm_is_tuned_in_what_decides_what_it_learns(log: Log) -> None:
    assert tuned_of(log, ArmSettings()) == {*STEPS, "backbone.dropout"}
    assert tuned_of(log, ArmSettings(policy="replay")) == {*STEPS, "backbone.dropout", "policy.ratio"}
    edk = tuned_of(log, ArmSettings(knowledge="edk"))
    assert edk == {*STEPS, *COMPRESSION, "backbone.dropout", "base.lambda1"}
    assert tuned_of(log, ArmSettings(knowledge="rok")) > {*COMPRESSION, "base.alpha", "teacher.dropout"}
    assert not tuned_of(log, ArmSettings(backbone="gbdt")) & STEPS, "it takes no steps"


def test_what_an_arm_fixes_itself_and_what_nothing_depends_on_is_not_tuned(log: Log) -> None:
    assert "base.alpha" not in tuned_of(log, ArmSettings(knowledge="rok", options={"alpha": 0.5}))
    assert tuned_of(log, ArmSettings(backbone_options={"dropout": 0.1})) == STEPS
    warm = ArmSettings(knowledge="edk", plug="hidden", plug_from=4)  # beyond the periods that it is tuned on
    for arm in (ArmSettings(knowledge="edk", control="untrained"), ArmSettings(knowledge="novelty"), warm):
        assert tuned_of(log, arm) == {*STEPS, "backbone.dropout"}


def test_what_shows_in_no_prediction_of_the_tuning_periods_is_not_tuned(log: Log) -> None:
    """A base compresses a period once another has been learned; one that learns from neighbours skips the first."""
    edk, rok = ArmSettings(knowledge="edk"), ArmSettings(knowledge="rok")
    assert [bool(tuned_of(log, edk, periods) & COMPRESSION) for periods in (2, 3, 4)] == [False, True, True]
    assert [bool(tuned_of(log, rok, periods) & COMPRESSION) for periods in (2, 3, 4)] == [False, False, True]
    replay = ArmSettings(policy="replay")
    assert ["policy.ratio" in tuned_of(log, replay, periods) for periods in (2, 3)] == [False, True]


def test_values_go_into_a_recipe_and_come_out_again(tmp_path: Path) -> None:
    settings: Settings = replace(tiny_settings(tmp_path), arms={"edk": ArmSettings(knowledge="edk")})
    recipe = recipe_of(settings, "edk", 0)
    values = {"train.batch_size": 64, "backbone.dropout": 0.25, "base.lambda1": 0.1, "compress.epochs": 3}
    tried = with_values(recipe, values)
    assert values_of(tried, values) == values
    assert with_values(tried, values_of(recipe, values)) == recipe
    assert (tried.train.batch_size, tried.compress.epochs, tried.base.lambda1) == (64, 3, 0.1)

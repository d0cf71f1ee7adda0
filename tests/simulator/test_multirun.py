from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pkb.errors import SettingError
from simulator import run
from simulator.multirun import combinations, multirun
from simulator.report import commands
from simulator.settings import Settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "one.yaml"
    file.write_text("name: one\narms:\n  finetune: {backbone: deepfm}\n")
    return file


def names(config: Path, *overrides: str) -> list[str]:
    return [settings.name for settings in combinations(config, overrides)]


def test_every_combination_is_an_experiment_with_a_name_of_its_own(config: Path) -> None:
    experiments = combinations(
        config, ["train.learning_rate=1e-3,3e-3", "name=two", "arms.finetune.backbone=choice(lr,fm)", "seeds=[1,2]"]
    )
    assert [(e.name, e.train.learning_rate, e.arms["finetune"].backbone) for e in experiments] == [
        ("two-learning_rate_0.001-backbone_lr", 0.001, "lr"),
        ("two-learning_rate_0.001-backbone_fm", 0.001, "fm"),
        ("two-learning_rate_0.003-backbone_lr", 0.003, "lr"),
        ("two-learning_rate_0.003-backbone_fm", 0.003, "fm"),
    ]
    assert all(e.seeds == [1, 2] for e in experiments)


def test_names_are_fit_for_folders(config: Path) -> None:
    assert names(config, "stream.root=/a/b,'c d'") == ["one-root_a_b", "one-root_c_d"]
    assert names(config, "train.epochs=range(1,3)", "compress.epochs=1,2") == [
        f"one-train.epochs_{train}-compress.epochs_{compress}" for train in (1, 2) for compress in (1, 2)
    ]
    assert names(config, "seeds=[1],[2,3]") == ["one-seeds_1", "one-seeds_2_3"]
    assert names(config, "name=a,b") == ["a", "b"]
    assert names(config, "train.epochs=3") == ["one"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epochs=1,x", "train.epochs='x': must be of type int"),
        ("train.epoch=1,2", "did you mean train.epochs?"),
        ("train.epochs=1,1", "2 runs would be named one-epochs_1"),
        ("train.learning_rate=interval(0,1)", "list the values"),
    ],
)
def test_what_cannot_be_played_is_one_line_before_the_first_run(config: Path, override: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        combinations(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_runs_are_played_one_after_another_and_compared(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def play(settings: Settings, console: Console, address: str | None) -> Path:
        seen.append((settings.name, address))
        return Path("runs") / settings.name

    monkeypatch.setattr(run, "run", play)
    monkeypatch.setattr(commands, "compare_runs", lambda folders, console: seen.append(folders))
    multirun(config, ["train.epochs=1,2"], Console(), "auto")
    folders = [Path("runs/one-epochs_1"), Path("runs/one-epochs_2")]
    assert seen == [("one-epochs_1", "auto"), ("one-epochs_2", "auto"), folders]

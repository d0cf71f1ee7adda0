"""How trials are dealt out to arms, without anybody who plays them."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from simulator.contender.settings import ArmSettings
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.record.tuning import read_tuning
from simulator.tune.settings import TuneSettings
from simulator.tune.tuning import Search
from tests.simulator.tiny import tiny_log, tiny_settings

ARMS = {"finetune": ArmSettings(), "replay": ArmSettings(policy="replay"), "gbdt": ArmSettings(backbone="gbdt")}
TRIALS = 7


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    return folder


def searching(run: RunFolder, told: list[str]) -> Search:
    log = tiny_log(run.path.parent / "log", rows=50)
    play = play_of(tiny_settings(run.path.parent, arms=ARMS))
    return Search(TuneSettings(periods=3, trials=TRIALS), play, log.first(3), run, told.append)


def come_to(config: dict[str, Any]) -> dict[str, Any]:
    """What playing a trial gives; a batch of 64 rows diverges."""
    values = config["values"]
    diverged = values.get("train.batch_size") == 64
    auc = None if diverged else 0.6 + values.get("train.learning_rate", values.get("backbone.learning_rate"))
    return {"auc": auc, "reason": "it diverged" if diverged else None, "seconds": 1.0, "error": None}


def play_all(search: Search, at_once: int, most: int = 1000, seed: int = 0) -> None:
    """Play what is suggested, so many at once, which end in any order; be killed once `most` have begun."""
    playing: dict[str, dict[str, Any]] = {}
    draw, begun = Random(seed), 0
    while True:
        while len(playing) < at_once and begun < most:
            suggested = search.suggest(f"trial-{begun}")
            if suggested is None or suggested == "FINISHED":
                break
            assert isinstance(suggested, dict)
            assert suggested["arm"] not in {config["arm"] for config in playing.values()}
            playing[f"trial-{begun}"] = suggested
            begun += 1
        if not playing or begun == most:
            return
        name = draw.choice(sorted(playing))
        search.on_trial_complete(name, come_to(playing.pop(name)))


def test_every_arm_gets_as_many_trials_and_the_same_ones_however_many_play_at_once(run: RunFolder) -> None:
    told: list[str] = []
    search = searching(run, told)
    assert search.left == len(ARMS) * TRIALS
    play_all(search, 1)
    assert search.suggest("another") == "FINISHED"
    for arm in ARMS:
        assert [trial.number for trial in search.tuning.of(arm)] == list(range(TRIALS))
    assert len(told) == len(ARMS) * TRIALS
    assert told[0] == "tuning finetune: trial 1 of 7, AUC 0.6100"
    alone = read_tuning(run)
    assert alone == search.tuning
    run.tuning.unlink()
    together = searching(run, told)
    play_all(together, 3)
    assert together.tuning == alone


def test_the_first_trial_of_an_arm_has_its_settings_as_they_are(run: RunFolder) -> None:
    search = searching(run, [])
    play_all(search, 2)
    first = search.tuning.of("finetune")[0]
    assert first.values["train.learning_rate"] == 0.01
    assert first.values["train.batch_size"] == 128
    assert {trial.values["train.batch_size"] for trial in search.tuning.of("finetune")} != {128}
    diverged = [trial for trial in search.tuning.ended if trial.values.get("train.batch_size") == 64]
    assert all((trial.auc, trial.reason) == (None, "it diverged") for trial in diverged)


def test_a_tuning_that_was_killed_goes_on_with_the_trials_that_have_not_ended(run: RunFolder) -> None:
    whole = searching(run, [])
    play_all(whole, 2)
    run.tuning.unlink()
    for most in (2, 4, 9):
        play_all(searching(run, []), 2, most=most, seed=most)
    rest = searching(run, [])
    assert 0 < rest.left < len(ARMS) * TRIALS
    play_all(rest, 3)
    assert rest.tuning == whole.tuning


def test_a_trial_that_fails_ends_the_tuning_and_is_tried_again_by_the_next_start(run: RunFolder) -> None:
    search = searching(run, [])
    suggested = search.suggest("one")
    assert isinstance(suggested, dict)
    search.on_trial_complete("one", {"auc": None, "error": "din needs a history"})
    assert (search.failed, search.reason) == (True, "din needs a history")
    assert search.suggest("two") == "FINISHED"
    again = searching(run, []).suggest("one")
    assert again == suggested


def test_a_trial_whose_process_died_is_played_again_but_not_for_ever(run: RunFolder) -> None:
    search = searching(run, [])
    suggested = search.suggest("0")
    for death in range(4):
        assert not search.failed
        search.on_trial_complete(str(death), error=True)
        if death < 3:
            assert search.suggest(str(death + 1)) == suggested
    assert search.failed, "train.max_failures is 3"
    assert search.suggest("another") == "FINISHED"


def test_who_asks_waits_as_long_as_a_last_trial_may_have_to_be_played_again(run: RunFolder) -> None:
    search = searching(run, [])
    play_all(search, 1, most=len(ARMS) * TRIALS)
    [(last, _)] = search.playing.items()
    assert search.left == 0
    assert search.suggest("another") is None
    search.on_trial_complete(last, error=True)
    assert isinstance(search.suggest("another"), dict)

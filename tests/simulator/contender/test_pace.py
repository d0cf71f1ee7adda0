"""A lesson's minibatch and passes follow the log where the settings leave them to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Batch, concatenate
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.pace import LARGEST, MOST_PASSES, NEWEST, SMALLEST, STEPS, TELLING, Gains, batch_size, newest
from simulator.contender.settings import ArmSettings
from simulator.plays import recipe_of
from simulator.stream.log import Log
from tests.simulator.tiny import tiny_log, tiny_settings


@given(st.integers(1, 10**8))
def test_a_pass_has_steps_enough_unless_its_rows_are_too_few_or_too_many(rows: int) -> None:
    size = batch_size(0, rows)
    assert size & (size - 1) == 0
    assert SMALLEST <= size <= LARGEST
    if SMALLEST < size < LARGEST:
        assert STEPS <= rows / size < 2 * STEPS
    assert batch_size(100, rows) == 100


def some_rows(ts: list[int], label: list[int]) -> Batch:
    n = len(ts)
    return Batch(
        row_id=torch.arange(n),
        ids_BF=torch.zeros(n, 2, dtype=torch.int32),
        label=torch.tensor(label, dtype=torch.float32),
        ts=torch.tensor(ts),
    )


@given(st.integers(400, 800), st.integers(1, 9))
def test_the_newest_rows_of_the_period_tell_and_those_of_one_second_stay_together(rows: int, at_once: int) -> None:
    before = 100  # rows of an earlier period, such as those that are replayed
    ts = [*range(before), *(1000 + i // at_once for i in range(rows))]
    late = newest(some_rows(ts, [i % 2 for i in range(len(ts))]), 1000)
    assert late is not None
    assert not late[:before].any()
    assert abs(int(late.sum()) - NEWEST * rows) <= at_once + 1
    seconds = torch.tensor(ts)
    assert not set(seconds[late].tolist()) & set(seconds[~late].tolist())


@pytest.mark.parametrize("label", [0, 1])
def test_rows_of_too_few_clicks_or_of_clicks_alone_tell_nothing(label: int) -> None:
    labels = [1 - label] * 800 + [label] * 200
    assert newest(some_rows(list(range(1000)), labels), 0) is None
    labels[-TELLING:] = [1 - label] * TELLING
    assert newest(some_rows(list(range(1000)), labels), 0) is not None


def test_a_pass_pays_if_it_gains_more_than_chance() -> None:
    draw = np.random.default_rng(0)
    label = (draw.random(2000) < 0.3).astype(np.float32)
    gains = Gains(some_rows(list(range(2000)), label.astype(int).tolist()))
    first = np.full(2000, 0.3)
    assert gains.more(first)
    assert not gains.more(first)
    assert not gains.more(np.clip(first + draw.normal(scale=0.02, size=2000), 0, 1)), "noise"
    assert gains.more(np.clip(first + 0.05 * (label - 0.3), 0, 1))
    assert not gains.more(1 - label), "as sure as can be, and wrong"


# So that one pass is not enough, and a second one pays.
SLOWLY: dict[str, Any] = {"learning_rate": 3e-4, "embedding_learning_rate": 0.03}


def lessons(tmp_path: Path, log: Log, epochs: int, policy: str = "finetune") -> tuple[Contender, list[list[int]]]:
    """A contender that has learned all periods, and the ids of the rows of each in the order it learned them."""
    settings = tiny_settings(tmp_path, arms={"one": ArmSettings(policy=policy)})
    settings = replace(settings, train=replace(settings.train, **SLOWLY, batch_size=0, epochs=epochs))
    contender, learned = Contender(recipe_of(settings, "one", 0), log.schema), list[list[int]]()
    for period in log.periods:
        learned.append([])
        window, ledger = range(period.index, period.index + 1), lambda ids: learned[-1].extend(ids.tolist())
        learn(
            contender, period, window, lambda some: concatenate([log.read(log.periods[i]) for i in some]), ledger=ledger
        )
    return contender, learned


def test_a_model_that_starts_makes_as_many_passes_as_pay_and_one_that_goes_on_makes_one(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=2, rows=1200)
    contender, (first, second) = lessons(tmp_path, log, 0)
    passes = contender.passes_at_first
    assert passes is not None
    assert 1 < passes <= MOST_PASSES
    for learned, period, times in ((first, log.periods[0], passes), (second, log.periods[1], 1)):
        assert sorted(learned) == sorted(log.read(period).row_id.tolist() * times)


def test_whoever_starts_afresh_makes_the_passes_that_paid_when_it_first_did(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=2, rows=1200)
    contender, (first, second) = lessons(tmp_path, log, 0, "retrain_all")
    assert contender.passes_at_first == len(first) // 1200 == len(second) // 2400


def test_what_a_model_learned_to_find_the_passes_is_forgotten(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=1, rows=1200)
    found, _ = lessons(tmp_path, log, 0)
    assert found.passes_at_first is not None
    asked, _ = lessons(tmp_path, log, found.passes_at_first)
    rows = log.read(log.periods[0])
    assert np.array_equal(found.predict(rows), asked.predict(rows))


def test_as_many_passes_are_made_as_the_settings_say(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=2, rows=600)
    contender, learned = lessons(tmp_path, log, 3)
    assert [len(rows) for rows in learned] == [1800, 1800]
    assert contender.lesson is not None
    assert (contender.lesson.passes, contender.lesson.rows) == (3, 600)


def test_a_model_starts_at_the_click_rate_of_its_first_rows(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=1, rows=600)
    contender, rows = Contender(recipe_of(tiny_settings(tmp_path), "finetune", 0), log.schema), log.read(log.periods[0])
    assert np.allclose(contender.predict(rows).mean(), 0.5, atol=0.02)
    for label in (torch.arange(600) < 12, torch.zeros(600)):
        contender.model.start_at(label.float())
        assert np.allclose(contender.predict(rows).mean(), (float(label.sum()) + 1) / 602, rtol=0.1)

"""A lesson's minibatch and passes follow the log where the settings leave them to it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Batch
from simulator.contender import pace
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.pace import (
    LARGEST,
    NEWEST,
    SMALLEST,
    STEPS,
    TELLING,
    Likelihood,
    ValidationAUC,
    batch_size,
    newest,
)
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
    judge = Likelihood(some_rows(list(range(2000)), label.astype(int).tolist()))
    first = np.full(2000, 0.3)
    assert judge.improved(first)
    assert not judge.improved(first)
    assert not judge.improved(np.clip(first + draw.normal(scale=0.02, size=2000), 0, 1)), "noise"
    assert judge.improved(np.clip(first + 0.05 * (label - 0.3), 0, 1))
    assert not judge.improved(1 - label), "as sure as can be, and wrong"


def test_an_undefined_validation_auc_is_no_progress() -> None:
    judge = ValidationAUC(some_rows([0, 1], [1, 1]))
    assert not judge.improved(np.array([0.5, 0.5]))
    judge = ValidationAUC(some_rows([0, 1, 2], [0, 1, 0]))
    assert [judge.improved(np.array(p)) for p in ([0.1, 0.2, 0.3], [0.1, 0.3, 0.2], [0.1, 0.3, 0.2])] == [
        True,
        True,
        False,
    ]


def lesson(tmp_path: Path, log: Log, epochs: int) -> tuple[Contender, list[int]]:
    """A contender that has learned the first period, and the ids of the rows in the order it learned them."""
    settings = tiny_settings(tmp_path, arms={"finetune": ArmSettings()})
    settings = replace(settings, train=replace(settings.train, batch_size=0, epochs=epochs))
    contender, learned = Contender(recipe_of(settings, "finetune", 0), log.schema), list[int]()
    rows = log.read(log.periods[0])
    learn(contender, log.periods[0], range(1), lambda window: rows, ledger=lambda ids: learned.extend(ids.tolist()))
    return contender, learned


def test_every_row_is_learned_as_often_as_the_newest_and_these_last(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=1, rows=1200)
    contender, learned = lesson(tmp_path, log, 0)
    rows, told = log.read(log.periods[0]), contender.lesson
    assert told is not None
    late = newest(rows, log.periods[0].start)
    assert late is not None
    last = set(rows.row_id[late].tolist())
    assert set(learned) == set(rows.row_id.tolist())
    assert set(learned[-len(last) * told.passes :]) == last
    assert learned.count(next(iter(last))) == told.passes
    assert 1 <= told.passes <= pace.MOST_PASSES


def test_as_many_passes_are_made_as_the_settings_say(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log", periods=1, rows=1200)
    contender, learned = lesson(tmp_path, log, 3)
    assert contender.lesson is not None
    assert (contender.lesson.passes, contender.lesson.rows) == (3, len(learned) // 3)

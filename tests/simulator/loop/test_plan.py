from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pkb.batch import Batch
from pkb.errors import SettingError
from simulator.loop.past import Past
from simulator.loop.plan import Plan, plan
from simulator.plays import play_of
from simulator.record.layout import RunFolder
from simulator.settings import Settings
from simulator.stream.log import Log
from simulator.stream.protocol import TEST, VALIDATION
from simulator.stream.settings import StreamSettings
from tests.simulator.tiny import DAY, contender_of, tiny_log, tiny_settings


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def streaming(folder: Path, **stream: Any) -> Settings:
    settings = tiny_settings(folder)
    return replace(settings, stream=replace(settings.stream, **stream))


def known(past: Past, settings: Settings, periods: range) -> Batch:
    return past.known(contender_of(settings, "finetune"), periods)


def plans(settings: Settings, log: Log) -> list[Plan]:
    return [plan(settings.stream, settings.compress, log.periods, p.index) for p in log.periods]


def at(log: Log, settings: Settings, period: int) -> Past:
    past = Past(log, play_of(settings), RunFolder(Path(settings.runs)), [contender_of(settings, "finetune")], period)
    past.arrive(log.periods[period], log.read(log.periods[period]))
    return past


def test_a_stream_predicts_and_learns_every_period_and_compresses_the_one_before(tmp_path: Path, log: Log) -> None:
    made = plans(streaming(tmp_path), log)
    assert [p.predict for p in made] == [True] * 4
    assert [list(p.learn) for p in made] == [[0], [1], [2], [3]]
    assert [list(p.old) for p in made] == [[], [0], [0, 1], [0, 1, 2]]
    assert [list(p.found) for p in made] == [[], [], [1], [1, 2]]


def test_knowledge_can_be_refreshed_less_often_than_the_backbone(tmp_path: Path, log: Log) -> None:
    settings = streaming(tmp_path)
    seldom = replace(settings, compress=replace(settings.compress, every=2))
    assert [list(p.old) for p in plans(seldom, log)] == [[], [], [0, 1], []]
    assert [list(p.learn) for p in plans(seldom, log)] == [[0], [1], [2], [3]]


def test_a_sliding_window_spans_the_latest_periods_and_moves_on_by_one(tmp_path: Path, log: Log) -> None:
    assert [list(p.learn) for p in plans(streaming(tmp_path, window=3), log)] == [[0], [0, 1], [0, 1, 2], [1, 2, 3]]


def test_nothing_is_compressed_before_its_labels_have_arrived(tmp_path: Path, log: Log) -> None:
    assert [list(p.old) for p in plans(streaming(tmp_path, label_delay="1h"), log)] == [[], [], [0], [0, 1]]


def test_a_split_learns_the_training_period_once_and_predicts_the_test_period_alone(tmp_path: Path, log: Log) -> None:
    made = plans(streaming(tmp_path, protocol="split"), log)
    assert [p.predict for p in made] == [False, False, False, True]
    assert [(list(p.old), list(p.learn), p.stop_by) for p in made[:VALIDATION]] == [([], [], None)] * 2
    assert (list(made[VALIDATION].old), list(made[VALIDATION].learn)) == ([0], [1])
    assert made[VALIDATION].stop_by == VALIDATION
    assert not made[TEST].learn


def test_without_a_delay_a_lesson_is_the_period_less_its_holdout(tmp_path: Path, log: Log) -> None:
    past = at(log, streaming(tmp_path), 2)
    rows = known(past, streaming(tmp_path), range(2, 3))
    held = past.holdouts[2].rows
    assert sorted([*rows.row_id.tolist(), *held.row_id.tolist()]) == list(range(1200, 1800))


@pytest.mark.parametrize("delay", ["1h", "1d", "36h", "3d"])
def test_each_row_is_learned_in_the_period_in_which_its_label_arrives(tmp_path: Path, log: Log, delay: str) -> None:
    settings = streaming(tmp_path, label_delay=delay)
    seconds = settings.stream.label_delay_seconds
    assert seconds
    learned: list[int] = []
    for period in log.periods:
        rows = known(at(log, settings, period.index), settings, range(period.index, period.index + 1))
        assert rows.ts is not None
        arrival = rows.ts + seconds
        assert ((arrival >= period.start) & (arrival < period.end)).all()
        learned += rows.row_id.tolist()
    assert len(set(learned)) == len(learned)
    held = {int(r) for p in log.periods for r in at(log, settings, p.index).holdouts[p.index].rows.row_id}
    assert not held & set(learned)
    shown_early = {
        int(r) for p in log.periods for r, t in zip(*_row_and_time(log, p.index), strict=True) if t + seconds < 4 * DAY
    }
    assert set(learned) == shown_early - held


def _row_and_time(log: Log, period: int) -> tuple[list[int], list[int]]:
    rows = log.read(log.periods[period])
    assert rows.ts is not None
    return rows.row_id.tolist(), rows.ts.tolist()


def test_a_lesson_over_several_periods_holds_them_in_time_order(tmp_path: Path, log: Log) -> None:
    rows = known(at(log, streaming(tmp_path), 3), streaming(tmp_path), range(4))
    assert rows.row_id.tolist() == sorted(rows.row_id.tolist())
    assert rows.row_id[-1] >= 1800


def test_settings_refuse_a_delay_that_does_not_parse() -> None:
    assert StreamSettings(label_delay="6h").label_delay_seconds == 6 * 3600
    with pytest.raises(SettingError, match="label_delay=soon: write a number and m, h or d"):
        StreamSettings(label_delay="soon")

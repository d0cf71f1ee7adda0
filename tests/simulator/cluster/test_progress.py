"""A line for each group, and one time left for all of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from simulator.cluster.progress import Now, Teller, _left, _line


def now(period: int, arm: str = "edk-0", speed: float = 1234.4) -> Now:
    return Now(period=period, arm=arm, stage="learn", rows_per_second=speed)


def test_each_group_has_a_line_and_one_alone_is_not_numbered() -> None:
    assert _line(0, {0: now(2)}, 9) == "period 3/9: edk-0 learn, 1,234 rows/s"
    both = {0: now(2), 2: now(4, "rim-1", speed=0.0)}
    assert _line(0, both, 9) == "group 1/3, period 3/9: edk-0 learn, 1,234 rows/s"
    assert _line(2, both, 9) == "group 3/3, period 5/9: rim-1 learn"


def test_the_time_left_is_that_of_the_slowest_group_once_each_has_played_a_period() -> None:
    assert _left({0: now(0)}, {0: 0}, 10, 60.0) == ""
    assert _left({0: now(4), 1: now(1)}, {0: 0, 1: 1}, 10, 60.0) == "", "one of them has not"
    assert _left({0: now(5)}, {0: 0}, 10, 60.0) == ", 1:00 left"
    assert _left({0: now(8), 1: now(2)}, {0: 0, 1: 0}, 10, 60.0) == ", 4:00 left"
    assert _left({0: now(8), 1: now(8)}, {0: 6, 1: 7}, 10, 61.0) == ", 2:02 left", "since the period it started at"


def test_a_worker_tells_its_groups_speed_of_the_stage_at_hand_at_most_twice_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, told = [100.0], list[tuple[int, Now]]()
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    board = SimpleNamespace(tell=SimpleNamespace(remote=lambda group, news: told.append((group, news))))
    tell = Teller(board, 3)
    for later, stage, rows in ((0, "learn", 0), (0.3, "learn", 50), (0.3, "learn", 10), (0.6, "predict", 7)):
        clock[0] += later
        tell(period=1, arm="edk-0", stage=stage, rows=rows)
    assert [(group, news.doing) for group, news in told] == [
        (3, (1, "edk-0", "learn")),
        (3, (1, "edk-0", "learn")),
        (3, (1, "edk-0", "predict")),
    ]
    assert told[1][1].rows_per_second == pytest.approx(100)

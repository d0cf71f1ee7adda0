"""What the run is doing now: a line for each group with period, arm, stage and rows/s, and the time left for all.

The workers tell a small actor; the driver asks it and draws the lines (a terminal), or prints those that changed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from rich.console import Console
from rich.status import Status

EVERY_SECONDS = 0.5  # a worker tells, and the driver asks


@dataclass(frozen=True, kw_only=True)
class Now:
    """The latest that a group told."""

    period: int
    arm: str
    stage: str
    rows_per_second: float

    @property
    def doing(self) -> tuple[int, str, str]:
        return self.period, self.arm, self.stage


@ray.remote(num_cpus=0)
class Board:
    """Holds the latest news of each group."""

    def __init__(self) -> None:
        self.now: dict[int, Now] = {}

    def tell(self, group: int, now: Now) -> None:
        self.now[group] = now

    def read(self) -> dict[int, Now]:
        return self.now


class Teller:
    """Called by the loop as `tell(period=, arm=, stage=, rows=)`; sends to the board every so often."""

    def __init__(self, board: Any, group: int) -> None:
        self.board, self.group = board, group
        self.doing: tuple[int, str, str] | None = None
        self.started = self.sent = 0.0
        self.rows = 0

    def __call__(self, *, period: int, arm: str, stage: str, rows: int) -> None:
        now, doing = time.monotonic(), (period, arm, stage)
        if doing != self.doing:
            self.doing, self.started, self.rows = doing, now, 0
        self.rows += rows
        if now - self.sent > EVERY_SECONDS:
            self.sent = now
            speed = self.rows / max(now - self.started, 1e-9)
            news = Now(period=period, arm=arm, stage=stage, rows_per_second=speed)
            self.board.tell.remote(self.group, news)


@contextmanager
def shown(board: Any, console: Console, periods: int) -> Iterator[None]:
    """Draw the board on `console` while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=_draw, args=(board, console, periods, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=5)


def _draw(board: Any, console: Console, periods: int, stop: threading.Event) -> None:
    started = time.monotonic()
    first: dict[int, int] = {}  # period in which each group was first seen
    latest: dict[int, Now] = {}
    status = Status("starting the worker groups", console=console) if console.is_terminal else None
    if status:
        status.start()
    try:
        while not stop.wait(EVERY_SECONDS):
            try:
                now: dict[int, Now] = ray.get(board.read.remote(), timeout=5)
            except Exception:  # the display must never take the run down with it
                continue
            if not now:
                started = time.monotonic()
                continue
            first |= {group: news.period for group, news in now.items() if group not in first}
            left = _left(now, first, periods, time.monotonic() - started)
            if status:
                status.update("\n".join(_line(group, now, periods) for group in sorted(now)) + left)
            for group, news in now.items() if not status else ():
                if group not in latest or news.doing != latest[group].doing:
                    console.print(_line(group, now, periods) + left, highlight=False)
            latest = now
    finally:
        if status:
            status.stop()


def _left(now: dict[int, Now], first: dict[int, int], periods: int, elapsed: float) -> str:
    """Tell how long the slowest group will still take, once each has played a period."""
    if any(news.period == first[group] for group, news in now.items()):
        return ""
    slowest = max((periods - news.period) / (news.period - first[group]) for group, news in now.items())
    return f", {_minutes(elapsed * slowest)} left"


def _line(group: int, now: dict[int, Now], periods: int) -> str:
    news = now[group]
    who = f"group {group + 1}/{max(now) + 1}, " if len(now) > 1 else ""
    speed = f", {news.rows_per_second:,.0f} rows/s" if news.rows_per_second else ""
    return f"{who}period {news.period + 1}/{periods}: {news.arm} {news.stage}{speed}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

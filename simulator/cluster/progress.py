"""What the run is doing now: period, arm, stage, rows/s and time left.

The workers tell a small actor; the driver asks it and draws one line (a terminal), or prints plain lines.
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


@dataclass(frozen=True, kw_only=True)
class Now:
    """The latest that a worker told."""

    period: int
    arm: str
    stage: str
    rows_per_second: float


@ray.remote(num_cpus=0)
class Board:
    """Holds the latest news of the workers."""

    def __init__(self) -> None:
        self.now: Now | None = None

    def tell(self, now: Now) -> None:
        self.now = now

    def read(self) -> Now | None:
        return self.now


class Teller:
    """Called by the loop as `tell(period=, arm=, stage=, rows=)`; sends to the board at most twice a second."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self.doing: tuple[int, str, str] | None = None
        self.started = self.sent = 0.0
        self.rows = 0

    def __call__(self, *, period: int, arm: str, stage: str, rows: int) -> None:
        now, doing = time.monotonic(), (period, arm, stage)
        if doing != self.doing:
            self.doing, self.started, self.rows = doing, now, 0
        self.rows += rows
        if now - self.sent > 0.5:
            self.sent = now
            speed = self.rows / max(now - self.started, 1e-9)
            self.board.tell.remote(Now(period=period, arm=arm, stage=stage, rows_per_second=speed))


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
    first: int | None = None
    latest: Now | None = None
    line = ""
    status = Status("starting the worker group", console=console) if console.is_terminal else None
    if status:
        status.start()
    try:
        while not stop.wait(0.5):
            try:
                now: Now | None = ray.get(board.read.remote(), timeout=5)
            except Exception:  # the display must never take the run down with it
                continue
            if now is None:
                started = time.monotonic()
                continue
            first = now.period if first is None else first
            line = _line(now, periods, first, time.monotonic() - started)
            if status:
                status.update(line)
            elif latest is None or (now.period, now.arm, now.stage) != (
                latest.period,
                latest.arm,
                latest.stage,
            ):
                console.print(line, highlight=False)
            latest = now
    finally:
        if status:
            status.stop()


def _line(now: Now, periods: int, first: int, elapsed: float) -> str:
    done = now.period - first
    left = f", {_minutes(elapsed / done * (periods - now.period))} left" if done else ""
    speed = f", {now.rows_per_second:,.0f} rows/s" if now.rows_per_second else ""
    return f"period {now.period + 1}/{periods}: {now.arm} {now.stage}{speed}{left}"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

"""What each period asks of an arm, by protocol.

stream    every period: predict it, compress what has become old, learn it, measure all holdouts so far
split     the papers' four: pool, training, validation, test. The validation period compresses the pool and
          learns the training period, stopping by its own rows; the test period predicts. There are no holdouts.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.settings import Settings
from simulator.stream.log import Period

POOL, TRAINING, VALIDATION, TEST = range(4)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One period's work; a range of period numbers each, an empty one being nothing to do."""

    predict: bool
    joins_pool: bool  # whether later rows may find those of this period
    compress: range  # of these the arm compresses what it has not compressed yet
    imitate: range  # the same, of a knowledge base that imitates what rows find in the pool
    learn: range  # the window of a lesson
    stop_by: int | None = None  # period whose rows tell when to stop learning


def plan(settings: Settings, periods: tuple[Period, ...], now: int) -> Plan:
    """The plan of period number `now`."""
    if settings.stream.protocol == "split":
        learns = now == VALIDATION
        return Plan(
            predict=now == TEST,
            joins_pool=now == POOL,
            compress=range(POOL, POOL + 1) if learns else range(0),
            imitate=range(TRAINING, TRAINING + 1) if learns else range(0),
            learn=range(TRAINING, TRAINING + 1) if learns else range(0),
            stop_by=VALIDATION if learns else None,
        )
    delay, start = settings.stream.label_delay_seconds or 0, periods[now].start
    old = [p.index for p in periods[: max(0, now + 1 - settings.compress.lag)] if p.end + delay <= start]
    refreshed = len(old) if now % settings.compress.every == 0 else 0
    return Plan(
        predict=True,
        joins_pool=True,
        compress=range(refreshed),
        imitate=range(1, max(1, refreshed)),  # rows of the first period find nothing that could be imitated
        learn=range(max(0, now + 1 - settings.stream.window), now + 1),
    )


def last_prediction(settings: Settings, last: int) -> tuple[int, bool]:
    """Of the finished model for the last period: the period it is stored as trained through, and if for a holdout."""
    return (last - 1, False) if settings.stream.protocol == "split" else (last, True)


def holdout_share(settings: Settings) -> float:
    return 0.0 if settings.stream.protocol == "split" else settings.stream.holdout_share

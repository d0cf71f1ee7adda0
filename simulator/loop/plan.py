"""What each period asks of an arm, by protocol.

stream    every period: predict it, compress what has become old, learn it, measure all holdouts so far
split     the papers' four: pool, training, validation, test. The validation period compresses the pool and
          learns the training period, stopping by its own rows; the test period predicts. There are no holdouts.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.contender.settings import CompressSettings
from simulator.stream.log import Period
from simulator.stream.protocol import POOL, TEST, TRAINING, VALIDATION
from simulator.stream.settings import StreamSettings


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One period's work; a range of period numbers each, an empty one being nothing to do."""

    predict: bool
    old: range  # of these a base compresses what it has not compressed yet ...
    found: range  # ... or of these, if it learns from what rows find in the pool
    learn: range  # the window of a lesson
    stop_by: int | None = None  # period whose rows tell when to stop learning

    def to_compress(self, compresses: str) -> range:
        """Give the periods for a base that compresses `old` or `found` rows (`KnowledgeBase.compresses`)."""
        return self.old if compresses == "old" else self.found


PREDICT_ALONE = Plan(predict=True, old=range(0), found=range(0), learn=range(0))


def plan(stream: StreamSettings, compress: CompressSettings, periods: tuple[Period, ...], number: int) -> Plan:
    """Plan one period."""
    if stream.protocol == "split":
        learns = number == VALIDATION
        return Plan(
            predict=number == TEST,
            old=range(POOL, POOL + 1) if learns else range(0),
            found=range(TRAINING, TRAINING + 1) if learns else range(0),
            learn=range(TRAINING, TRAINING + 1) if learns else range(0),
            stop_by=VALIDATION if learns else None,
        )
    delay, start = stream.label_delay_seconds or 0, periods[number].start
    old = [p.index for p in periods[: max(0, number + 1 - compress.lag)] if p.end + delay <= start]
    refreshed = len(old) if number % compress.every == 0 else 0
    return Plan(
        predict=True,
        old=range(refreshed),
        found=range(1, max(1, refreshed)),  # rows of the first period find nothing
        learn=range(max(0, number + 1 - stream.window), number + 1),
    )

"""What the two protocols mean for rows: what is held out, and which predictions of the last period are stored."""

from __future__ import annotations

from simulator.stream.settings import StreamSettings

POOL, TRAINING, VALIDATION, TEST = range(4)  # the periods of a split


def holdout_share(stream: StreamSettings) -> float:
    """Give the share of each period's rows that nothing ever learns; a split has a test period instead."""
    return 0.0 if stream.protocol == "split" else stream.holdout_share


def joins_pool(stream: StreamSettings, period: int) -> bool:
    """Say whether later rows may find those of this period."""
    return stream.protocol == "stream" or period == POOL


def last_prediction(stream: StreamSettings, last: int) -> tuple[int, bool]:
    """Say how the finished model's predictions for the last period are stored: trained through, and if a holdout's."""
    return (last - 1, False) if stream.protocol == "split" else (last, True)

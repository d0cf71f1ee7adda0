"""When requests come: the world's clock, its hours and its parts of the day."""

from __future__ import annotations

import numpy as np

START = 1_641_168_000  # Monday 2022-01-03, 00:00 on the clock of stream.utc_offset_hours
HOLIDAY = 7  # in the place of the weekday, on a holiday
MEALS = ("breakfast", "lunch", "tea", "dinner", "night")
MEAL_OF_HOUR = np.array([4] * 5 + [0] * 5 + [1] * 4 + [2] * 3 + [3] * 4 + [4] * 3, dtype=np.int8)
HOUR_WEIGHT = np.array([1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 5, 9, 9, 6, 4, 4, 5, 9, 9, 7, 5, 4, 3, 2], dtype=float)


def times(quantiles: np.ndarray, width: int, period: int) -> np.ndarray:
    """Seconds of the local clock in a period, dense at meal times, at which these shares of its requests are past."""
    start = START // width * width + period * width
    hours = np.arange(start // 3600 * 3600, start + width, 3600)
    edges = np.unique(np.clip(np.append(hours, hours[-1] + 3600), start, start + width))
    weight = np.diff(edges) * HOUR_WEIGHT[edges[:-1] // 3600 % 24]
    share = np.concatenate([[0], np.cumsum(weight) / weight.sum()])
    found: np.ndarray = np.minimum(np.interp(quantiles, share, edges).astype(np.int64), start + width - 1)
    return found


def hour_of(time: np.ndarray) -> np.ndarray:
    return (time // 3600 % 24).astype(np.int32)


def weekday_of(time: np.ndarray) -> np.ndarray:
    """0 is Monday."""
    return ((time // 86400 + 3) % 7).astype(np.int32)


def at_work(time: np.ndarray) -> np.ndarray:
    hour = hour_of(time)
    return (weekday_of(time) < 5) & (hour >= 9) & (hour < 18)

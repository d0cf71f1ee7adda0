"""What users have clicked lately: histories are read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

REMEMBERED = 10  # clicks of a user
SPAN = 1 << 36  # seconds; more than any time of the world


@dataclass(frozen=True)
class Clicks:
    """Clicks by user, then time; clicks of one second by row."""

    key: np.ndarray  # user * SPAN + time
    item: np.ndarray

    @classmethod
    def none(cls) -> Self:
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    @property
    def time(self) -> np.ndarray:
        return self.key % SPAN

    def with_later(self, user: np.ndarray, time: np.ndarray, item: np.ndarray) -> Clicks:
        """These and later ones, given in order of time: a sort of the later ones and a merge."""
        key = user.astype(np.int64) * SPAN + time
        order = np.argsort(key, kind="stable")
        key = key[order]
        where = np.searchsorted(self.key, key, side="right")
        return Clicks(np.insert(self.key, where, key), np.insert(self.item, where, item[order]))

    def latest(self) -> Clicks:
        """The REMEMBERED latest of each user: those that are not the user's own REMEMBERED places further on."""
        user = self.key // SPAN
        keep = np.ones(len(user), dtype=bool)
        keep[:-REMEMBERED] = user[:-REMEMBERED] != user[REMEMBERED:]
        return Clicks(self.key[keep], self.item[keep])

    def before(self, user: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First place and number of each user's REMEMBERED latest clicks strictly before `time`."""
        start = user.astype(np.int64) * SPAN
        end = np.searchsorted(self.key, start + time)
        begin = np.maximum(np.searchsorted(self.key, start), end - REMEMBERED)
        return begin, end - begin


def places(begin: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The runs begin .. begin + count - 1 end to end: offsets [n + 1], and the flat places."""
    offsets = np.zeros(len(count) + 1, dtype=np.int32)
    np.cumsum(count, out=offsets[1:])
    return offsets, np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], count)

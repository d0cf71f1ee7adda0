"""The highest rate at which a bound is kept, by bisection on a grid of rates, each so much above the one before."""

from __future__ import annotations

import math


class Grid:
    """The rates (1 + step)^k, k a whole number: what is measured again is measured at equal rates."""

    def __init__(self, step: float) -> None:
        self.step = step

    def rate(self, place: int) -> float:
        return float((1 + self.step) ** place)

    def at_most(self, rate: float) -> int:
        """The place of the highest rate that is not above this one, but for rounding."""
        return math.floor(math.log(rate) / math.log1p(self.step) + 1e-9)


class Search:
    """Where to look next, in places of a grid; it takes the bound to be kept below a rate and not above it."""

    def __init__(self, start: int, least: int, most: int, stride: int) -> None:
        """From `start` on it goes up, or down, by `stride` until one place has kept the bound and one has not."""
        self.least, self.most, self.stride = least, most, stride
        self.highest_kept: int | None = None
        self.lowest_broken: int | None = None
        self._start = min(max(start, least), most)

    @property
    def next(self) -> int | None:
        """The next place to try; None at the end."""
        kept, broken = self.highest_kept, self.lowest_broken
        if kept is None and broken is None:
            return self._start
        if broken is None:
            assert kept is not None
            return None if kept == self.most else min(kept + self.stride, self.most)
        if kept is None:
            return None if broken == self.least else max(broken - self.stride, self.least)
        return None if broken - kept <= 1 else (kept + broken) // 2

    def tell(self, place: int, *, kept: bool) -> None:
        """Take note of what came out at the place that was asked for."""
        if kept:
            self.highest_kept = place
        else:
            self.lowest_broken = place

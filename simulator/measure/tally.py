"""Predictions counted by score: all that a metric needs to know of them that looks at no single row.

A tally is an accumulator: the tallies of parts, added in any order, are the tally of the whole, to the last bit (as
long as weights are whole numbers). Its memory is that of the distinct scores, and ties are never torn apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from simulator.measure.value import Value, one_class

Floats = NDArray[np.float64]


def sums(place: np.ndarray, values: np.ndarray, size: int) -> Floats:
    """Add up the values at each place: [size]; a place is a number below `size`."""
    return np.bincount(place, weights=values, minlength=size).astype(np.float64, copy=False)


def weighted(weight: Floats, values: np.ndarray) -> float:
    """Add up values by weight. BLAS would start threads for that, which wait for one another on a busy machine."""
    return float((weight * values).sum())


def edges(column: np.ndarray) -> np.ndarray:
    """Mark where a sorted column takes another value: [N] bool, the first row always."""
    marks = np.ones(len(column), dtype=bool)
    marks[1:] = column[1:] != column[:-1]
    return marks


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The weight of clicks and of other rows at each distinct score."""

    score: np.ndarray  # [S] ascending, of the type that scores came in
    clicks: Floats  # [S]
    others: Floats  # [S]

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray, weight: np.ndarray | None = None) -> Self:
        """Count rows with these labels (0 or 1) and finite scores; a weight of k counts as k rows."""
        clicked = label > 0
        weight = np.ones(len(label)) if weight is None else weight.astype(np.float64)
        return cls._counted(score, np.where(clicked, weight, 0.0), np.where(clicked, 0.0, weight))

    def __add__(self, other: Self) -> Self:
        pairs = ((self.score, other.score), (self.clicks, other.clicks), (self.others, other.others))
        return self._counted(*(np.concatenate(pair) for pair in pairs))

    @classmethod
    def _counted(cls, score: np.ndarray, clicks: np.ndarray, others: np.ndarray) -> Self:
        distinct, place = np.unique(score, return_inverse=True)
        size = len(distinct)
        return cls(
            score=distinct,
            clicks=sums(place, clicks, size),
            others=sums(place, others, size),
        )

    @cached_property
    def mass(self) -> Floats:
        """Weigh all rows at each score: [S]."""
        return self.clicks + self.others

    @cached_property
    def click_count(self) -> float:
        return float(self.clicks.sum())

    @cached_property
    def rows(self) -> float:
        return float(self.mass.sum())

    def one_class(self) -> Value | None:
        """Give the undefined value of a metric that needs both classes, where the rows do not hold both."""
        return one_class(self.click_count, self.rows)


@dataclass(frozen=True, kw_only=True)
class GroupedTally:
    """A tally within each group of rows (a user, a request): an accumulator like `Tally`."""

    group: np.ndarray  # [S] ascending
    score: np.ndarray  # [S] ascending within a group; a pair of group and score is there once
    clicks: Floats  # [S]
    others: Floats  # [S]

    @classmethod
    def of(cls, label: np.ndarray, score: np.ndarray, group: np.ndarray) -> Self:
        clicked = (label > 0).astype(np.float64)
        return cls._counted(group, score, clicked, 1 - clicked)

    def __add__(self, other: Self) -> Self:
        pairs = (
            *((self.group, other.group), (self.score, other.score)),
            *((self.clicks, other.clicks), (self.others, other.others)),
        )
        return self._counted(*(np.concatenate(pair) for pair in pairs))

    @classmethod
    def _counted(cls, group: np.ndarray, score: np.ndarray, clicks: np.ndarray, others: np.ndarray) -> Self:
        order = np.lexsort((score, group))
        group, score = group[order], score[order]
        first = edges(group) | edges(score)
        place, size = np.cumsum(first) - 1, int(np.count_nonzero(first))
        return cls(
            group=group[first],
            score=score[first],
            clicks=sums(place, clicks[order], size),
            others=sums(place, others[order], size),
        )

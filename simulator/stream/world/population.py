"""Who lives in a world: users, and places on the menu that items take one after another.

An item is a number: `generation * places + place`. Its place tells shop, brand, market and so on; a hash of the
number tells what is the item's own. So any number of items may follow each other without a table of all of them.

Shapes: U users, P places on the menu, N items in whatever order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

SEGMENTS = 4  # gender x VIP
THEMES = 12  # broad categories
SHOWN = 5  # items in a request
USER_EXPONENT, ITEM_EXPONENT = 0.6, 0.8  # of the Zipf laws


@dataclass(frozen=True, kw_only=True)
class Users:
    """Users by falling activity."""

    columns: dict[str, np.ndarray]  # [U] each: fields of the log
    market: np.ndarray  # [U] whose items are shown to the user
    segment: np.ndarray  # [U] 2 * gender + vip
    group: np.ndarray  # [U] of users who share a part of their taste
    places: np.ndarray  # [2, U] where the user is off work and at work

    @property
    def count(self) -> int:
        return len(self.market)

    @property
    def vip(self) -> np.ndarray:
        return self.segment % 2


@dataclass(frozen=True, kw_only=True)
class Menu:
    """Places on the menu by market, then by falling popularity."""

    columns: dict[str, np.ndarray]  # [P] each: fields of the log that follow from the place
    item_field: str  # the field that holds the item's number
    kind_field: str  # the field that holds its kind
    market: np.ndarray  # [P]
    markets: int
    shop: np.ndarray  # [P]
    brand: np.ndarray  # [P], -1 is none
    brands: int
    first_kind: np.ndarray  # [P]; an item's kind is this one or one of the next `kinds_of_place - 1`
    kinds_of_place: int
    theme_of_kind: np.ndarray  # [kinds]

    @property
    def places(self) -> int:
        return len(self.market)

    def kind(self, item: np.ndarray) -> np.ndarray:
        """[N]"""
        own = scrambled(item, 1) % np.uint64(self.kinds_of_place)
        kind: np.ndarray = self.first_kind[item % self.places] + own.astype(np.int32)
        return kind

    def own_quality(self, item: np.ndarray, salt: int) -> np.ndarray:
        """[N] standard normal."""
        uniform = ((scrambled(item, salt) >> np.uint64(11)).astype(np.float64) + 0.5) / 2**53
        normal: np.ndarray = ndtri(uniform).astype(np.float32)
        return normal

    def item_columns(self, item: np.ndarray) -> dict[str, np.ndarray]:
        """[N] each: all fields of the item."""
        return self.place_columns(item % self.places) | {self.item_field: item, self.kind_field: self.kind(item)}

    def place_columns(self, place: np.ndarray) -> dict[str, np.ndarray]:
        """[N] each: the fields that follow from the place."""
        return {name: values[place] for name, values in self.columns.items()}


def scrambled(number: np.ndarray, salt: int) -> np.ndarray:
    """64 well mixed bits of each number (the finaliser of SplitMix64)."""
    x = number.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def zipf_rank(uniform: np.ndarray, count: np.ndarray | int, exponent: float) -> np.ndarray:
    """Ranks 0 .. count - 1 whose density falls as (rank + 1)^-exponent, from numbers in [0, 1).

    Inverts the distribution function of x^-a on [1, count + 1) and rounds down, so there is no table to search.
    """
    power = 1 - exponent
    x = (1 + uniform * ((np.asarray(count) + 1.0) ** power - 1)) ** (1 / power)
    rank: np.ndarray = np.minimum(x.astype(np.int64) - 1, np.asarray(count) - 1)
    return rank


def zipf_share(count: int, exponent: float) -> np.ndarray:
    """[count] the probability of each rank that `zipf_rank` gives."""
    edges = np.arange(1, count + 2, dtype=float) ** (1 - exponent)
    share: np.ndarray = np.diff(edges) / (edges[-1] - edges[0])
    return share


def spread(rng: np.random.Generator, count: int, values: int, exponent: float = ITEM_EXPONENT) -> np.ndarray:
    """[count] of the numbers below `values`, by a Zipf law, in which each occurs if there is room."""
    drawn = zipf_rank(rng.random(count), values, exponent).astype(np.int32)
    drawn[: min(count, values)] = np.arange(min(count, values))
    return rng.permutation(drawn)


def shares(count: int, parts: int, least: int) -> np.ndarray:
    """[count] part of each, ascending: part k gets a share proportional to 1 / (k + 1), and `least` at least."""
    parts = max(1, min(parts, count // least))
    weight = 1 / np.arange(1, parts + 1)
    sizes = least + np.floor((count - parts * least) * weight / weight.sum()).astype(np.int64)
    sizes[0] += count - sizes.sum()
    return np.repeat(np.arange(parts, dtype=np.int32), sizes)


def grown(full: int, size: float, power: float) -> int:
    """How many of something there are in a world of relative `size`, if there are `full` in one of size 1."""
    return max(2, round(full * math.pow(size, power)))

"""The named parts of a world's drift, each with a strength of its own (docs/world.md has the formulas).

    wander       tastes take a step every period
    turnover     items retire, and others take their places
    regimes      meals, weekends and a season move what is liked; the season also has a menu of its own
    promotions   for a few periods VIPs click what some brands sell, and never again for that reason
    shifts       brands, kinds and what makes a kind liked change at one moment, and stay changed
    fashion      brands, kinds and what makes a kind liked take a step every period
    holidays     for a few periods segments like something else, long before they do so again
    label_noise  some labels are drawn regardless of the row

Parts that go by periods look at the number of the period only, so they are the same whatever follows.

Shapes: U users, G groups, P places, D width of a taste.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.stream.world.clock import MEALS
from simulator.stream.world.population import SEGMENTS, SHOWN, THEMES, Menu, Users
from simulator.stream.world_settings import DriftSettings

TASTE_WIDTH = 4
STEP = 0.08  # of a taste, or of a fashion, in a period, at strength 1
RETIRING = 0.06  # share of the items that retire in a period, at strength 1
SEASONAL = 0.2  # share of the menu that is there in season only, at strength 1
SEASON_EVERY, IN_SEASON = 5, (1, 2)  # periods: on in two, off in three
CYCLE = 8  # periods from one promotion, or shift, to the next
ON_PROMOTION, SHIFTED = (2, 3), 4  # periods of a cycle with a promotion; the one that a shift begins with
PROMOTED = 0.2  # share of the brands
PULL = 1.5  # of a promotion on the logit, at strength 1
HOLIDAYS_EVERY, ON_HOLIDAY = 9, (1, 2, 3)  # periods: on in three, off in six

Rng = Callable[..., np.random.Generator]  # of the world's seed and names


def in_season(period: int) -> bool:
    return period % SEASON_EVERY in IN_SEASON


def promotion_of(period: int) -> int | None:
    """The number of the promotion that runs in a period."""
    return period // CYCLE if period % CYCLE in ON_PROMOTION else None


def epoch_of(period: int) -> int:
    """How many shifts there were by a period."""
    return (period + CYCLE - SHIFTED) // CYCLE


def on_holiday(period: int) -> bool:
    return period % HOLIDAYS_EVERY in ON_HOLIDAY


def stays(strength: float) -> float:
    """The correlation with its value a period ago of what wanders."""
    return max(0.0, 1 - STEP * strength)


class Tastes:
    """Draw the tastes of users and of groups of users, which wander with the periods."""

    def __init__(self, users: Users, strength: float, spread: float, rng: Rng) -> None:
        self._stay = np.float32(stays(strength))
        self._step = np.sqrt(1 - self._stay**2)
        self._users, self._spread, self._rng = users, spread, rng
        start = rng("tastes")
        self._group = start.standard_normal((int(users.group.max()) + 1, TASTE_WIDTH), dtype=np.float32)
        self._own = start.standard_normal((users.count, TASTE_WIDTH), dtype=np.float32)

    def wander(self, period: int) -> None:
        """One step; a taste keeps its spread."""
        if self._step == 0:
            return
        rng = self._rng("wander", period)
        for taste in (self._group, self._own):
            taste *= self._stay
            taste += self._step * rng.standard_normal(taste.shape, dtype=np.float32)

    def of(self, user: np.ndarray) -> np.ndarray:
        """[R, D]"""
        taste: np.ndarray = 0.24 * self._group[self._users.group[user]] + self._spread * self._own[user]
        return taste


class Turnover:
    """Which item is at each place in a period.

    Place k has had floor(period * rate_k + start_k) changes, with rates that differ from place to place.
    """

    def __init__(self, places: int, strength: float, rng: np.random.Generator) -> None:
        self._rate = np.minimum(1, RETIRING * strength * rng.standard_exponential(places))
        self._start = rng.random(places)

    def items(self, period: int) -> np.ndarray:
        """[P]"""
        places = len(self._rate)
        return np.floor(period * self._rate + self._start).astype(np.int64) * places + np.arange(places)


class Occasions:
    """What an occasion (weekend, segment, meal, slot of the page) adds for a theme, and the season's menu."""

    def __init__(self, menu: Menu, slots: int, strength: float, rng: np.random.Generator) -> None:
        self._slots = slots
        shape = (2, SEGMENTS, len(MEALS), slots, THEMES)
        always = 0.4 * rng.normal(size=(1, SEGMENTS, 1, 1, THEMES))
        always = always + 0.3 * (slots > 1) * rng.normal(size=(1, 1, 1, slots, THEMES))
        meal = 0.4 * rng.normal(size=(1, 1, len(MEALS), 1, THEMES))
        meal = meal + 0.2 * rng.normal(size=(1, SEGMENTS, len(MEALS), 1, THEMES))
        weekend = np.zeros(shape)
        weekend[1] = 0.4 * rng.normal(size=(SEGMENTS, 1, 1, THEMES)) + 0.3 * rng.normal(size=(len(MEALS), 1, THEMES))
        season = 0.4 * rng.normal(size=(1, SEGMENTS, 1, 1, THEMES))
        self._out = (np.zeros(shape) + always + strength * (meal + weekend)).astype(np.float32)
        self._in = self._out + (strength * season).astype(np.float32)
        seasonal = rng.random(menu.places) < min(0.5, SEASONAL * strength)
        rank = np.arange(menu.places) - np.searchsorted(menu.market, menu.market)
        self._all_year = ~seasonal | (rank < SHOWN)

    def effects(self, period: int) -> np.ndarray:
        """[number of occasions * THEMES], to be read at `number * THEMES + theme`."""
        return (self._in if in_season(period) else self._out).reshape(-1)

    def number(self, weekend: np.ndarray, segment: np.ndarray, meal: np.ndarray, slot: np.ndarray) -> np.ndarray:
        """[R]"""
        number: np.ndarray = ((weekend * SEGMENTS + segment) * len(MEALS) + meal) * self._slots + slot
        return number

    def on_menu(self, period: int) -> np.ndarray:
        """[P] bool"""
        return np.ones_like(self._all_year) if in_season(period) else self._all_year


class Holidays:
    """What each segment makes of each theme on holidays, and on no other day.

    The mean over segments is taken off, so that the day by itself says nothing of a theme: who is to know a holiday
    must know what goes with whom on it.
    """

    def __init__(self, strength: float, rng: np.random.Generator) -> None:
        liked = rng.normal(size=(SEGMENTS, THEMES))
        self._effects = (strength * (liked - liked.mean(axis=0))).astype(np.float32)

    def effects(self, period: int) -> np.ndarray | None:
        """[SEGMENTS, THEMES]; None on other days, and where there are no holidays."""
        return self._effects if on_holiday(period) and self._effects.any() else None


class Fashion:
    """What brands, kinds and themes are worth, and what makes a kind liked, which wander with the periods."""

    def __init__(self, menu: Menu, strength: float, rng: Rng) -> None:
        self._stay = np.float32(stays(strength))
        self._step = np.sqrt(1 - self._stay**2)
        self._menu, self._rng = menu, rng
        self.present = drawn(menu, rng("attractions", 0))

    def move(self, period: int) -> None:
        """One step; an effect keeps its spread."""
        if self._step == 0:
            return
        new = drawn(self._menu, self._rng("fashion", period))
        self.present = [self._stay * old + self._step * each for old, each in zip(self.present, new, strict=True)]


def drawn(menu: Menu, source: np.random.Generator) -> list[np.ndarray]:
    """Standard normal effects of brands, kinds and themes, and what makes a kind liked."""
    kinds = len(menu.theme_of_kind)
    sizes = ((menu.brands + 1,), (kinds,), (THEMES,), (kinds, TASTE_WIDTH))
    return [source.standard_normal(size, dtype=np.float32) for size in sizes]


@dataclass(frozen=True, kw_only=True)
class Attractions:
    """What items are worth in a period, by shop, brand and kind."""

    shop: np.ndarray
    brand: np.ndarray  # the last stands for no brand
    kind: np.ndarray
    theme: np.ndarray
    taste_of_kind: np.ndarray  # [kinds, D]

    @classmethod
    def in_period(cls, menu: Menu, period: int, fashion: Fashion, strength: float, rng: Rng) -> Attractions:
        """Mix the effects that are in fashion with those of the present epoch, once there was a shift."""
        values = fashion.present
        if (epoch := epoch_of(period)) and strength:
            mixed, new = np.hypot(1, strength), drawn(menu, rng("attractions", epoch))
            values = [(old + strength * each) / mixed for old, each in zip(values, new, strict=True)]
        brand, kind, theme, taste = values
        shop = rng("shops").standard_normal(int(menu.shop.max()) + 1, dtype=np.float32)
        return cls(shop=0.2 * shop, brand=0.35 * brand, kind=0.35 * kind, theme=0.35 * theme, taste_of_kind=taste)

    def of_places(self, menu: Menu, item: np.ndarray, salt: int) -> np.ndarray:
        """[P, 1 + D]: the quality of the item at each place, its own by a hash with `salt`, and the taste it suits."""
        kind = menu.kind(item)
        quality = 0.25 * menu.own_quality(item, salt) + self.shop[menu.shop] + self.brand[menu.brand]
        quality = quality + self.kind[kind] + self.theme[menu.theme_of_kind[kind]]
        return np.column_stack([quality, self.taste_of_kind[kind]]).astype(np.float32)


def promoted_brands(menu: Menu, period: int, rng: Rng) -> np.ndarray | None:
    """[brands + 1] bool; None in a period without promotion. The last stands for no brand, which nobody promotes."""
    number = promotion_of(period)
    if number is None:
        return None
    promoted = np.zeros(menu.brands + 1, dtype=bool)
    some = max(1, round(PROMOTED * menu.brands))
    promoted[rng("promotion", number).choice(menu.brands, size=some, replace=False)] = True
    return promoted


def expected_generations(drift: DriftSettings) -> float:
    """Items that stand at a place in the eight days of the papers' logs, on average: 1 + 7 E[min(1, rate)]."""
    rate = RETIRING * drift.turnover
    return 1 + 7 * rate * (1 - math.exp(-1 / rate)) if rate else 1.0

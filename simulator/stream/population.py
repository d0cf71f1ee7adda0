"""Who lives in the synthetic world: users, dishes and what moves them (see `world.py`).

Shapes: U users, I dishes, D width of a taste.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.settings import WorldSettings

TASTE_WIDTH = 6
CITIES, DISTRICTS, AOIS, CELLS = 8, 5, 8, 3  # each number but the first is per unit of the one before
BRANDS, CATEGORIES, FOODS = 100, 12, 8  # foods are per category
SEGMENTS = 4  # gender x super VIP
MEALS = ("breakfast", "lunch", "tea", "dinner", "night")


@dataclass(frozen=True)
class Users:
    gender: np.ndarray  # [U] 0, 1, or -99 where unknown
    super_vip: np.ndarray  # [U] 0 or 1
    city: np.ndarray  # [U]
    places: np.ndarray  # [2, U] cell of home and of work
    segment: np.ndarray  # [U]
    habit: np.ndarray  # [U] logit
    often: np.ndarray  # [U] cumulative share of requests


@dataclass(frozen=True)
class Dishes:
    shop: np.ndarray  # [I], as all below
    brand: np.ndarray
    category: np.ndarray
    food: np.ndarray
    cell: np.ndarray  # its number tells area of interest, district and city
    quality: np.ndarray  # logit
    rank: np.ndarray  # by how often it is shown
    first: np.ndarray  # period in which it appears
    last: np.ndarray  # period after which it is gone

    @property
    def city(self) -> np.ndarray:
        return self.cell // (CELLS * AOIS * DISTRICTS)


@dataclass(frozen=True)
class Effects:
    taste_of_food: np.ndarray  # [foods, D]
    occasion: np.ndarray  # [2, SEGMENTS, CATEGORIES, meals] on weekdays and at weekends
    promoted: np.ndarray  # [brands + 1] bool; the last stands for no brand


def draw_users(settings: WorldSettings, rng: np.random.Generator) -> Users:
    count = settings.users
    gender, super_vip = rng.integers(2, size=count), (rng.random(count) < 0.25).astype(np.int64)
    city = _draw(rng, 1 / np.arange(1, CITIES + 1), count)
    often = np.cumsum(rng.permutation(zipf(count, 0.6)))
    return Users(
        gender=np.where(rng.random(count) < 0.1, -99, gender),
        super_vip=super_vip,
        city=city,
        places=city * 1000 + rng.integers(1000, size=(2, count)),
        segment=2 * gender + super_vip,
        habit=0.35 * rng.normal(size=count),
        often=often / often[-1],
    )


def draw_dishes(settings: WorldSettings, rng: np.random.Generator) -> Dishes:
    """Every city has shops, and the first dish of a shop neither comes nor goes."""
    count, shops = settings.items, max(CITIES, settings.items // 8)
    shop = np.arange(count) % shops
    in_city = DISTRICTS * AOIS * CELLS
    shop_city = np.where(np.arange(shops) < CITIES, np.arange(shops), _draw(rng, 1 / np.arange(1, CITIES + 1), shops))
    shop_cell = shop_city * in_city + rng.integers(in_city, size=shops)
    shop_brand = np.where(rng.random(shops) < 0.15, -1, _draw(rng, 1 / np.arange(1, BRANDS + 1), shops))
    shop_category = rng.integers(CATEGORIES, size=shops)
    food = shop_category[shop] * FOODS + rng.integers(FOODS, size=count)
    parts = [
        0.25 * rng.normal(size=count),
        0.20 * rng.normal(size=shops)[shop],
        0.35 * rng.normal(size=BRANDS + 1)[shop_brand[shop]],
        0.35 * rng.normal(size=CATEGORIES)[shop_category[shop]],
        0.35 * rng.normal(size=CATEGORIES * FOODS)[food],
    ]
    moving = min(0.5, 0.3 * settings.drift)
    comes, goes = ((rng.random(count) < moving) & (np.arange(count) >= shops) for _ in range(2))
    return Dishes(
        shop=shop,
        brand=shop_brand[shop],
        category=shop_category[shop],
        food=food,
        cell=shop_cell[shop],
        quality=np.sum(parts, axis=0),
        rank=rng.permutation(count),
        first=np.where(comes, rng.integers(settings.periods, size=count), 0),
        last=np.where(goes, rng.integers(settings.periods, size=count), settings.periods),
    )


def draw_effects(settings: WorldSettings, rng: np.random.Generator) -> Effects:
    meals = len(MEALS)
    always, other = (
        0.40 * rng.normal(size=(2, SEGMENTS, CATEGORIES, 1))
        + 0.40 * rng.normal(size=(2, 1, CATEGORIES, meals))
        + 0.20 * rng.normal(size=(2, SEGMENTS, CATEGORIES, meals))
    )
    weekend = (always + settings.drift * other) / np.hypot(1, settings.drift)
    promoted = rng.random(BRANDS + 1) < 0.2
    promoted[-1] = False
    return Effects(
        taste_of_food=rng.normal(size=(CATEGORIES * FOODS, TASTE_WIDTH)),
        occasion=np.stack([always, weekend]),
        promoted=promoted,
    )


def zipf(count: int, exponent: float) -> np.ndarray:
    """[count] weights, falling with the rank."""
    weights: np.ndarray = np.arange(1, count + 1) ** -exponent
    return weights


def _draw(rng: np.random.Generator, weights: np.ndarray, count: int) -> np.ndarray:
    return rng.choice(len(weights), size=count, p=weights / weights.sum())

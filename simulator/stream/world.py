"""A synthetic world in the shape of Eleme, with the true probability of every click.

A request shows a few dishes of one city to one user of that city. The logit of a click is a sum of

    quality      of the dish, its shop, brand, category and food
    habit        of the user
    taste        of the user, alone and as one of a group, for the food; wanders from period to period
    occasion     of the user's segment for the category at that time of day; a different one at weekends
    promotion    of some brands to super VIPs in two periods: a pattern that holds for a while only

and of an intercept that sets the click rate. Dishes appear and retire. `world.drift` scales how far tastes
wander, weekends differ and promotions pull, and how many dishes come and go; 0 is a stationary world. All
of it follows from `world.seed`, period by period, so any number of rows fits in memory.

Shapes: R requests of a period, K dishes shown in each, U users, I dishes, D width of a taste.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.seeding import derived_seed
from simulator.settings import StreamSettings
from simulator.stream import raw
from simulator.stream.periods import width_seconds
from simulator.stream.population import (
    AOIS,
    CELLS,
    CITIES,
    MEALS,
    SEGMENTS,
    TASTE_WIDTH,
    Dishes,
    draw_dishes,
    draw_effects,
    draw_users,
    zipf,
)
from simulator.stream.raw import RawLog
from simulator.stream.sources import eleme

PRESETS = ("eleme",)
START = 1_641_168_000  # Monday 2022-01-03, 00:00 on the clock of stream.utc_offset_hours
SHOWN = 5  # dishes in a request
REMEMBERED = 10  # clicks in a history

MEAL_OF_HOUR = np.array([4] * 5 + [0] * 5 + [1] * 4 + [2] * 3 + [3] * 4 + [4] * 3)
HOUR_WEIGHT = np.array([1, 1, 1, 1, 1, 1, 2, 3, 3, 3, 5, 9, 9, 6, 4, 4, 5, 9, 9, 7, 5, 4, 3, 2], dtype=float)


@dataclass(frozen=True)
class Clicks:
    """Clicks by user, then time."""

    user: np.ndarray
    ts: np.ndarray
    item: np.ndarray
    hour: np.ndarray

    def with_later(self, later: Clicks) -> Clicks:
        user, ts = np.concatenate([self.user, later.user]), np.concatenate([self.ts, later.ts])
        order = np.lexsort((ts, user))
        return Clicks(
            user[order],
            ts[order],
            np.concatenate([self.item, later.item])[order],
            np.concatenate([self.hour, later.hour])[order],
        )

    def latest(self) -> Clicks:
        """The REMEMBERED latest of each user."""
        keep = np.searchsorted(self.user, self.user, side="right") - np.arange(len(self.user)) <= REMEMBERED
        return Clicks(self.user[keep], self.ts[keep], self.item[keep], self.hour[keep])

    def before(self, user: np.ndarray, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of each user's REMEMBERED latest clicks strictly before `ts`: offsets [n + 1], flat places."""
        span = 1 << 40  # seconds; more than any time
        end = np.searchsorted(self.user * span + self.ts, user * span + ts)
        begin = np.maximum(np.searchsorted(self.user, user), end - REMEMBERED)
        offsets = np.concatenate([[0], np.cumsum(end - begin)])
        return offsets, np.arange(offsets[-1]) + np.repeat(begin - offsets[:-1], end - begin)


def generate(stream: StreamSettings, folder: Path) -> RawLog:
    """Writes the world's raw files to `folder`, one a period, and describes them as the Eleme source would."""
    schema = eleme.schema(synthetic=True)
    files = [folder / f"world-{period:05d}.parquet" for period in range(stream.world.periods)]
    world = _World(stream)
    for period, file in enumerate(files):
        pq.write_table(world.period(period), file)
    columns = [*schema.names, *(history.name for history in schema.histories)]
    return RawLog(
        source="world",
        schema=schema,
        root=folder,
        relation=raw.union(raw.parquet(file, folder) for file in files),
        time="ts",
        ts="ts",
        label="click",
        request="request_id",
        p_true="p_true",
        values={column: raw.name(column) for column in columns},
        missing=("-1", "-99"),
    )


class _World:
    """The state that passes from one period to the next: tastes and remembered clicks."""

    def __init__(self, stream: StreamSettings) -> None:
        self.settings = stream.world
        self.offset = stream.utc_offset_hours * 3600
        self.width = width_seconds(stream.period)
        rng = self._rng("people and places")
        self.users = draw_users(stream.world, rng)
        self.dishes = draw_dishes(stream.world, rng)
        self.effects = draw_effects(stream.world, rng)
        self.group_taste = rng.normal(size=(SEGMENTS * CITIES, TASTE_WIDTH))
        self.own_taste = rng.normal(size=(stream.world.users, TASTE_WIDTH))
        nothing = np.empty(0, dtype=np.int64)
        self.clicks = Clicks(nothing, nothing, nothing, nothing)
        self.intercept: float | None = None  # set by the first period

    def period(self, index: int) -> pa.Table:
        """The raw rows of a period; periods are asked for in order."""
        rng = self._rng(index)
        rows = self.settings.rows_per_period
        self._wander(rng)
        time = self._times(rng, -(-rows // SHOWN), index)
        hour, weekday = time // 3600 % 24, (time // 86400 + 3) % 7
        user = np.searchsorted(self.users.often, rng.random(len(time)), side="right")
        item = _shown(rng, self.dishes, self.users.city[user], index)
        logit = self._logit(user, item, MEAL_OF_HOUR[hour], weekday >= 5, index).reshape(-1)[:rows]
        if self.intercept is None:
            self.intercept = _intercept(logit, self.settings.click_rate)
        p_true = _sigmoid(logit + self.intercept)
        click = rng.random(rows) < p_true

        request, item = np.arange(rows) // SHOWN, item.reshape(-1)[:rows]
        self.clicks = self.clicks.with_later(
            Clicks(user[request][click], time[request][click], item[click], hour[request][click])
        )
        histories = self._histories(user, time)
        self.clicks = self.clicks.latest()
        context = self._user_columns(user) | self._context_columns(user, hour, weekday)
        columns = {name: values[request] for name, values in context.items()} | self._dish_columns(item)
        return pa.table(
            {
                "ts": (time - self.offset)[request],
                "request_id": request + index * len(time),
                "click": click,
                "p_true": p_true,
                **columns,
                **{name: lists.take(pa.array(request)) for name, lists in histories.items()},
            }
        )

    def _rng(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self.settings.seed, "world", *names))

    def _wander(self, rng: np.random.Generator) -> None:
        """Tastes take a step that leaves their spread as it is."""
        stay = max(0.0, 1 - 0.1 * self.settings.drift)
        for taste in (self.group_taste, self.own_taste):
            taste *= stay
            taste += np.sqrt(1 - stay**2) * rng.normal(size=taste.shape)

    def _times(self, rng: np.random.Generator, count: int, period: int) -> np.ndarray:
        """[count] ascending seconds of the local clock within the period, dense at meal times."""
        start = START // self.width * self.width + period * self.width
        hours = np.arange(start // 3600 * 3600, start + self.width, 3600)
        edges = np.unique(np.clip(np.append(hours, hours[-1] + 3600), start, start + self.width))
        weight = np.diff(edges) * HOUR_WEIGHT[edges[:-1] // 3600 % 24]
        share = np.concatenate([[0], np.cumsum(weight) / weight.sum()])
        time: np.ndarray = np.interp(np.sort(rng.random(count)), share, edges).astype(np.int64)
        return time

    def _logit(
        self, user: np.ndarray, item: np.ndarray, meal: np.ndarray, weekend: np.ndarray, period: int
    ) -> np.ndarray:
        """[R, K] without the intercept."""
        users, dishes, effects = self.users, self.dishes, self.effects
        segment, category = users.segment[user], dishes.category[item]
        taste = 0.20 * self.group_taste[segment * CITIES + users.city[user]] + 0.12 * self.own_taste[user]
        liking = np.einsum("rd,rkd->rk", taste, effects.taste_of_food[dishes.food[item]])
        occasion = effects.occasion[weekend.astype(int)[:, None], segment[:, None], category, meal[:, None]]
        logit: np.ndarray = dishes.quality[item] + users.habit[user][:, None] + liking + occasion
        if period - self.settings.periods // 3 in (0, 1):
            pulled = effects.promoted[dishes.brand[item]] & (users.super_vip[user] == 1)[:, None]
            logit = logit + 1.5 * self.settings.drift * pulled
        return logit

    def _user_columns(self, user: np.ndarray) -> dict[str, np.ndarray]:
        users = self.users
        return {
            "user_id": user,
            "gender": users.gender[user],
            "visit_city": users.city[user],
            "is_supervip": users.super_vip[user],
        }

    def _dish_columns(self, item: np.ndarray) -> dict[str, np.ndarray]:
        dishes = self.dishes
        cell = dishes.cell[item]
        return {
            "shop_id": dishes.shop[item],
            "item_id": item,
            "city_id": dishes.city[item],
            "district_id": cell // (CELLS * AOIS),
            "shop_aoi_id": cell // CELLS,
            "shop_geohash_6": cell,
            "brand_id": dishes.brand[item],
            "category_1_id": dishes.category[item],
            "merge_standard_food_id": dishes.food[item],
        }

    def _context_columns(self, user: np.ndarray, hour: np.ndarray, weekday: np.ndarray) -> dict[str, np.ndarray]:
        at_work = (weekday < 5) & (hour >= 9) & (hour < 18)
        return {
            "hours": hour,
            "time_type": np.array(MEALS)[MEAL_OF_HOUR[hour]],
            "weekdays": weekday,
            "geohash12": self.users.places[at_work.astype(int), user],
        }

    def _histories(self, user: np.ndarray, time: np.ndarray) -> dict[str, pa.ListArray]:
        """A list per request for each of the Eleme histories."""
        offsets, places = self.clicks.before(user, time)
        columns = self._dish_columns(self.clicks.item[places]) | {"hours": self.clicks.hour[places]}
        return {
            name: pa.ListArray.from_arrays(offsets.astype(np.int32), pa.array(columns[field]))
            for name, field in eleme.HISTORIES.items()
        }


def _shown(rng: np.random.Generator, dishes: Dishes, city: np.ndarray, period: int) -> np.ndarray:
    """[R, K] dishes of each request's city, by a Zipf law.

    Systematic sampling: K equally spaced points of the cumulative share, in an order drawn for the period, hit
    different dishes as long as none has more than 1/K of the share (30 dishes in a city are enough for that).
    """
    item = np.empty((len(city), SHOWN), dtype=np.int64)
    for place in range(CITIES):
        here = np.flatnonzero(city == place)
        menu = np.flatnonzero((dishes.city == place) & (dishes.first <= period) & (period <= dishes.last))
        order = rng.permutation(len(menu))
        share = np.cumsum(zipf(len(menu), 0.8)[order])
        points = (rng.random((len(here), 1)) + np.arange(SHOWN) / SHOWN) % 1
        menu = menu[np.argsort(dishes.rank[menu])][order]
        item[here] = menu[np.searchsorted(share / share[-1], points, side="right")]
    return item


def _intercept(logit: np.ndarray, rate: float) -> float:
    """What to add for a mean probability of `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if _sigmoid(logit + middle).mean() > rate else (middle, high)
    return low


def _sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result

"""Who is shown what, and how probable a click is.

A request shows a few items of the user's market to the user. The logit of a click is a sum of

    quality      of the item, its shop, brand, kind and theme
    habit        of the user
    liking       the user's taste, own and shared with a group, times that which the kind appeals to
    occasion     of the user's segment for the theme, at that meal, on a weekday or at a weekend, in season or not
    promotion    of the item's brand to VIPs, in a few periods
    holiday      of the user's segment for the theme, in a few periods

and of an intercept that sets the click rate.

Shapes: R requests, K items shown in each, N = R * K rows, P places on the menu, D width of a taste.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pkb.seeding import derived_seed
from simulator.stream.settings import WorldSettings
from simulator.stream.world.clock import MEAL_OF_HOUR, hour_of, times, weekday_of
from simulator.stream.world.drift import (
    PULL,
    Attractions,
    Fashion,
    Holidays,
    Occasions,
    Tastes,
    Turnover,
    expected_generations,
    promoted_brands,
)
from simulator.stream.world.population import ITEM_EXPONENT, SHOWN, THEMES, USER_EXPONENT, zipf_rank
from simulator.stream.world.presets import Preset, Requests
from simulator.stream.world.scenarios import Scenarios

PILOT = 20_000  # requests of the first period that set the intercept


@dataclass(frozen=True, kw_only=True)
class Impressions:
    """Requests in order of time, what each showed, and how probable its clicks are."""

    requests: Requests
    item: np.ndarray  # [R, K]
    place: np.ndarray  # [R, K]
    appeal: np.ndarray  # [R, K] the logit but for the intercept
    p_true: np.ndarray  # [R, K]


class Market:
    """Users, items and what moves them; periods are begun one after the other."""

    def __init__(self, preset: Preset, settings: WorldSettings, width: int) -> None:
        self._preset, self._settings, self._width = preset, settings, width
        drift = settings.drift
        users = settings.users or max(1, round(settings.scale * preset.users))
        items = settings.items or max(8, round(settings.scale * preset.items))
        self.menu = preset.draw_menu(max(8, round(items / expected_generations(drift))), self.rng("menu"))
        self.users = preset.draw_users(users, self.menu.markets, self.rng("users"))
        self._habit = settings.habit * self.rng("habit").standard_normal(users, dtype=np.float32)
        self._theme = self.menu.theme_of_kind[self.menu.first_kind].astype(np.int32)
        self._tastes = Tastes(self.users, drift.wander, self.rng)
        self._turnover = Turnover(self.menu.places, drift.turnover, self.rng("turnover"))
        self._fashion = Fashion(self.menu, drift.fashion, self.rng)
        self._occasions = Occasions(self.menu, preset.slots, drift.regimes, self.rng("occasions"))
        self._scenarios = None
        if settings.scenarios:
            self._scenarios = Scenarios(settings.scenarios, drift.scenarios, self.menu, self.rng)
        self._holidays = Holidays(drift.holidays, self.rng("holidays"))
        self.rate = preset.click_rate if settings.click_rate is None else settings.click_rate
        self._begin(0)
        pilot = self.impressions(self.rng("pilot"), 0, 1, PILOT)
        self._intercept = intercept(pilot.appeal, self.rate)

    _intercept = 0.0

    def rng(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self._settings.seed, "world", *names))

    def begin(self, period: int) -> None:
        """Goes on to the next period."""
        if period:
            self._tastes.wander(period)
            self._fashion.move(period)
            self._begin(period)

    def _begin(self, period: int) -> None:
        drift, menu = self._settings.drift, self.menu
        self._period = period
        self._item = self._turnover.items(period)
        worth = Attractions.in_period(menu, period, self._fashion, drift.shifts, self.rng)
        self._worth = worth.of_places(menu, self._item)
        if self._scenarios is not None:
            self._scenarios.begin(self._item, self._worth)
        self._effects = self._occasions.effects(period)
        self._promoted = promoted_brands(menu, period, self.rng)
        self._holiday = self._holidays.effects(period)
        self._present = np.flatnonzero(self._occasions.on_menu(period))
        edges = np.searchsorted(menu.market[self._present], np.arange(menu.markets + 1))
        self._first, self._on_offer = edges[:-1], np.diff(edges)

    def impressions(self, rng: np.random.Generator, begin: float, end: float, count: int) -> Impressions:
        """`count` requests between two quantiles of the period's requests."""
        gaps = rng.standard_exponential(count + 1)
        quantiles = begin + (end - begin) * np.cumsum(gaps)[:-1] / gaps.sum()  # sorted uniform numbers
        requests = Requests(
            user=zipf_rank(rng.random(count), self.users.count, USER_EXPONENT),
            time=times(quantiles, self._width, self._period),
            slot=rng.integers(self._preset.slots, size=count, dtype=np.int8),
            holiday=self._holiday is not None,
            scenario=None if self._scenarios is None else self._scenarios.draw(self._period, count, rng.spawn(1)[0]),
        )
        place = self._shown(rng, self.users.market[requests.user])
        appeal = self.appeal(requests, place)
        noise = self._settings.drift.label_noise
        p_true = np.float32(1 - noise) * sigmoid(appeal + np.float32(self._intercept)) + np.float32(noise * self.rate)
        return Impressions(requests=requests, item=self._item[place], place=place, appeal=appeal, p_true=p_true)

    def _shown(self, rng: np.random.Generator, market: np.ndarray) -> np.ndarray:
        """[R, K] places on the menu of each request's market, by a Zipf law.

        Systematic sampling: K equally spaced points of the law hit different places unless one has more than 1/K.
        """
        points = (rng.random((len(market), 1)) + np.arange(SHOWN) / SHOWN) % 1
        rank = zipf_rank(points, self._on_offer[market][:, None], ITEM_EXPONENT)
        place: np.ndarray = self._present[self._first[market][:, None] + rank]
        return place

    def appeal(self, requests: Requests, place: np.ndarray) -> np.ndarray:
        """[R, K] logits in the present period, but for the intercept, of what stands at these places."""
        user, hour = requests.user, hour_of(requests.time)
        one = np.ones((len(user), 1), dtype=np.float32)
        worth = self._worth[place]
        if self._scenarios is not None and requests.scenario is not None:
            worth = self._scenarios.worth(requests.scenario, place)
        appeal: np.ndarray = np.einsum("rd,rkd->rk", np.hstack([one, self._tastes.of(user)]), worth)
        weekend = weekday_of(requests.time) >= 5
        occasion = self._occasions.number(weekend, self.users.segment[user], MEAL_OF_HOUR[hour], requests.slot)
        appeal += self._effects[THEMES * occasion[:, None] + self._theme[place]]
        appeal += self._habit[user][:, None]
        if self._promoted is not None:
            pulled = self._promoted[self.menu.brand[place]] & (self.users.vip[user] == 1)[:, None]
            appeal += np.float32(PULL * self._settings.drift.promotions) * pulled
        if self._holiday is not None:
            appeal += self._holiday[self.users.segment[user][:, None], self._theme[place]]
        return appeal


def intercept(appeal: np.ndarray, rate: float) -> float:
    """What to add for a mean probability of `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if sigmoid(appeal + middle).mean() > rate else (middle, high)
    return low


def sigmoid(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = 1 / (1 + np.exp(-x))
    return result

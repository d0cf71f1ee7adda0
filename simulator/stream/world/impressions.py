"""Who is shown what, and how probable a click is (`liking`).

A request shows a few items of the user's market to the user.

Shapes: R requests, K items shown in each, N = R * K rows, P places on the menu.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pkb.seeding import derived_seed
from simulator.stream.world.clock import times
from simulator.stream.world.domains import LikingThere, Visits
from simulator.stream.world.drift import Turnover, expected_generations
from simulator.stream.world.liking import Liking, intercept, sigmoid
from simulator.stream.world.population import ITEM_EXPONENT, SHOWN, USER_EXPONENT, zipf_rank
from simulator.stream.world.presets import Preset, Requests
from simulator.stream.world_settings import WorldSettings

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
        self._turnover = Turnover(self.menu.places, drift.turnover, self.rng("turnover"))
        self.liking = Liking(preset, settings, self.menu, self.users, self.rng)
        self.visits: Visits | None = None  # to the sub-domain; None where there is none
        if settings.domains.impressions:
            self.visits = Visits(settings, self.users, self.rng("visits"))
            self.liking_there = LikingThere(preset, settings, self.menu, self.users, self.rng, self.liking)
        self.rate = preset.click_rate if settings.click_rate is None else settings.click_rate
        self._begin(0)
        pilot, place = self._requests(self.rng("pilot"), 0, 1, PILOT)
        for liking in self._likings:
            liking.intercept = intercept(liking.appeal(pilot, place), self.rate)

    def rng(self, *names: str | int) -> np.random.Generator:
        return np.random.default_rng(derived_seed(self._settings.seed, "world", *names))

    @property
    def _likings(self) -> list[Liking]:
        return [self.liking, *([] if self.visits is None else [self.liking_there])]

    def begin(self, period: int) -> None:
        """Goes on to the next period."""
        if period:
            self._begin(period)

    def _begin(self, period: int) -> None:
        menu = self.menu
        self._period = period
        self._item = self._turnover.items(period)
        for liking in self._likings:
            liking.begin(period, self._item)
        self._present = np.flatnonzero(self.liking.occasions.on_menu(period))
        edges = np.searchsorted(menu.market[self._present], np.arange(menu.markets + 1))
        self._first, self._on_offer = edges[:-1], np.diff(edges)

    def impressions(self, rng: np.random.Generator, begin: float, end: float, count: int) -> Impressions:
        """`count` requests between two quantiles of the period's requests."""
        requests, place = self._requests(rng, begin, end, count)
        appeal, added = self.appeal(requests, place), np.float32(self.liking.intercept)
        if self.visits is not None:
            there = self.visits.drawn(requests, rng)
            requests = replace(requests, there=there)
            appeal[there] = self.liking_there.appeal(requests.some(there), place[there])
            added = np.where(there, np.float32(self.liking_there.intercept), added)[:, None]
        noise = self._settings.drift.label_noise
        p_true = np.float32(1 - noise) * sigmoid(appeal + added) + np.float32(noise * self.rate)
        return Impressions(requests=requests, item=self._item[place], place=place, appeal=appeal, p_true=p_true)

    def _requests(self, rng: np.random.Generator, begin: float, end: float, count: int) -> tuple[Requests, np.ndarray]:
        """Who asks when, and the places [R, K] that are shown."""
        gaps = rng.standard_exponential(count + 1)
        quantiles = begin + (end - begin) * np.cumsum(gaps)[:-1] / gaps.sum()  # sorted uniform numbers
        requests = Requests(
            user=zipf_rank(rng.random(count), self.users.count, USER_EXPONENT),
            time=times(quantiles, self._width, self._period),
            slot=rng.integers(self._preset.slots, size=count, dtype=np.int8),
            holiday=self.liking.holiday is not None,
        )
        return requests, self._shown(rng, self.users.market[requests.user])

    def _shown(self, rng: np.random.Generator, market: np.ndarray) -> np.ndarray:
        """[R, K] places on the menu of each request's market, by a Zipf law.

        Systematic sampling: K equally spaced points of the law hit different places unless one has more than 1/K.
        """
        points = (rng.random((len(market), 1)) + np.arange(SHOWN) / SHOWN) % 1
        rank = zipf_rank(points, self._on_offer[market][:, None], ITEM_EXPONENT)
        place: np.ndarray = self._present[self._first[market][:, None] + rank]
        return place

    def appeal(self, requests: Requests, place: np.ndarray) -> np.ndarray:
        """[R, K] logits in the present period, but for the intercept and the sub-domain, of what stands there."""
        return self.liking.appeal(requests, place)

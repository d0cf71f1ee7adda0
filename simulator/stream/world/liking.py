"""What users make of items: the logit of a click.

It is a sum of

    quality      of the item, its shop, brand, kind and theme
    habit        of the user
    liking       the user's taste, own and shared with a group, times that which the kind appeals to
    occasion     of the user's segment for the theme, at that meal, on a weekday or at a weekend, in season or not
    promotion    of the item's brand to VIPs, in a few periods
    holiday      of the user's segment for the theme, in a few periods

and of an intercept that sets the click rate.

Shapes: R requests, K items shown in each, P places on the menu, D width of a taste.
"""

from __future__ import annotations

import numpy as np

from simulator.stream.world.clock import MEAL_OF_HOUR, hour_of, weekday_of
from simulator.stream.world.drift import PULL, Attractions, Fashion, Holidays, Occasions, Rng, Tastes, promoted_brands
from simulator.stream.world.population import THEMES, Menu, Users
from simulator.stream.world.presets import Preset, Requests
from simulator.stream.world_settings import WorldSettings


class Liking:
    """Of one domain; periods are begun one after the other."""

    salt = 2  # of the items' own quality

    def __init__(self, preset: Preset, settings: WorldSettings, menu: Menu, users: Users, rng: Rng) -> None:
        drift = settings.drift
        self._menu, self._users, self._drift, self._rng = menu, users, drift, rng
        self._theme = menu.theme_of_kind[menu.first_kind].astype(np.int32)
        self._habit = settings.habit * rng("habit").standard_normal(users.count, dtype=np.float32)
        self._tastes = Tastes(users, drift.wander, settings.taste, rng)
        self._fashion = Fashion(menu, drift.fashion, rng)
        self.occasions = Occasions(menu, preset.slots, drift.regimes, rng("occasions"))
        self._holidays = Holidays(drift.holidays, rng("holidays"))
        self.intercept = 0.0

    def begin(self, period: int, item: np.ndarray) -> None:
        """Go on to the next period, in which these items stand at the places of the menu."""
        if period:
            self._tastes.wander(period)
            self._fashion.move(period)
        worth = Attractions.in_period(self._menu, period, self._fashion, self._drift.shifts, self._rng)
        self.worth = worth.of_places(self._menu, item, self.salt)
        self._effects = self.occasions.effects(period)
        self._promoted = promoted_brands(self._menu, period, self._rng)
        self.holiday = self._holidays.effects(period)

    def habit(self, user: np.ndarray) -> np.ndarray:
        """[R]"""
        habit: np.ndarray = self._habit[user]
        return habit

    def taste(self, user: np.ndarray) -> np.ndarray:
        """[R, D]"""
        return self._tastes.of(user)

    def appeal(self, requests: Requests, place: np.ndarray) -> np.ndarray:
        """[R, K] logits in the present period, but for the intercept, of what stands at these places."""
        user, hour = requests.user, hour_of(requests.time)
        one = np.ones((len(user), 1), dtype=np.float32)
        appeal: np.ndarray = np.einsum("rd,rkd->rk", np.hstack([one, self.taste(user)]), self.worth[place])
        weekend = weekday_of(requests.time) >= 5
        occasion = self.occasions.number(weekend, self._users.segment[user], MEAL_OF_HOUR[hour], requests.slot)
        appeal += self._effects[THEMES * occasion[:, None] + self._theme[place]]
        appeal += self.habit(user)[:, None]
        if self._promoted is not None:
            pulled = self._promoted[self._menu.brand[place]] & (self._users.vip[user] == 1)[:, None]
            appeal += np.float32(PULL * self._drift.promotions) * pulled
        if self.holiday is not None:
            appeal += self.holiday[self._users.segment[user][:, None], self._theme[place]]
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

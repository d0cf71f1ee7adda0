"""Scenarios of very different sizes, in which items are worth partly the same; some of them come and go.

Request by request a scenario is drawn: each is half as frequent as the one before it. Every third one is away in two
periods of five, and the others have its requests then. With W the worth of items that all share and W_s a scenario's
own, of the same spread and drawn once for all, what counts in scenario s is, at strength d,

    sqrt(1 - d) W + sqrt(d) W_s

so that two scenarios' worths correlate by 1 - d. Tastes, habits and occasions are the users' in all of them.

Shapes: S scenarios, R requests, K items shown in each, P places, D width of a taste.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pkb.batch import Field, Schema
from simulator.stream.world.drift import Attractions, Rng, drawn
from simulator.stream.world.population import Menu

NAME = "scenario"  # of the field
EVERY = 3  # the last of so many comes and goes
CYCLE, AWAY = 5, (3, 4)  # periods: away in two of five
OWN_QUALITY = 3  # salt of what items are worth to the first scenario by themselves; the others' follow


def with_scenarios(schema: Schema) -> Schema:
    """A preset's schema with the scenario for a field, in place of what it has for one."""
    fields = [replace(field, role="context") if field.role == "scenario" else field for field in schema.fields]
    return replace(schema, fields=(*fields, Field(name=NAME, role="scenario")))


def present(count: int, period: int) -> np.ndarray:
    """[S] bool, whether each scenario has requests in a period."""
    number = np.arange(count)
    goes = number % EVERY == EVERY - 1
    there: np.ndarray = ~(goes & np.isin((number + period) % CYCLE, AWAY))
    return there


class Scenarios:
    def __init__(self, count: int, strength: float, menu: Menu, rng: Rng) -> None:
        self._count, self._strength, self._menu = count, strength, menu
        self._own: list[Attractions] = []
        for number in range(count if strength else 0):
            draw = rng("scenario", number)
            values, shop = drawn(menu, draw), draw.standard_normal(int(menu.shop.max()) + 1, dtype=np.float32)
            self._own.append(Attractions.of(values, shop))
        self._worth: np.ndarray = np.empty(0, np.float32)  # [S, P, 1 + D]; [1, P, 1 + D] where all are the same

    def begin(self, item: np.ndarray, shared: np.ndarray) -> None:
        """Go on to a period with these items at the places, worth `shared`, [P, 1 + D], to all scenarios."""
        own = [its.of_places(self._menu, item, OWN_QUALITY + number) for number, its in enumerate(self._own)]
        if own:
            self._worth = math.sqrt(1 - self._strength) * shared + math.sqrt(self._strength) * np.stack(own)
        else:
            self._worth = shared[None]

    def draw(self, period: int, requests: int, rng: np.random.Generator) -> np.ndarray:
        """[R] the scenario of each request."""
        share = 0.5 ** np.arange(self._count) * present(self._count, period)
        number = np.searchsorted(np.cumsum(share / share.sum()), rng.random(requests), side="right")
        scenario: np.ndarray = np.minimum(number, np.flatnonzero(share)[-1]).astype(np.int32)
        return scenario

    def worth(self, scenario: np.ndarray, place: np.ndarray) -> np.ndarray:
        """[R, K, 1 + D], of what stands at these places [R, K], to who is in a scenario [R]."""
        found: np.ndarray = self._worth[scenario[:, None] if len(self._worth) > 1 else 0, place]
        return found

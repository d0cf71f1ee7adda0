"""The world's sub-domain: a part of the impressions, shown to a part of the users, who like there what they like.

With s, the setting `shared`, each user's taste and habit and what each kind appeals to are, in the sub-domain,

    s (those of everywhere else) + sqrt(1 - s^2) (drawn anew)

so that the spread stays and s is the correlation. Qualities, occasions, promotions and holidays are the sub-domain's
own whatever s is: the same items stand there, and are worth something else. At s = 0 nothing of the rest tells anything
of a click in the sub-domain, at s = 1 all that users bring along does.

Shapes: R requests, U users, P places on the menu, D width of a taste.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from pkb.batch import Field, Schema
from pkb.errors import SettingError
from simulator.stream.world.drift import Rng
from simulator.stream.world.liking import Liking
from simulator.stream.world.population import USER_EXPONENT, Menu, Users, zipf_share
from simulator.stream.world.presets import Preset, Requests
from simulator.stream.world_settings import WorldSettings

FIELD = "domain"
WORDS = ("feed", "ad")  # all else, and the sub-domain


class LikingThere(Liking):
    """What users make of items in the sub-domain; `elsewhere` has begun the period first."""

    salt = 3

    def __init__(
        self, preset: Preset, settings: WorldSettings, menu: Menu, users: Users, rng: Rng, elsewhere: Liking
    ) -> None:
        super().__init__(preset, settings, menu, users, partial(rng, "sub-domain"))
        self._elsewhere, self._shared = elsewhere, settings.domains.shared

    def begin(self, period: int, item: np.ndarray) -> None:
        super().begin(period, item)
        self.worth[:, 1:] = self._mixed(self._elsewhere.worth[:, 1:], self.worth[:, 1:])

    def habit(self, user: np.ndarray) -> np.ndarray:
        return self._mixed(self._elsewhere.habit(user), super().habit(user))

    def taste(self, user: np.ndarray) -> np.ndarray:
        return self._mixed(self._elsewhere.taste(user), super().taste(user))

    def _mixed(self, elsewhere: np.ndarray, anew: np.ndarray) -> np.ndarray:
        mixed: np.ndarray = np.float32(self._shared) * elsewhere + np.float32(np.sqrt(1 - self._shared**2)) * anew
        return mixed


class Visits:
    """Which requests are of the sub-domain: of the users that it has, each with the same probability."""

    def __init__(self, settings: WorldSettings, users: Users, rng: np.random.Generator) -> None:
        asked = settings.domains
        self.members = np.zeros(users.count, dtype=bool)  # [U]
        self.members[rng.permutation(users.count)[: max(1, round(asked.users * users.count))]] = True
        active = float(zipf_share(users.count, USER_EXPONENT)[self.members].sum())
        self._rate = asked.impressions / active
        if self._rate > 1:
            raise SettingError(
                f"stream.world.domains.impressions={asked.impressions}: its users see {active:.2f} of all; ask for "
                "fewer, or for more users"
            )

    def drawn(self, requests: Requests, rng: np.random.Generator) -> np.ndarray:
        """[R] bool"""
        drawn: np.ndarray = self.members[requests.user] & (rng.random(len(requests.user)) < self._rate)
        return drawn


def with_domain(schema: Schema) -> Schema:
    """The schema of a world that has a sub-domain."""
    return replace(schema, fields=(*schema.fields, Field(name=FIELD, role="context")))

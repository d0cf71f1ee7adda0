"""What a load test asks for; `key=value` on the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pkb.errors import SettingError
from simulator.config.checks import above_zero, at_least, between
from simulator.loadtest.early_stopping import enough_requests

LONGEST = 86_400  # seconds, of a load or a wait
FEWEST = enough_requests(0)  # with which a p99 can be shown at all
MOST_RATE = 100_000.0  # requests/s


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    arms: list[str] = field(default_factory=list)  # of a run, those to load; all if none is named
    seed: int | None = None  # of a run, the one that is served; its first if none is named
    candidates: int = 100  # in a request
    bound_ms: float = 50.0  # that p99 must keep
    seconds: float = 10.0  # of each load, or longer ...
    requests: int = enough_requests(10)  # 2,010 ... until so many were sent: as many as show a p99 with ten late ones
    repeats: int = 5  # of everything
    step: float = 0.05  # from one rate to the next, a share of it
    start: float = 50.0  # requests/s, where the search begins
    least: float = 0.1  # requests/s, where it gives up ...
    most: float = 10_000.0  # ... and where it ends
    share: float = 0.8  # of the lowest sustained rate of any arm, at which all are compared ...
    common_seconds: float = 0.0  # ... for so long each, where that is more than `seconds`
    warm_up: int = 20  # requests before each load, one by one, which count for nothing
    timeout_s: float = 5.0
    processes: int = 0  # that send; 0: one for each core

    def __post_init__(self) -> None:
        between(self, "candidates", 1, 1000)
        above_zero(self, "bound_ms")
        between(self, "seconds", 0.1, LONGEST)
        between(self, "common_seconds", 0, LONGEST)
        between(self, "requests", FEWEST, 10**7)
        between(self, "repeats", 1, 1000)
        between(self, "step", 0.001, 1)
        between(self, "most", 1, MOST_RATE)
        between(self, "least", 0.01, self.most)
        between(self, "start", self.least, self.most)
        if not 0 < self.share <= 1:
            raise SettingError(f"share={self.share}: must be above 0 and at most 1")
        at_least(self, "warm_up", 1)
        between(self, "timeout_s", 0.001, LONGEST)
        if not self.timeout_s * 1000 > self.bound_ms:
            raise SettingError(f"timeout_s={self.timeout_s}: must be longer than bound_ms={self.bound_ms:g}")
        between(self, "processes", 0, 64)

    def number(self, rate: float, *, common: bool = False) -> int:
        """How many requests a load at this rate has; `common` is the one at which all arms are compared."""
        seconds = max(self.seconds, self.common_seconds) if common else self.seconds
        return max(self.requests, math.ceil(rate * seconds))

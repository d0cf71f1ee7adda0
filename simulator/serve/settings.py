"""How the arms are served, and the load that measures them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from pkb.errors import SettingError
from simulator.config.checks import at_least, between
from simulator.serve.request import MAX_CANDIDATES

LONGEST = 86_400  # seconds, of a load or a wait


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    enabled: bool = True
    host: str = "127.0.0.1"
    port: int = 0  # 0 takes a free one
    candidates: int = 50  # in a request, for one user
    rates: list[float] = field(default_factory=lambda: [50.0, 100.0])  # offered requests/s
    seconds: float = 10.0  # of load at each rate and repeat; a p99 wants 459 requests or more
    repeats: int = 1
    slo_ms: float = 100.0  # p99 that max_qps_at_slo asks for
    timeout_s: float = 5.0
    check_rows: int = 1000  # served and offline scores are compared on so many holdout rows

    def __post_init__(self) -> None:
        between(self, "port", 0, 65_535)
        if not self.host:
            raise SettingError("host: is empty; write the address to listen on, such as 127.0.0.1")
        between(self, "candidates", 1, MAX_CANDIDATES)
        if not self.rates or not all(0 < rate < math.inf for rate in self.rates):
            raise SettingError(f"rates={self.rates}: must be one or more numbers above 0")
        between(self, "seconds", 0.1, LONGEST)
        at_least(self, "repeats", 1)
        between(self, "timeout_s", 0.001, LONGEST)
        at_least(self, "check_rows", 1)

"""A load test from its first request to what follows: the highest rate that each arm sustains, and equal rates.

    for each repeat:
        each arm is searched for the highest rate at which p99 keeps the bound, one load of each arm in turn
    at a share of the lowest of these rates: each arm in turn, as often as there are repeats
    the generator offers the highest rate of all to a server that does nothing

Arms in turn, so that a slow moment of the machine falls on all; another one begins in every repeat. At one point of the
test all arms meet the same requests and the same gaps between them, but for the factor of their rates.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.special import stdtrit

from pkb.errors import RunError
from pkb.seeding import derived_seed
from simulator.config.typed import plain
from simulator.loadtest.arrivals import first_arrivals
from simulator.loadtest.early_stopping import WITHIN, verdict
from simulator.loadtest.null_server import null_server
from simulator.loadtest.offering import Load, percentile
from simulator.loadtest.search import Grid, Search
from simulator.loadtest.settings import LoadSettings
from simulator.loadtest.target import Target
from simulator.record.loadtest import ArmUnderLoad, LoadTest, Offered, SelfCheck, Spread

MOST_LAG_MS = 1.0  # p99 of what the generator may be late, before a server that does nothing
FIRST_FACTOR = 2.0  # by which rates rise or fall until the first search has a bound on both sides
NEXT_STRIDE = 2  # places of the grid, likewise, in later repeats, which begin where the first one ended
SETTLE_SECONDS = 60.0  # patience with a server that was asked for more than it can give
PAUSE_SECONDS = 0.5
Report = Callable[[str], None]


class Sending(Protocol):
    """What is needed of the load generator (`senders.Senders`)."""

    bodies: list[bytes]

    def offer(self, url: str, schedule: np.ndarray, timeout_s: float, *, first: int = 0) -> Load:
        """Send a request at each time on the schedule."""

    def one_by_one(self, url: str, number: int, timeout_s: float, *, first: int = 0) -> bytes:
        """Send requests one after the other; give the last answer, RunError if it is none."""


@dataclass
class Trial:
    """A load test in progress."""

    targets: Sequence[Target]
    senders: Sending
    settings: LoadSettings
    report: Report
    name: str  # of what is tested
    through: int | None  # period, the last one that a run's arms had played
    processes: int
    loads: list[Offered] = field(default_factory=list)
    at_equal: dict[str, list[Load]] = field(default_factory=dict)  # by URL, the loads at the common rate

    def run(self) -> LoadTest:
        """Offer everything; RunError if a target does not answer as it should."""
        for target in self.targets:
            self._check_answers(target)
        found: dict[str, list[float | None]] = {target.url: [] for target in self.targets}
        for repeat in range(self.settings.repeats):
            for url, rate in self._search(repeat, found).items():
                found[url].append(rate)
        equal = self._equal_rate(found)
        for repeat in range(self.settings.repeats if equal else 0):
            for target in self._turns(repeat):
                load = self._offer(target, equal or 0.0, "equal", repeat, 0)
                self.at_equal.setdefault(target.url, []).append(load)
        check = self._check_self()
        return LoadTest(
            target=self.name,
            through=self.through,
            processes=self.processes,
            settings=plain(self.settings),
            invalid=_why_invalid(check),
            self_check=check,
            equal_rate=equal,
            arms=[self._sum_up(target, found[target.url]) for target in self.targets],
            loads=self.loads,
        )

    def _check_answers(self, target: Target) -> None:
        answer = self.senders.one_by_one(target.url, 1, self.settings.timeout_s)
        wanted = len(json.loads(self.senders.bodies[0])["candidates"])
        try:
            scores = len(json.loads(answer)["scores"])
        except (ValueError, TypeError, KeyError):
            told = answer[:100].decode(errors="replace")
            raise RunError(f'{target.url}: answered {told}; wanted is {{"scores": [...]}}') from None
        if scores != wanted:
            raise RunError(f"{target.url}: answered {scores} scores to {wanted} candidates")

    def _turns(self, repeat: int) -> list[Target]:
        first = repeat % len(self.targets)
        return [*self.targets[first:], *self.targets[:first]]

    def _search(self, repeat: int, found: dict[str, list[float | None]]) -> dict[str, float | None]:
        """The highest rate of each target that keeps the bound; None where the lowest one does not."""
        grid, settings = Grid(self.settings.step), self.settings
        searches = {}
        for target in self.targets:
            earlier = next((rate for rate in reversed(found[target.url]) if rate is not None), None)
            stride = NEXT_STRIDE if earlier else max(1, grid.at_most(FIRST_FACTOR))
            start = grid.at_most(earlier or settings.start)
            searches[target.url] = Search(start, grid.at_most(settings.least), grid.at_most(settings.most), stride)
        turn = 0
        while any(search.next is not None for search in searches.values()):
            for target in self._turns(repeat):
                search = searches[target.url]
                if (place := search.next) is not None:
                    self._offer(target, grid.rate(place), "search", repeat, turn)
                    search.tell(place, kept=self.loads[-1].verdict == WITHIN)
            turn += 1
        kept = {url: search.highest_kept for url, search in searches.items()}
        return {url: None if place is None else grid.rate(place) for url, place in kept.items()}

    def _equal_rate(self, found: dict[str, list[float | None]]) -> float | None:
        """A rate of the grid that every target sustains with ease."""
        means = [_spread(rates).value for rates in found.values()]
        if any(mean is None for mean in means):
            return None
        grid = Grid(self.settings.step)
        return grid.rate(grid.at_most(self.settings.share * min(mean for mean in means if mean is not None)))

    def _offer(self, target: Target, rate: float, purpose: str, repeat: int, turn: int) -> Load:
        seed = derived_seed(self.settings.seed or 0, "loadtest", purpose, repeat, turn)
        first = seed % len(self.senders.bodies)
        self._warm_up(target.url, first)
        schedule = first_arrivals(self.settings.number(rate, common=purpose == "equal"), rate, seed)
        load = self.senders.offer(target.url, schedule, self.settings.timeout_s, first=first)
        late = load.later_than(self.settings.bound_ms / 1000)
        told = Offered(
            arm=target.arm,
            seed=target.seed,
            purpose=purpose,
            repeat=repeat,
            rate=rate,
            sent=load.sent,
            late=late,
            errors=load.errors,
            verdict=verdict(load.sent, late),
            p50_ms=_milliseconds(load.latencies, 50),
            p90_ms=_milliseconds(load.latencies, 90),
            p99_ms=_milliseconds(load.latencies, 99),
            p999_ms=_milliseconds(load.latencies, 99.9),
            max_ms=_milliseconds(load.latencies, 100),
            lag_p99_ms=_lag(load),
        )
        self.loads.append(told)
        p99 = "beyond measure" if told.p99_ms is None else f"{told.p99_ms:.1f} ms"
        at = f"{target.arm} at {rate:.1f}/s, repeat {repeat + 1}"
        self.report(f"load test: {at}: p99 {p99}, {late} of {load.sent} late: {told.verdict}")
        return load

    def _warm_up(self, url: str, first: int) -> None:
        """Requests one by one that count for nothing, once what an earlier load has left waiting is over."""
        patience = time.monotonic() + SETTLE_SECONDS
        while True:
            try:
                self.senders.one_by_one(url, self.settings.warm_up, self.settings.timeout_s, first=first)
            except RunError:
                if time.monotonic() > patience:
                    raise
                time.sleep(PAUSE_SECONDS)
            else:
                return

    def _check_self(self) -> SelfCheck:
        """Offer the highest rate on which a result rests, or the first one, to a server that does nothing."""
        rates = [load.rate for load in self.loads if load.verdict == WITHIN]
        rate = max(rates, default=self.settings.start)
        with null_server() as url:
            self.senders.one_by_one(url, self.settings.warm_up, self.settings.timeout_s)
            schedule = first_arrivals(self.settings.number(rate), rate, self.settings.seed or 0)
            load = self.senders.offer(url, schedule, self.settings.timeout_s)
        return SelfCheck(
            rate=rate,
            sent=load.sent,
            failed=load.sent - load.completed,
            p50_ms=_milliseconds(load.latencies, 50),
            p99_ms=_milliseconds(load.latencies, 99),
            lag_p99_ms=_lag(load),
        )

    def _sum_up(self, target: Target, found: list[float | None]) -> ArmUnderLoad:
        loads = self.at_equal.get(target.url, [])
        together = np.concatenate([load.latencies for load in loads]) if loads else np.empty(0)
        return ArmUnderLoad(
            arm=target.arm,
            seed=target.seed,
            sustained_by_repeat=found,
            sustained=_spread(found),
            p50_ms=_spread([_milliseconds(load.latencies, 50) for load in loads]),
            p99_ms=_spread([_milliseconds(load.latencies, 99) for load in loads]),
            p999_ms=_milliseconds(together, 99.9),
            max_ms=_milliseconds(together, 100),
            sent=len(together),
            failed=int(np.isinf(together).sum()),
        )


def _milliseconds(seconds: np.ndarray, percent: float) -> float | None:
    """A percentile; None where not one request is expected beyond it, unless it is the largest."""
    if percent < 100 and len(seconds) * (100 - percent) < 100 - 1e-9:
        return None
    value = percentile(seconds, percent)
    return None if value is None else round(1000 * value, 3)


def _lag(load: Load) -> float:
    return round(1000 * (percentile(load.lags, 99) or 0.0), 3)


def _spread(values: Sequence[float | None]) -> Spread:
    """The mean with Student's 95 % interval; nothing where there is no value, or one of them is missing."""
    given = [value for value in values if value is not None]
    if not given or len(given) < len(values):
        return Spread(value=None)
    mean = float(np.mean(given))
    if len(given) < 2:
        return Spread(value=mean)
    half = float(stdtrit(len(given) - 1, 0.975) * np.std(given, ddof=1) / math.sqrt(len(given)))
    return Spread(value=mean, low=mean - half, high=mean + half)


def _why_invalid(check: SelfCheck) -> list[str]:
    why = []
    if not check.lag_p99_ms < MOST_LAG_MS:
        why.append(
            f"the load generator itself was late by {check.lag_p99_ms:.2f} ms (p99) at {check.rate:.1f} requests/s to a"
            f" server that does nothing, where less than {MOST_LAG_MS:g} ms is wanted: give it a quieter machine"
        )
    if check.failed:
        why.append(f"{check.failed} of {check.sent} requests to a server that does nothing failed")
    return why

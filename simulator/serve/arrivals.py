"""An open-loop load generator: Poisson arrivals, latency counted from the scheduled send.

A closed loop waits for an answer before it sends again, so a stall of the server delays the very requests
that would have shown it (coordinated omission). Here the schedule is drawn beforehand and kept whatever the
server does; a request that fails counts as infinitely late.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from pkb.seeding import derived_seed


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of one schedule; times in seconds."""

    latencies: np.ndarray  # [sent] from the scheduled send to the last byte of the answer; inf for an error
    lags: np.ndarray  # [sent] how late the generator itself was
    errors: dict[str, int]  # kind: number

    @property
    def sent(self) -> int:
        return len(self.latencies)

    @property
    def completed(self) -> int:
        return int(np.isfinite(self.latencies).sum())


def poisson_arrivals(rate: float, seconds: float, seed: int) -> np.ndarray:
    """Draw times in [0, seconds) of a Poisson process of `rate` per second, ascending; the seed decides them."""
    rng = np.random.default_rng(derived_seed(seed, "arrivals"))
    times = np.empty(0)
    last = 0.0
    while last < seconds:
        gaps = rng.exponential(1 / rate, size=max(16, math.ceil(rate * seconds)))
        times = np.concatenate([times, last + gaps.cumsum()])
        last = times[-1]
    return times[times < seconds]


def percentile(values: np.ndarray, percent: float) -> float | None:
    """Find the smallest value that `percent` of all values do not exceed (nearest rank).

    None where it is undefined: no values at all, or so many infinite ones that it is infinite.
    """
    if not len(values):
        return None
    value = float(np.quantile(values, percent / 100, method="inverted_cdf"))
    return value if math.isfinite(value) else None


async def offer(
    session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], schedule: np.ndarray, timeout_s: float
) -> Load:
    """POST each body at its time on the schedule (seconds from now), and wait for every answer.

    An error is a status other than 200, a failed connection, or no answer `timeout_s` after the schedule.
    """
    clock = asyncio.get_running_loop().time
    latencies = np.full(len(schedule), np.inf)
    lags = np.zeros(len(schedule))
    errors: Counter[str] = Counter()

    async def send(index: int, due: float) -> None:
        lags[index] = clock() - due
        try:
            async with asyncio.timeout_at(due + timeout_s), session.post(url, data=bodies[index]) as response:
                await response.read()
        except TimeoutError:
            errors["timeout"] += 1
        except aiohttp.ClientError as error:
            errors[type(error).__name__] += 1
        else:
            if response.status == 200:
                latencies[index] = clock() - due
            else:
                errors[f"status {response.status}"] += 1

    start = clock()
    async with asyncio.TaskGroup() as tasks:
        for index, offset in enumerate(schedule):
            due = start + float(offset)
            await asyncio.sleep(max(0.0, due - clock()))  # even when late: lets the sends that wait go out
            tasks.create_task(send(index, due))
    return Load(latencies=latencies, lags=lags, errors=dict(sorted(errors.items())))


def open_session() -> aiohttp.ClientSession:
    """Open a session without a limit of connections: aiohttp's default of 100 would close the loop.

    It goes through no proxy, whatever the environment names.
    """
    return aiohttp.ClientSession(
        trust_env=False,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        headers={"Content-Type": "application/json"},
    )

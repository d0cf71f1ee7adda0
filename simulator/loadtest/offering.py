"""Requests on a schedule that is kept whatever the server does, and what came of them.

A closed loop waits for an answer before it sends again, so a stall of the server delays the very requests that would
have shown it (coordinated omission). Here latency counts from the scheduled send, and a request that fails counts as
infinitely late.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

MOST_CONNECTIONS = 512  # of one process, so that `select` can watch them; what finds none free is an error


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

    def later_than(self, seconds: float) -> int:
        """Count the requests that took longer, or failed."""
        return int((self.latencies > seconds).sum())


def percentile(values: np.ndarray, percent: float) -> float | None:
    """Find the smallest value that `percent` of all values do not exceed (nearest rank).

    None where it is undefined: no values at all, or so many infinite ones that it is infinite.
    """
    if not len(values):
        return None
    value = float(np.quantile(values, percent / 100, method="inverted_cdf"))
    return value if math.isfinite(value) else None


async def offer(
    session: aiohttp.ClientSession,
    url: str,
    bodies: Sequence[bytes],
    schedule: np.ndarray,
    timeout_s: float,
    start: float | None = None,
) -> Load:
    """POST each body at its time on the schedule, and wait for every answer.

    Times are seconds from `start` on the loop's clock, or from now. An error is a status other than 200, a failed
    connection, none of `MOST_CONNECTIONS` free, or no answer `timeout_s` after the schedule.
    """
    clock = asyncio.get_running_loop().time
    latencies = np.full(len(schedule), np.inf)
    lags = np.zeros(len(schedule))
    errors: Counter[str] = Counter()
    open_now = 0

    async def send(index: int, due: float) -> None:
        nonlocal open_now
        lags[index] = clock() - due
        if open_now == MOST_CONNECTIONS:
            errors["no connection free"] += 1
            return
        open_now += 1
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
        finally:
            open_now -= 1

    start = clock() if start is None else start
    async with asyncio.TaskGroup() as tasks:
        for index, offset in enumerate(schedule):
            due = start + float(offset)
            await asyncio.sleep(max(0.0, due - clock()))  # even when late: lets the sends that wait go out
            tasks.create_task(send(index, due))
    return Load(latencies=latencies, lags=lags, errors=dict(sorted(errors.items())))


def precise_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop that wakes up in time: `epoll` and `poll` round what they wait up to a whole millisecond."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def open_session(token: str | None = None) -> aiohttp.ClientSession:
    """Open a session without a limit of connections: aiohttp's default of 100 would close the loop.

    It goes through no proxy, whatever the environment names, and bears the token if there is one.
    """
    headers = {"Content-Type": "application/json"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    return aiohttp.ClientSession(
        trust_env=False,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        headers=headers,
    )

"""The load generator, held against servers whose latency is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from simulator.loadtest.arrivals import poisson_arrivals
from simulator.loadtest.offering import Load, offer, open_session, percentile

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The address of a server that does nothing but `handler`."""
    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()


def offer_to(handler: Handler, *, rate: float, seconds: float, timeout_s: float = 2.0) -> Load:
    async def main() -> Load:
        schedule = poisson_arrivals(rate, seconds, seed=0)
        async with serving(handler) as url, open_session() as session:
            return await offer(session, url, [b"{}"] * len(schedule), schedule, timeout_s)

    return asyncio.run(main())


def test_arrivals_are_decided_by_the_seed() -> None:
    assert np.array_equal(poisson_arrivals(50, 5, seed=1), poisson_arrivals(50, 5, seed=1))
    assert not np.array_equal(poisson_arrivals(50, 5, seed=1)[:9], poisson_arrivals(50, 5, seed=2)[:9])


@given(rate=st.floats(0.1, 500), seconds=st.floats(0.1, 5), seed=st.integers(0, 1000))
def test_arrivals_ascend_within_their_span(rate: float, seconds: float, seed: int) -> None:
    times = poisson_arrivals(rate, seconds, seed)
    assert (np.diff(times) >= 0).all()
    assert ((times >= 0) & (times < seconds)).all()


def test_arrivals_are_a_poisson_process() -> None:
    rate = 100.0
    times = poisson_arrivals(rate, 1000.0, seed=3)
    gaps, counts = np.diff(times), np.bincount(times.astype(int), minlength=1000)
    assert len(times) == pytest.approx(100_000, rel=0.015)  # 5 standard deviations
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.02)  # exponential gaps
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.2)  # counts as spread as their mean


@given(st.lists(st.floats(0, 10), min_size=1), st.floats(1, 99))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: float) -> None:
    found = percentile(np.array(values), percent)
    assert found in values
    assert found is not None
    assert np.mean(np.array(values) <= found) >= percent / 100 - 1e-9
    assert np.mean(np.array(values) < found) < percent / 100 + 1e-9


def test_errors_count_as_late_so_enough_of_them_leave_no_percentile() -> None:
    latencies = np.array([0.01] * 98 + [np.inf] * 2)
    assert percentile(latencies, 95) == 0.01
    assert percentile(latencies, 99) is None
    assert percentile(np.empty(0), 50) is None


def test_latencies_are_those_of_a_server_that_is_known() -> None:
    turn = iter(range(10**6))

    async def nine_of_ten_fast(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.02 if next(turn) % 10 else 0.15)
        return web.json_response({})

    load = offer_to(nine_of_ten_fast, rate=100, seconds=3)
    assert load.sent == load.completed == len(poisson_arrivals(100, 3, seed=0))
    assert not load.errors
    assert 0.02 <= (percentile(load.latencies, 50) or 0) < 0.1
    assert 0.15 <= (percentile(load.latencies, 95) or 0) < 0.5
    assert (percentile(load.lags, 50) or 0) < 0.02


class Stalling:
    """Answers at once, but for one stall in the middle, during which nothing is answered."""

    def __init__(self, after: float, seconds: float) -> None:
        self.after, self.seconds = after, seconds
        self.started: float | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        now = time.monotonic()
        self.started = self.started or now
        into = now - self.started - self.after
        if 0 <= into < self.seconds:
            await asyncio.sleep(self.seconds - into)
        return web.json_response({})


def test_a_stall_shows_in_the_open_loop_that_a_closed_loop_hides() -> None:
    load = offer_to(Stalling(after=0.5, seconds=0.3).answer, rate=200, seconds=3)
    open_p99 = percentile(load.latencies, 99) or 0
    stalled = np.mean(load.latencies > 0.05)

    async def closed() -> list[float]:
        latencies = []
        async with serving(Stalling(after=0.5, seconds=0.3).answer) as url, open_session() as session:
            end = time.monotonic() + 3
            while (sent := time.monotonic()) < end:
                async with session.post(url, data=b"{}") as response:
                    await response.read()
                latencies.append(time.monotonic() - sent)
        return latencies

    closed_p99 = percentile(np.array(asyncio.run(closed())), 99) or 0
    assert open_p99 > 0.2
    assert 0.04 < stalled < 0.4, "about the tenth of the requests that fell into the stall"
    assert closed_p99 < 0.1


def test_refusals_and_timeouts_are_listed_apart_and_have_no_latency() -> None:
    turn = iter(range(10**6))

    async def one_of_three_each(request: web.Request) -> web.StreamResponse:
        match next(turn) % 3:
            case 0:
                return web.json_response({})
            case 1:
                return web.json_response({}, status=503)
            case _:
                await asyncio.sleep(1)
                return web.json_response({})

    load = offer_to(one_of_three_each, rate=60, seconds=1, timeout_s=0.3)
    third = load.sent / 3
    assert load.errors.keys() == {"status 503", "timeout"}
    assert load.errors["timeout"] == pytest.approx(third, abs=1)
    assert load.errors["status 503"] == pytest.approx(third, abs=1)
    assert load.completed + sum(load.errors.values()) == load.sent
    assert np.isinf(load.latencies).sum() == sum(load.errors.values())


def test_a_server_that_is_not_there_is_an_error_of_each_request() -> None:
    async def main() -> Load:
        async with open_session() as session:
            return await offer(session, "http://127.0.0.1:9/", [b"{}"] * 3, np.zeros(3), 1.0)

    load = asyncio.run(main())
    assert load.completed == 0
    assert load.errors == {"ClientConnectorError": 3}


def test_a_generator_that_falls_behind_reports_its_lag_and_counts_it_as_latency() -> None:
    async def blocks_the_generators_own_loop(request: web.Request) -> web.StreamResponse:
        time.sleep(0.05)
        return web.json_response({})

    load = offer_to(blocks_the_generators_own_loop, rate=40, seconds=1, timeout_s=10)
    assert (percentile(load.lags, 99) or 0) > 0.1
    assert (load.latencies >= load.lags).all()

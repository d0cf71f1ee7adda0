"""Models that are swapped and replicas that are killed while requests come.

SWAPPED=20 KILLED=20 python -m pytest -s tests/simulator/serve/test_under_load.py
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import pytest
from ray._private import state

from simulator.loadtest.offering import open_session
from simulator.serve.deploy import running
from simulator.serve.replica import application
from simulator.serve.settings import ServeSettings
from tests.simulator.serve.played_run import played_run
from tests.simulator.serve.test_replica import ask

SWAPPED, KILLED = (int(os.environ.get(name, "2")) for name in ("SWAPPED", "KILLED"))
RATE = 20.0  # requests/s, whatever comes of them
PATIENCE = 240.0  # seconds, for a replica on a busy machine
ANSWERED = 200  # HTTP's status


class Asking(threading.Thread):
    """Asks at a fixed rate for as long as the block lasts; a request that fails is sent once more, at once."""

    def __init__(self, url: str, body: Any) -> None:
        super().__init__()
        self.url, self.body = url, body
        self.ended = threading.Event()
        self.tries: Counter[int] = Counter()  # requests by the number of times that they were sent; 0: never answered
        self.faults: Counter[str] = Counter()
        self.versions: Counter[int] = Counter()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended.set()
        self.join()

    def run(self) -> None:
        asyncio.run(self._ask())

    async def _ask(self) -> None:
        async with open_session() as session, asyncio.TaskGroup() as tasks:
            while not self.ended.is_set():
                tasks.create_task(self._send(session))
                await asyncio.sleep(1 / RATE)

    async def _send(self, session: aiohttp.ClientSession) -> None:
        for times in (1, 2):
            try:
                async with session.post(self.url, json=self.body) as response:
                    if response.status == ANSWERED:
                        self.versions[(await response.json())["version"]] += 1
                        self.tries[times] += 1
                        return
                    self.faults[f"status {response.status}"] += 1
            except aiohttp.ClientError as error:
                self.faults[type(error).__name__] += 1
        self.tries[0] += 1


def wait(until: Callable[[], bool]) -> float:
    """Seconds until something is so."""
    began = time.monotonic()
    while not until():
        assert time.monotonic() < began + PATIENCE
        time.sleep(0.05)
    return time.monotonic() - began


def processes() -> set[int]:
    """The replicas' own."""
    actors = state.actors().values()
    return {a["Pid"] for a in actors if a["State"] == "ALIVE" and a["Name"].startswith("SERVE_REPLICA::tiny/")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_request_is_answered_after_one_retry_at_most_while_models_are_swapped_and_replicas_killed(
    tmp_path: Path, local_ray: None
) -> None:
    played = played_run(tmp_path, days=1 + 2 * SWAPPED, rows=100)
    played.commit(0)
    body = {"candidates": played.raw(played.rows(0).select(slice(5)))}
    replicated = application({"/": played.source()}, None, follow=True, cpus=0.1, replicas=2)
    with running("tiny", ServeSettings(port=0), {("deepfm-0", "/"): replicated}) as address:
        replicas = address.replicas("/")
        assert len(set(replicas) - {address.proxy}) == 2

        def told(index: int) -> bool:
            return all(len(ask(f"{url}/v1/versions")[1]["told"]) == index + 1 for url in replicas)

        with Asking(f"{address.proxy}/v1/score", body) as swapping:
            swaps = []
            for index in range(1, 1 + 2 * SWAPPED):
                played.commit(index, (lambda index=index: played.nudge(index)) if index % 2 else lambda: None)  # type: ignore[misc]
                swaps.append(wait(lambda index=index: told(index)))  # type: ignore[misc]
        print(f"\n{2 * SWAPPED} swaps, {max(swaps):.1f} s at most: {swapping.tries} {swapping.faults}")
        good = {index for index in range(1 + 2 * SWAPPED) if index % 2 == 0}
        with Asking(f"{address.proxy}/v1/score", body) as killing:
            kills = []
            for _ in range(KILLED):
                alive = processes()
                os.kill(min(alive), signal.SIGKILL)
                kills.append(wait(lambda alive=alive: len(processes() - alive) == 1))  # type: ignore[misc]
                kills[-1] += wait(lambda: len(address.replicas("/")) == 2)
    print(f"{KILLED} kills, {max(kills):.1f} s at most: {killing.tries} {killing.faults}")
    assert set(swapping.tries) == {1}, "no request fails"
    assert set(swapping.versions) <= good
    assert killing.tries[0] == 0
    assert killing.tries[1] > 100
    assert set(killing.versions) == {max(good)}

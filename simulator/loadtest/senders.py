"""The load generator's processes, one a core: each sends every so-manieth request of one common schedule.

They read the bodies from a file of JSON lines, so that nothing but times goes between processes, and live through the
whole test with their connections.
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import numpy as np

from pkb.errors import DataError, RunError
from simulator.loadtest.offering import Load, offer, open_session, precise_loop

AHEAD_SECONDS = 0.1  # from the word to the processes to the first moment of a schedule
ANSWERED = 200  # HTTP's status


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process's part: the body of each request, by its place in the file, and when it is due."""

    url: str
    bodies: np.ndarray  # [sent] int64
    schedule: np.ndarray  # [sent] seconds from `start`; none: each when the one before it has been answered
    start: float  # of the clock that all processes share
    timeout_s: float


def read_bodies(file: Path) -> list[bytes]:
    """The bodies of requests, one a line; DataError names a line that is no request."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; give a file with one request's JSON a line") from None
    bodies = [line for line in lines if line.strip()]
    for number, line in enumerate(lines, 1):
        try:
            fault = line.strip() and not {"request", "candidates"} <= set(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            fault = True
        if fault:
            raise DataError(f'{file}, line {number}: is no object with the keys "request" and "candidates"')
    if not bodies:
        raise DataError(f"{file}: holds no requests; give one request's JSON a line")
    return bodies


class Senders:
    """So many processes that send requests, for as long as the block lasts."""

    def __init__(self, file: Path, processes: int) -> None:
        """`file` holds the bodies, as `read_bodies` reads them."""
        self.file, self.bodies = file, read_bodies(file)
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            self._pipes.append(ours)
            self._processes.append(context.Process(target=_send_what_is_asked, args=(theirs, file), daemon=True))

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
            process.join()

    def offer(self, url: str, schedule: np.ndarray, timeout_s: float, *, first: int = 0) -> Load:
        """Send a request at each time on the schedule (seconds, ascending), the bodies in their order from `first`."""
        number, start = len(schedule), time.monotonic() + AHEAD_SECONDS
        bodies = (first + np.arange(number)) % len(self.bodies)
        parts = [slice(place, None, len(self._pipes)) for place in range(len(self._pipes))]
        jobs = [Job(url=url, bodies=bodies[p], schedule=schedule[p], start=start, timeout_s=timeout_s) for p in parts]
        latencies, lags, errors = np.empty(number), np.empty(number), Counter[str]()
        for part, load in zip(parts, self._ask(jobs), strict=True):
            latencies[part], lags[part] = load.latencies, load.lags
            errors.update(load.errors)
        return Load(latencies=latencies, lags=lags, errors=dict(sorted(errors.items())))

    def one_by_one(self, url: str, number: int, timeout_s: float, *, first: int = 0) -> bytes:
        """Send requests in every process, each after the answer to the one before; give the last answer.

        RunError names an answer that is none.
        """
        bodies = (first + np.arange(number)) % len(self.bodies)
        job = Job(url=url, bodies=bodies, schedule=np.empty(0), start=0.0, timeout_s=timeout_s)
        answer: bytes
        for status, answer in self._ask([job] * len(self._pipes)):
            if status != ANSWERED:
                told = answer.decode(errors="replace")[:200]
                raise RunError(f"{url}: " + (f"answered {status}: {told}" if status else f"does not answer: {told}"))
        return answer

    def _ask(self, jobs: Sequence[Job]) -> list[Any]:
        for pipe, job in zip(self._pipes, jobs, strict=True):
            pipe.send(job)
        try:
            return [pipe.recv() for pipe in self._pipes]
        except EOFError:
            raise RunError("a process of the load generator ended; has the machine enough memory?") from None


def _send_what_is_asked(pipe: Connection, file: Path) -> None:
    """What a process does until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it
    bodies = read_bodies(file)
    gc.freeze()
    with asyncio.Runner(loop_factory=precise_loop) as runner:
        runner.run(_answer_jobs(pipe, bodies))


async def _answer_jobs(pipe: Connection, bodies: Sequence[bytes]) -> None:
    async with open_session() as session:
        while True:
            job: Job = pipe.recv()  # nothing else is to be done meanwhile
            mine = [bodies[place] for place in job.bodies]
            gc.disable()  # a collection would make requests late
            try:
                if len(job.schedule):
                    pipe.send(await offer(session, job.url, mine, job.schedule, job.timeout_s, job.start))
                else:
                    pipe.send(await _one_by_one(session, job, mine))
            finally:
                gc.enable()


async def _one_by_one(session: aiohttp.ClientSession, job: Job, bodies: Sequence[bytes]) -> tuple[int, bytes]:
    """The status and the body of the last answer, or of the first that is not 200; status 0: there was none."""
    status, answer = 0, b""
    for body in bodies:
        try:
            async with asyncio.timeout(job.timeout_s), session.post(job.url, data=body) as response:
                status, answer = response.status, await response.read()
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return 0, f"{type(error).__name__} {error}".encode()
        if status != ANSWERED:
            break
    return status, answer

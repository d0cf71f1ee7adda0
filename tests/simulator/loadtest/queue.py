"""A server with one worker and a constant service time, computed instead of waited for; and what is known of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

import numpy as np

from simulator.loadtest.offering import Load

BODIES = [json.dumps({"request": {"user": f"u{n}"}, "candidates": [{"item": "i"}] * 2}).encode() for n in range(50)]


class Queues:
    """Stands for the senders: each URL is a queue with its service time, seconds."""

    bodies = BODIES

    def __init__(self, service: Mapping[str, float], *, fails: float = 0.0, answer: bytes = b'{"scores": [1, 2]}'):
        self.service, self.fails, self.answer = dict(service), fails, answer
        self.asked: list[tuple[str, float, int]] = []  # URL, last time of the schedule, first body

    def one_by_one(self, url: str, number: int, timeout_s: float, *, first: int = 0) -> bytes:
        return self.answer

    def offer(self, url: str, schedule: np.ndarray, timeout_s: float, *, first: int = 0) -> Load:
        self.asked.append((url, float(schedule[-1]), first))
        service = self.service.get(url, 0.0001)  # the null server's
        done, latencies = 0.0, np.empty(len(schedule))
        for place, due in enumerate(schedule):
            done = max(done, due) + service
            latencies[place] = done - due
        failed = np.random.default_rng(len(self.asked)).random(len(schedule)) < self.fails
        latencies[failed | (latencies > timeout_s)] = np.inf
        late = int(np.isinf(latencies).sum())
        return Load(latencies=latencies, lags=np.full(len(schedule), 1e-4), errors={"timeout": late} if late else {})


def share_within(latency: float, rate: float, service: float) -> float:
    """P[latency <= x] of the queue M/D/1 (Erlang's formula for the time waited)."""
    waited = latency - service
    if waited < 0:
        return 0.0
    terms = (
        (rate * (k * service - waited)) ** k / math.factorial(k) * math.exp(-rate * (k * service - waited))
        for k in range(int(waited / service) + 1)
    )
    return (1 - rate * service) * sum(terms)


def sustained(bound: float, service: float) -> float:
    """The highest rate at which 99 % of latencies are within the bound, by bisection."""
    low, high = 0.0, 1 / service
    while high - low > 1e-6 / service:
        middle = (low + high) / 2
        low, high = (middle, high) if share_within(bound, middle, service) >= 0.99 else (low, middle)
    return low

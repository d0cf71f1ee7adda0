"""Deploy every contender of a checkpoint on Ray Serve, check what is served, and measure its latency.

Every contender meets the same schedules and the same requests, in turns, so that a slow moment of the machine
does not fall on one of them alone. The run's folder gets `serving.json`:

    measured    one entry per contender, rate and repeat: sent, completed, errors, p50_ms, p95_ms, p99_ms
                (null where so many requests failed that the percentile is infinite), sender_lag_p99_ms
    checks      one entry per contender: the largest difference between a served and a stored probability
    candidates, slo_ms, timeout_s, seconds    the settings behind them
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from pkb.batch import Batch, Schema
from pkb.errors import RunError
from retrieval.shelf import BEHAVIOURS, DENSE
from simulator.book import period_file
from simulator.files import write_text
from simulator.models import MODELS
from simulator.plan import holdout_share, last_prediction
from simulator.seeding import derived_seed
from simulator.serve.app import Loader
from simulator.serve.check import TOLERANCE, largest_difference, stored_predictions
from simulator.serve.deploy import Endpoint, deployed
from simulator.serve.load import Load, offer, open_session, percentile, poisson_arrivals
from simulator.serve.loading import load_servable
from simulator.serve.traffic import sampled_requests
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log

FLIPS = 0.01  # share of rows beyond the tolerance where rounding may decide which of two neighbours is read
WARM_UP = 20  # requests to each contender before the first that counts
Report = Callable[[str], None]


def serve_and_measure(
    run: Path,
    settings: Settings,
    checkpoint: Path,
    log: Log,
    report: Report,
    *,
    load: Loader | None = None,
) -> dict[str, Any]:
    """Serve each contender of `checkpoint` that was not stopped, and write what was seen to `serving.json`.

    Ray must be initialised, and the last period of `log` committed in `run`. RunError if a contender cannot
    be deployed or asked, or serves other probabilities than were stored (after `serving.json` is written).
    """
    period = log.periods[-1]
    contenders = _contenders(run, period.index)
    rows = log.read(period, histories=bool(log.schema.histories))
    share = holdout_share(settings)
    holdout = rows.select(holdout_mask(rows, share)) if share else rows
    if not len(holdout):
        raise RunError(f"{log.path(period)}: has no holdout rows to ask for; raise stream.holdout_share")
    measured: list[dict[str, Any]] = []
    checks: list[dict[str, Any]] = []
    if contenders:
        report(f"serving: deploying {len(contenders)} contenders")
        with deployed(settings, checkpoint.resolve(), contenders, load or partial(load_servable, log)) as endpoints:
            client = _Client(run, settings, log.schema, period.index, holdout, endpoints, report)
            checks, measured = asyncio.run(client.check_and_measure())
    serve = settings.serve
    result = {
        "measured": measured,
        "checks": checks,
        "candidates": serve.candidates,
        "slo_ms": serve.slo_ms,
        "timeout_s": serve.timeout_s,
        "seconds": serve.seconds,
    }
    write_text(run / "serving.json", json.dumps(result, indent=1, allow_nan=False))
    for check in checks:
        difference = check["max_difference"]
        allowed = FLIPS if MODELS[settings.arms[check["arm"]].backbone].retriever in (DENSE, BEHAVIOURS) else 0.0
        if difference is None or check["share_beyond"] > allowed:
            by = "an undefined amount" if difference is None else f"{difference:.2g}"
            raise RunError(
                f"{run / 'serving.json'}: {check['arm']} (seed {check['seed']}) serves probabilities that differ by "
                f"{by} from those stored for period {period.index}, more than {TOLERANCE:g}; "
                "its checkpoint and its predictions do not belong together"
            )
    return result


def _contenders(run: Path, period: int) -> list[tuple[str, int]]:
    """(arm, seed) of those that took part to the end."""
    file = period_file(run, "costs", period)
    try:
        arms = json.loads(file.read_text())["arms"]
    except FileNotFoundError:
        raise RunError(f"{file}: is not there; the run has not committed its last period yet") from None
    return [(entry["arm"], entry["seed"]) for entry in arms if entry["stopped"] is None]


@dataclass
class _Client:
    """Asks the deployed contenders over HTTP, in turns."""

    run: Path
    settings: Settings
    schema: Schema
    period: int
    holdout: Batch
    endpoints: Sequence[Endpoint]
    report: Report

    async def check_and_measure(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The entries of `checks` and of `measured`."""
        serve = self.settings.serve
        async with open_session() as session:
            self.report("serving: comparing served with stored probabilities")
            checks = [await self._check(session, endpoint) for endpoint in self.endpoints]
            for endpoint in self.endpoints:
                await self._warm_up(session, endpoint)
            measured = []
            for repeat in range(serve.repeats):
                for rate in serve.rates:
                    for endpoint in self.endpoints:
                        self.report(f"serving: {endpoint.arm} (seed {endpoint.seed}) at {rate:g} requests/s")
                        measured.append(await self._measure(session, endpoint, rate, repeat))
        return checks, measured

    async def _check(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> dict[str, Any]:
        through, holdout = last_prediction(self.settings, self.period)
        who = (endpoint.arm, endpoint.seed)
        stored = stored_predictions(self.run, self.period, *who, through=through, holdout=holdout)
        rows, largest, beyond = await largest_difference(
            session, endpoint, self.holdout, stored, self.schema, self.settings.serve
        )
        compared = {"rows": rows, "max_difference": largest, "share_beyond": beyond}
        return {"arm": endpoint.arm, "seed": endpoint.seed, **compared}

    async def _warm_up(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        for body in self._requests(WARM_UP, self._seed("warm up")):
            await offer(session, endpoint.url, [body], np.zeros(1), self.settings.serve.timeout_s)

    async def _measure(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, rate: float, repeat: int
    ) -> dict[str, Any]:
        seed = self._seed(str(rate), repeat)
        schedule = poisson_arrivals(rate, self.settings.serve.seconds, seed)
        bodies = self._requests(len(schedule), seed)
        load = await offer(session, endpoint.url, bodies, schedule, self.settings.serve.timeout_s)
        return {"arm": endpoint.arm, "seed": endpoint.seed, "rate": rate, "repeat": repeat, **summary(load)}

    def _seed(self, *names: str | int) -> int:
        """The same for every contender, another one for every rate and repeat."""
        return derived_seed(self.settings.seeds[0], "serve", *names)

    def _requests(self, number: int, seed: int) -> list[bytes]:
        candidates = self.settings.serve.candidates
        return sampled_requests(self.holdout, self.schema, number=number, candidates=candidates, seed=seed)


def summary(load: Load) -> dict[str, Any]:
    """What `serving.json` says of one load; milliseconds, null where undefined or infinite."""

    def milliseconds(times: np.ndarray, percent: float) -> float | None:
        value = percentile(times, percent)
        return None if value is None else round(1000 * value, 3)

    return {
        "sent": load.sent,
        "completed": load.completed,
        "errors": load.sent - load.completed,
        "errors_by_kind": load.errors,
        "p50_ms": milliseconds(load.latencies, 50),
        "p95_ms": milliseconds(load.latencies, 95),
        "p99_ms": milliseconds(load.latencies, 99),
        "sender_lag_p99_ms": milliseconds(load.lags, 99),
    }

"""Deploy every contender of a run as `serve` does, check what is served, and measure its latency.

Every contender meets the same schedules and the same requests, in turns, so that a slow moment of the machine
does not fall on one of them alone. The run's folder gets `serving.json` (`simulator.record.serving`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from pkb.batch import Batch
from pkb.errors import RunError, SettingError
from pkb.seeding import derived_seed
from retrieval.indexed_pool import RetrievalSettings
from simulator.loadtest.arrivals import poisson_arrivals
from simulator.loadtest.offering import Load, offer, open_session, percentile, precise_loop
from simulator.loadtest.target import Target
from simulator.record.costs import ArmCosts, read_arm_costs
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.serving import Check, Measured, Serving, write_serving
from simulator.serve.check import largest_difference
from simulator.serve.guard import token_of_environment
from simulator.serve.ports import free_port, refuse_open_pages
from simulator.serve.request import MAX_BODY_BYTES
from simulator.serve.settings import ServeSettings
from simulator.serve.stored import TOLERANCE, may_flip, stored_predictions
from simulator.serve.traffic import sampled_requests
from simulator.serve.versions import Source
from simulator.stream.domains import sub_domain
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from simulator.stream.protocol import holdout_share, last_prediction
from simulator.stream.settings import StreamSettings

SETTLE_SECONDS = 60.0  # patience with a server that was asked for more than it can give
PAUSE_SECONDS = 0.2
WARM_UP = 20  # requests to each contender before the first that counts
Report = Callable[[str], None]


def serve_and_measure(
    run: RunFolder,
    settings: ServeSettings,
    stream: StreamSettings,
    retrieval: RetrievalSettings,
    log: Log,
    report: Report,
    *,
    seed: int,
) -> Serving:
    """Serve each contender that was not stopped, yardsticks left out, and write what was seen to `serving.json`.

    Ray must be initialised, and the last period of `log` committed in `run`. RunError if a contender cannot
    be deployed or asked, or serves other probabilities than were stored (after `serving.json` is written).
    """
    from simulator.serve.replica import deployed  # imports Ray Serve

    period = log.periods[-1]
    arms = _alive(run, period.index)
    holdout = rows_to_ask_for(stream, log)
    checks: list[Check] = []
    measured: list[Measured] = []
    if arms:
        report(f"serving: deploying {len(arms)} contenders")
        folder = run.path.resolve()
        sources = [
            Source(run=folder, log=log.folder, stream=stream, retrieval=retrieval, arm=arm.arm, seed=arm.seed)
            for arm in arms
        ]
        token = token_of_environment(settings.host)
        with deployed(sources, settings, token) as targets:
            client = _Client(run, settings, log, stream, period.index, holdout, targets, token, report, seed)
            with asyncio.Runner(loop_factory=precise_loop) as loop:
                checks, measured = loop.run(client.check_and_measure())
    serving = Serving(
        measured=measured,
        checks=checks,
        candidates=settings.candidates,
        slo_ms=settings.slo_ms,
        timeout_s=settings.timeout_s,
        seconds=settings.seconds,
    )
    write_serving(run, serving)
    for arm, check in zip(arms, checks, strict=True):
        hold_to_stored(run, period.index, arm, check)
    return serving


def rows_to_ask_for(stream: StreamSettings, log: Log) -> Batch:
    """Give the last period's holdout, or all of its rows where there are no holdouts; RunError if it is empty.

    Of a sub-domain, its rows.
    """
    period, share = log.periods[-1], holdout_share(stream)
    rows = sub_domain(log, stream).of(log.read(period, histories=bool(log.schema.histories)))
    holdout = rows.select(holdout_mask(rows, share)) if share else rows
    if not len(holdout):
        raise RunError(
            f"{log.path(period)}: the holdout of the last period has no rows, so there is nothing to ask a server for;"
            " set a larger stream.holdout_share, or serve.enabled=false"
        )
    return holdout


def check_servable(settings: ServeSettings, stream: StreamSettings, log: Log) -> None:
    """Know before training what would stop serving after it; SettingError or RunError names the setting."""
    refuse_open_pages()
    free_port(settings)
    token_of_environment(settings.host)
    holdout = rows_to_ask_for(stream, log)
    [body] = sampled_requests(holdout, log, stream, number=1, candidates=settings.candidates, seed=0)
    if len(body) > MAX_BODY_BYTES:
        raise SettingError(
            f"serve.candidates={settings.candidates}: a request has {len(body):,} bytes, more than the"
            f" {MAX_BODY_BYTES:,} that are taken; ask for fewer, or set a smaller stream.history_length"
        )


def _alive(run: RunFolder, period: int) -> list[ArmCosts]:
    """The arms that took part to the end."""
    experiment = read_experiment(run)
    if run.complete_through(experiment.keys) < period:
        raise RunError(f"{run}: not every contender has committed the last period yet")
    everyone = [read_arm_costs(run, period, key) for key in experiment.keys]
    return [one for one in everyone if one.stopped is None and one.arm in experiment.arms]


def hold_to_stored(run: RunFolder, period: int, arm: ArmCosts, check: Check) -> None:
    """Hold an arm to what it stored: RunError if it serves other probabilities."""
    if check.max_difference is None or check.share_beyond > may_flip(arm.reads):
        by = "an undefined amount" if check.max_difference is None else f"{check.max_difference:.2g}"
        raise RunError(
            f"{run.serving}: {check.arm} (seed {check.seed}) serves probabilities that differ by "
            f"{by} from those stored for period {period}, more than {TOLERANCE:g}; "
            "its checkpoint and its predictions do not belong together"
        )


@dataclass
class _Client:
    """Asks the deployed contenders over HTTP, in turns."""

    run: RunFolder
    settings: ServeSettings
    log: Log
    stream: StreamSettings
    period: int
    holdout: Batch
    targets: Sequence[Target]
    token: str | None
    report: Report
    seed: int

    async def check_and_measure(self) -> tuple[list[Check], list[Measured]]:
        """Check every target, warm it up, then measure all of them at each rate."""
        async with open_session(self.token) as session:
            self.report("serving: comparing served with stored probabilities")
            checks = [await self._check(session, target) for target in self.targets]
            warm_up = self._requests(WARM_UP, self._seed("warm up"))
            for target in self.targets:
                for body in warm_up:
                    await offer(session, target.url, [body], np.zeros(1), self.settings.timeout_s)
            measured = []
            for repeat in range(self.settings.repeats):
                for rate in self.settings.rates:
                    measured += await self._measure(session, rate, repeat)
        return checks, measured

    async def _check(self, session: aiohttp.ClientSession, target: Target) -> Check:
        through, holdout = last_prediction(self.stream, self.period)
        stored = stored_predictions(self.run, self.period, target.arm, target.seed, through=through, holdout=holdout)
        rows, largest, beyond = await largest_difference(
            session, target, self.holdout, stored, self.log, self.stream, self.settings
        )
        return Check(arm=target.arm, seed=target.seed, rows=rows, max_difference=largest, share_beyond=beyond)

    async def _measure(self, session: aiohttp.ClientSession, rate: float, repeat: int) -> list[Measured]:
        """Offer the same requests on the same schedule to one target after the other."""
        seed = self._seed(str(rate), repeat)
        schedule = poisson_arrivals(rate, self.settings.seconds, seed)
        bodies = self._requests(len(schedule), seed)
        measured = []
        for target in self.targets:
            self.report(f"serving: {target.arm} (seed {target.seed}) at {rate:g} requests/s")
            await self._settled(session, target)
            load = await offer(session, target.url, bodies, schedule, self.settings.timeout_s)
            measured.append(summary(target, rate, repeat, load))
        return measured

    async def _settled(self, session: aiohttp.ClientSession, target: Target) -> None:
        """Wait until what the load before this one has left is over: all contenders are one process."""
        one, patience = self._requests(1, self._seed("settled")), time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < patience:
            if not (await offer(session, target.url, one, np.zeros(1), self.settings.timeout_s)).errors:
                return
            await asyncio.sleep(PAUSE_SECONDS)

    def _seed(self, *names: str | int) -> int:
        """One seed for all contenders, and another for every rate and repeat."""
        return derived_seed(self.seed, "serve", *names)

    def _requests(self, number: int, seed: int) -> list[bytes]:
        candidates = self.settings.candidates
        return sampled_requests(self.holdout, self.log, self.stream, number=number, candidates=candidates, seed=seed)


def summary(target: Target, rate: float, repeat: int, load: Load) -> Measured:
    """Sum up what came of one load."""

    def milliseconds(times: np.ndarray, percent: float) -> float | None:
        value = percentile(times, percent)
        return None if value is None else round(1000 * value, 3)

    return Measured(
        arm=target.arm,
        seed=target.seed,
        rate=rate,
        repeat=repeat,
        sent=load.sent,
        completed=load.completed,
        errors=load.sent - load.completed,
        errors_by_kind=load.errors,
        p50_ms=milliseconds(load.latencies, 50),
        p95_ms=milliseconds(load.latencies, 95),
        p99_ms=milliseconds(load.latencies, 99),
        sender_lag_p99_ms=milliseconds(load.lags, 99),
    )

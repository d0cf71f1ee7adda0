"""The versions of a model that is served: loaded aside, warmed, held to what was stored, then swapped in one step.

A version's number is that of the period after which its checkpoint was written. A request takes one version when it
comes, and no other; the last KEPT stay callable by number.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pkb.errors import CheckpointError, Error, RunError
from retrieval.indexed_pool import RetrievalSettings
from simulator.record.costs import read_arm_costs
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder
from simulator.serve.loading import Scorer, load_scorer
from simulator.serve.stored import TOLERANCE, may_flip, stored_predictions
from simulator.serve.traffic import asked_again
from simulator.stream.asked import Reader
from simulator.stream.asked_columns import Column
from simulator.stream.log import Log
from simulator.stream.protocol import last_prediction
from simulator.stream.settings import StreamSettings

KEPT = 5
TOLD = 100
CHECKED = 200  # rows of which a version must give the stored probabilities ...
AT_ONCE = 50  # ... in requests of so many
POLL_SECONDS = 0.5

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Which contender of which run is served, and where its log is."""

    run: Path
    log: Path
    stream: StreamSettings
    retrieval: RetrievalSettings
    arm: str
    seed: int

    @property
    def key(self) -> str:
        return key_of((self.arm, self.seed))

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.run)

    def committed(self) -> int:
        """Number of the latest period of which there is a checkpoint; -1 before the first."""
        return self.folder.committed(self.key)


@dataclass(frozen=True, kw_only=True)
class Version:
    """One model that is served, and how it came to be."""

    number: int
    scorer: Scorer
    known: int  # ids below it are known to the model
    committed: float  # when its checkpoint was, seconds since 1970
    load_seconds: float  # until it was loaded ...
    check_seconds: float  # ... and then held to what was stored, by which it is warm
    rows: int  # compared
    difference: float  # largest one between a probability and the stored one
    since: float  # when it was ready, seconds since 1970

    @property
    def period(self) -> int:
        """Number of the last period that the model has learned; -1 before the first."""
        return self.scorer.trained_through

    @property
    def knowledge(self) -> int | None:
        """Number of the last period in its knowledge base; None without one, or before the first."""
        contender = self.scorer.contender
        return contender.compressed_through if contender.source and contender.compressed_through >= 0 else None


class Versions:
    """Those of one contender; `current` is None before the first."""

    def __init__(self, source: Source, tell: Tell) -> None:
        self.source, self._tell = source, tell
        self.told: list[tuple[int, str]] = []  # lines on versions, numbered from 1 on; the last TOLD of them
        self.log = Log(source.log)
        self.reader = Reader(self.log, source.stream, source.folder.vocabulary)
        self.current: Version | None = None
        self.swaps = 0
        self.refused = 0
        self._held: OrderedDict[int, Version] = OrderedDict()
        self._ended = threading.Event()

    def numbered(self, number: int) -> Version | None:
        """The version of this number, if it is still held."""
        return self._held.get(number)

    @property
    def held(self) -> list[Version]:
        """From the oldest to the present one."""
        return list(self._held.values())

    @property
    def behind(self) -> float:
        """Periods that the run has committed after the one that is served; NaN where its folder cannot be read."""
        try:
            return self.source.committed() - (-1 if self.current is None else self.current.number)
        except (Error, OSError):
            return math.nan

    def swap_to(self, number: int) -> None:
        """Serve the checkpoint of this period from now on; an error leaves all as it is."""
        version = self._made(number)
        held = OrderedDict(self._held)
        held[number] = version
        while len(held) > KEPT:
            held.popitem(last=False)
        self._held, self.current = held, version
        self.swaps += 1
        self._say(
            f"{self.source.key}: version {number} is served: loaded in {version.load_seconds:.2f} s, checked on"
            f" {version.rows} rows in {version.check_seconds:.2f} s (largest difference {version.difference:.1e}),"
            f" {version.since - version.committed:.1f} s after its commit"
        )

    def begin(self, *, follow: bool) -> None:
        """Serve the latest checkpoint, and with `follow` each one that is committed until `end`.

        An error says why there is none to serve; with `follow` the next one is waited for.
        """
        number = self.source.committed()
        if number < 0 and not follow:
            raise RunError(f"{self.source.run}: {self.source.key} has committed no period yet; wait, or --follow it")
        if number >= 0:
            try:
                self.swap_to(number)
            except (Error, OSError) as error:
                if not follow:
                    raise
                self._refuse(number, error)
        if follow:
            threading.Thread(target=self._follow, args=(number,), name="follow", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _follow(self, seen: int) -> None:
        while not self._ended.wait(POLL_SECONDS):
            try:
                committed = self.source.committed()
                if committed > seen:
                    seen = committed
                    self.swap_to(committed)
            except (Error, OSError) as error:  # of a file that was cleared away meanwhile, too: the next one comes
                self._refuse(seen, error)

    def _refuse(self, number: int, error: Exception) -> None:
        self.refused += 1
        served = "none" if self.current is None else f"version {self.current.number}"
        self._say(f"{self.source.key}: VERSION {number} IS REFUSED, {served} goes on: {error}")

    def _say(self, line: str) -> None:
        number = self.told[-1][0] + 1 if self.told else 1
        self.told = [*self.told, (number, line)][-TOLD:]
        self._tell(line)

    def _made(self, number: int) -> Version:
        """Load, warm and check; an Error says what is wrong."""
        source, began = self.source, time.perf_counter()
        torch.set_num_threads(1)  # a request's latency must not depend on how many cores are idle
        costs = read_arm_costs(source.folder, number, source.key)
        if costs.stopped is not None:
            raise RunError(f"{source.run}: {source.key} was {costs.stopped}, so there is nothing to serve")
        committed = source.folder.committed_file(source.key).stat().st_mtime
        scorer = load_scorer(self.log, source.stream, source.retrieval, source.folder.checkpoint(source.key, number))
        loaded = time.perf_counter()
        through = scorer.trained_through
        known = self.log.periods[through].vocabulary_size if through >= 0 else self.log.schema.first_value_id
        stored, served = self._compared(scorer, number, known)
        differences = np.abs(stored - served)
        beyond = float((~(differences <= TOLERANCE)).mean())
        if beyond > may_flip(costs.reads):
            raise CheckpointError(
                f"{source.folder.checkpoint(source.key, number)}: {beyond:.1%} of {len(stored)} rows get another"
                f" probability than the stored one (by up to {differences.max():.2g}); checkpoint and predictions do"
                " not belong together"
            )
        return Version(
            number=number,
            scorer=scorer,
            known=known,
            committed=committed,
            load_seconds=loaded - began,
            check_seconds=time.perf_counter() - loaded,
            rows=len(stored),
            difference=float(differences.max()),
            since=time.time(),
        )

    def _compared(self, scorer: Scorer, number: int, known: int) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities stored of some rows of a period, and those of the same rows as requests with raw values."""
        source, period = self.source, self.log.periods[number]
        through, holdout = last_prediction(source.stream, number)
        row_id, probability = stored_predictions(
            source.folder, number, source.arm, source.seed, through=through, holdout=holdout
        )
        rows = self.log.read(period, histories=bool(self.log.schema.histories))
        rows = rows.select(torch.from_numpy(np.isin(rows.row_id.numpy(), row_id)))
        rows, requests = asked_again(rows, self.log, source.stream, size=AT_ONCE, most=CHECKED)
        served = []
        for asked in requests:
            columns = {name: Column(name=name, values=values, shared=False) for name, values in asked.items()}
            number_of_rows = len(next(iter(asked.values())))
            served.append(scorer.predict(self.reader.read(columns, number_of_rows, known).rows))
        return probability[np.searchsorted(row_id, rows.row_id.numpy())], np.concatenate(served)

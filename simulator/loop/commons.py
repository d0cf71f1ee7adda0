"""What is done once for a run, however many groups play it: the replay of its log, and every shared search.

Nothing here depends on what a contender has learned, so one process can be ahead of all groups.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from pkb.batch import Batch, Neighbours, every_column
from simulator.contender.searching import reads_of
from simulator.loop.finder import Finder
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.record.layout import RunFolder
from simulator.record.memory import note_peak
from simulator.stream.domains import sub_domain
from simulator.stream.holdout import holdout_mask
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log, Period
from simulator.stream.protocol import joins_pool
from simulator.stream.replay import replay

AHEAD = 2  # periods beyond the latest that somebody has committed
POLL_SECONDS = 0.1


class Commons:
    """Provides the shared files of a run, period by period."""

    def __init__(self, play: Play, log: Log, run: RunFolder) -> None:
        self.play, self.log, self.run = play, log, run
        self.files = SharedFiles(run, len(log.schema.fields))
        self.names = sorted({name for recipe in play.recipes for name in reads_of(recipe).shared})
        self.histories = any(recipe.reads_histories for recipe in play.recipes)
        self.finder = Finder(play.retrieval, log.schema, self.names)
        self.learnable = Learnable(log, play.stream)
        self.served = sub_domain(log, play.stream)
        self.holdouts: dict[int, Batch] = {}  # of the latest periods, as R asks for them

    def provide(self) -> None:
        """Provide every period that is still to be played; returns once the last one is there."""
        keys = [recipe.key for recipe in self.play.recipes]
        first = self.run.complete_through(keys) + 1
        for period in self.log.periods[:first] if self.names else ():
            self.recall(period)
        for period, rows in replay(self.log, first=first, histories=self.histories):
            self._wait_for_somebody_near(period.index, keys)
            self.provide_period(period, rows)
            self.files.drop(self.run.complete_through(keys))
            note_peak(self.run, "commons")

    def recall(self, period: Period) -> None:
        """Make a period part of the past that has been provided before."""
        rows = self._read(period)
        self._keep_holdout(period, rows)
        self._join_pool(period, rows)

    def provide_period(self, period: Period, rows: Batch) -> None:
        """Provide the rows of a period, which older ones they find, and then what they bring to the holdouts so far."""
        self.files.write_rows(period, rows)
        for name in self.names:
            since, cpu = time.perf_counter(), time.process_time()
            found = self.finder.find(rows, name, until=period.start)
            spent = time.perf_counter() - since, time.process_time() - cpu
            self.files.write_found(name, period, found, spent)
        if not self.names:
            return
        self._keep_holdout(period, rows)
        self._join_pool(period, rows)
        self.files.write_sizes(period, self.finder.sizes())
        for name in self.names:
            held = [self.finder.find(replace(rows, ts=None), name, until=period.end) for rows in self.holdouts.values()]
            if held:
                together: Neighbours = every_column(held, torch.cat)
                self.files.write_found_by_holdouts(name, period, together)

    def _keep_holdout(self, period: Period, rows: Batch) -> None:
        if self.learnable.holdout_share:
            served = self.served.of(rows)
            self.holdouts[period.index] = served.select(holdout_mask(served, self.learnable.holdout_share))
            self.holdouts.pop(period.index - (self.play.measure.holdout_periods or len(self.log.periods)), None)

    def _join_pool(self, period: Period, rows: Batch) -> None:
        """Let later rows find those whose labels arrived in this period."""
        if joins_pool(self.play.stream, period.index):

            def rows_of(other: Period) -> Batch:
                return rows if other.index == period.index else self._read(other)

            self.finder.append_arrived(period.index, self.learnable, rows_of)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)

    def _wait_for_somebody_near(self, period: int, keys: list[str]) -> None:
        """Wait until some contender is so far that it will soon ask for this period."""
        while max(self.run.committed(key) for key in keys) < period - AHEAD - 1:
            time.sleep(POLL_SECONDS)

"""The present period and earlier ones, as contenders may see them.

What is given to a contender carries the neighbours that the contender reads: of rows that are learned, or predicted
for the first time, what they found when their period was the present one; of holdouts, what they find now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from pkb.batch import Batch, Neighbours
from retrieval.shelf import DENSE
from simulator.arms import Contender
from simulator.learnable import Learnable
from simulator.models import MODELS
from simulator.neighbours import Finder
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period
from simulator.stream.shown import Activity, Shown, shown


class Past:
    """The present period; of earlier ones the holdouts, in memory, and their other rows, read again when asked for."""

    def __init__(self, log: Log, settings: Settings, first: int, finder: Finder) -> None:
        self.log, self.settings, self.finder = log, settings, finder
        self.learnable = Learnable(log, settings)
        self.histories = any(MODELS[arm.backbone].uses_histories for arm in settings.arms.values())
        self.kept = settings.measure.holdout_periods or len(log.periods)
        self.activity = Activity()
        self.holdouts: dict[int, Shown] = {}
        for period in log.periods[:first]:
            self.arrive(period, self._read(period))
            self.join_pool()

    def arrive(self, period: Period, rows: Batch) -> None:
        """`period` is the present one."""
        vocabulary, activity = self.log.vocabulary_before(period), self.activity.counts()
        self.period, self.held = period, holdout_mask(rows, self.learnable.share)
        self.now = shown(rows, self.log.schema, period.start, vocabulary, activity)
        self.own: dict[str, Neighbours] = {}  # what rows of now find by encoders of contenders
        self.activity.add(self.now.user, period.end)
        if self.learnable.share:
            self.holdouts[period.index] = self.now.select(self.held)
            self.holdouts.pop(period.index - self.kept, None)

    def find(self, names: set[str]) -> None:
        """The rows of the present period find older ones, by retrievers that contenders share."""
        found = self.finder.find(self.now.rows, names, until=self.period.start)
        for name in names:
            self.finder.store(name, self.period, found.neighbours[name])
        self.now = replace(self.now, rows=found)

    def find_own(self, contender: Contender) -> None:
        """The same, by the contender's own encoder."""
        self.own[contender.key] = self.finder.find_own(contender, self.now.rows, until=self.period.start)
        self.finder.store(contender.key, self.period, self.own[contender.key])

    def find_again(self, contender: Contender, periods: Iterable[int]) -> None:
        """The rows of these periods and of the present one find anew, by an encoder that has learned meanwhile."""
        for period in (self.log.periods[index] for index in periods):
            rows = self._rows_of(period)
            found = self.finder.find_own(contender, rows, until=period.start, encoder_of=self.period.end)
            self.finder.store(contender.key, period, found)
        until, now = self.period.start, self.period.end
        self.own[contender.key] = self.finder.find_own(contender, self.now.rows, until=until, encoder_of=now)

    def join_pool(self) -> None:
        """Later rows may find those whose labels arrived in the present period."""
        self.learnable.join_pool(self.finder, self.period.index, self._rows_of)

    def let_holdouts_find(self, names: set[str]) -> None:
        """Rows that nothing has learned may find what came after them, too."""
        shared = self.finder.shared & names
        for index, holdout in self.holdouts.items() if shared else ():
            rows = self.finder.find(replace(holdout.rows, ts=None), shared, until=self.period.end)
            self.holdouts[index] = replace(holdout, rows=rows)

    def present(self, contender: Contender) -> Batch:
        """The rows of the present period."""
        return self._rows_for(contender, self.period)

    def holdout(self, index: int, contender: Contender) -> Batch:
        """The holdout of a period, with the neighbours of now."""
        rows = only(self.holdouts[index].rows, contender.reads)
        if DENSE not in contender.reads:
            return rows
        found = self.finder.find_own(contender, replace(rows, ts=None), until=self.period.end)
        return replace(rows, neighbours=rows.neighbours | {DENSE: found})

    def old(self, index: int, contender: Contender) -> Batch:
        """The rows of an earlier period outside its holdout."""
        rows = self._rows_for(contender, self.log.periods[index])
        return rows.select(~holdout_mask(rows, self.learnable.share))

    def known(self, periods: range, contender: Contender) -> Batch:
        """The rows, outside holdouts, whose labels arrived in these periods."""
        return self.learnable.rows(periods, partial(self._rows_for, contender))

    def _rows_for(self, contender: Contender, period: Period) -> Batch:
        """All rows of a period, with what they found when it was the present one."""
        rows = self._rows_of(period)
        found = {name: self._found(contender, name, period, rows) for name in contender.retrievers}
        return replace(rows, neighbours=found)

    def _found(self, contender: Contender, name: str, period: Period, rows: Batch) -> Neighbours:
        source = contender.key if name == DENSE else name
        if period.index == self.period.index and source in self.own:
            return self.own[source]
        return rows.neighbours[name] if name in rows.neighbours else self.finder.stored(source, period)

    def _rows_of(self, period: Period) -> Batch:
        return self.now.rows if period.index == self.period.index else self._read(period)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)


def only(rows: Batch, names: set[str]) -> Batch:
    """The rows with the neighbours of these retrievers alone."""
    return replace(rows, neighbours={name: n for name, n in rows.neighbours.items() if name in names})

"""The present period and earlier ones, as contenders may see them.

What is given to a contender carries the neighbours that the contender reads: of rows that are learned, or predicted
for the first time, what they found when their period was the present one; of holdouts, what they find now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pkb.batch import Batch, Neighbours
from retrieval.indexed_pool import DENSE
from simulator.contender.contender import Contender
from simulator.loop.finder import Finder
from simulator.loop.play import Play
from simulator.stream.holdout import holdout_mask
from simulator.stream.learnable import Learnable
from simulator.stream.log import Log, Period
from simulator.stream.protocol import joins_pool
from simulator.stream.shown import Activity, Shown, shown


class Past:
    """The present period; of earlier ones the holdouts, in memory, and their other rows, read again when asked for."""

    def __init__(self, log: Log, play: Play, first: int, finder: Finder) -> None:
        self.log, self.stream, self.finder = log, play.stream, finder
        self.learnable = Learnable(log, play.stream)
        self.histories = any(recipe.uses_histories for recipe in play.recipes)
        self.kept = play.measure.holdout_periods or len(log.periods)
        self.activity = Activity()
        self.holdouts: dict[int, Shown] = {}
        for period in log.periods[:first]:
            self.arrive(period, self._read(period))
            self.join_pool()

    def arrive(self, period: Period, rows: Batch) -> None:
        """Make `period` the present one."""
        vocabulary, activity = self.log.vocabulary_before(period), self.activity.counts()
        self.period, self.held = period, holdout_mask(rows, self.learnable.holdout_share)
        self.present_rows = shown(rows, self.log.schema, period.start, vocabulary, activity)
        self.own: dict[str, Neighbours] = {}  # what rows of now find by encoders of contenders
        self.activity.add(self.present_rows.user, period.end)
        if self.learnable.holdout_share:
            self.holdouts[period.index] = self.present_rows.select(self.held)
            self.holdouts.pop(period.index - self.kept, None)

    def find(self, names: set[str]) -> None:
        """Let rows of the present period find older ones, by retrievers that contenders share."""
        found = self.finder.find(self.present_rows.rows, names, until=self.period.start)
        for name in names:
            self.finder.store(name, self.period, found.neighbours[name])
        self.present_rows = replace(self.present_rows, rows=found)

    def find_own(self, contender: Contender) -> None:
        """Let rows of the present period find older ones by the contender's own encoder."""
        self.own[contender.key] = self.finder.find_own(contender, self.present_rows.rows, until=self.period.start)
        self.finder.store(contender.key, self.period, self.own[contender.key])

    def find_again(self, contender: Contender, periods: Iterable[int]) -> None:
        """Let the rows of these periods and of the present one find anew, by an encoder that has learned meanwhile."""
        for period in (self.log.periods[index] for index in periods):
            rows = self._rows_of(period)
            found = self.finder.find_own(contender, rows, until=period.start, encoder_of=self.period.end)
            self.finder.store(contender.key, period, found)
        until, learned = self.period.start, self.period.end
        self.own[contender.key] = self.finder.find_own(
            contender, self.present_rows.rows, until=until, encoder_of=learned
        )

    def join_pool(self) -> None:
        """Let later rows find those whose labels arrived in the present period."""
        if joins_pool(self.stream, self.period.index):
            self.finder.append_arrived(self.period.index, self.learnable, self._rows_of)

    def let_holdouts_find(self, names: set[str]) -> None:
        """Let rows that nothing has learned find what came after them, too."""
        shared = self.finder.shared & names
        for index, holdout in self.holdouts.items() if shared else ():
            rows = self.finder.find(replace(holdout.rows, ts=None), shared, until=self.period.end)
            self.holdouts[index] = replace(holdout, rows=rows)

    def rows(self, contender: Contender) -> Batch:
        """Give the rows of the present period."""
        return self._rows_for(contender, self.period)

    def holdout(self, index: int, contender: Contender) -> Batch:
        """Give the holdout of a period, with the neighbours of now."""
        rows = only(self.holdouts[index].rows, contender.reads.predicting)
        return self.finder.with_own(contender, rows, until=self.period.end)

    def old(self, index: int, contender: Contender) -> Batch:
        """Give the rows of an earlier period outside its holdout."""
        rows = self._rows_for(contender, self.log.periods[index])
        return rows.select(~holdout_mask(rows, self.learnable.holdout_share))

    def known(self, contender: Contender, periods: range) -> Batch:
        """Give the rows, outside holdouts, whose labels arrived in these periods."""
        return self.learnable.rows(periods, lambda period: self._rows_for(contender, period))

    def _rows_for(self, contender: Contender, period: Period) -> Batch:
        """Give all rows of a period, with what they found when it was the present one."""
        rows = self._rows_of(period)
        found = {name: self._found(contender, name, period, rows) for name in sorted(contender.reads.all)}
        return replace(rows, neighbours=found)

    def _found(self, contender: Contender, name: str, period: Period, rows: Batch) -> Neighbours:
        source = contender.key if name == DENSE else name
        if period.index == self.period.index and source in self.own:
            return self.own[source]
        return rows.neighbours[name] if name in rows.neighbours else self.finder.files.read(source, period)

    def _rows_of(self, period: Period) -> Batch:
        return self.present_rows.rows if period.index == self.period.index else self._read(period)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)


def only(rows: Batch, names: Iterable[str]) -> Batch:
    """Give the rows with the neighbours of these retrievers alone."""
    return replace(rows, neighbours={name: n for name, n in rows.neighbours.items() if name in names})

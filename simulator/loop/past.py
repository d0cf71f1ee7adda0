"""The present period and earlier ones, as contenders may see them.

Contenders predict the sub-domain's rows, where there is one, and learn these unless their arm says otherwise; bases
and the search pool get those of all domains. What is given to a contender carries the neighbours that the contender
reads: of rows that are learned, or predicted for the first time, what they found when their period was the present
one; of holdouts, what they find now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pkb.batch import Batch, Neighbours, every_column
from retrieval.indexed_pool import DENSE
from simulator.contender.contender import Contender
from simulator.loop.finder import Finder
from simulator.loop.neighbour_files import Spent, read_neighbours, write_neighbours
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.record.layout import RunFolder
from simulator.stream.domains import SubDomain, sub_domain
from simulator.stream.holdout import holdout_mask
from simulator.stream.learnable import Learnable, as_known
from simulator.stream.log import Log, Period
from simulator.stream.protocol import joins_pool
from simulator.stream.shown import Activity, Shown, shown


class Past:
    """The present period; of earlier ones the holdouts, in memory, and their other rows, read again when asked for.

    What shared retrievers find comes from the run's shared files. A contender that searches by its own encoder does so
    here, in a pool that this process keeps if it has such contenders.
    """

    def __init__(self, log: Log, play: Play, run: RunFolder, contenders: list[Contender], first: int) -> None:
        self.log, self.stream, self.run = log, play.stream, run
        self.shared = SharedFiles(run, len(log.schema.fields))
        self.ranks = contenders[0].ranks
        own = {DENSE for contender in contenders if contender.encoder is not None}
        self.finder = Finder(play.retrieval, log.schema, own, self.ranks)
        self.learnable = Learnable(log, play.stream)
        self.served = sub_domain(log, play.stream)
        self.histories = any(recipe.reads_histories for recipe in play.recipes)
        self.kept = play.measure.holdout_periods or len(log.periods)
        self.staleness = play.measure.staleness_seconds
        self.activity = Activity()
        self.holdouts: dict[int, Shown] = {}
        self._before_swap: dict[int, Batch] = {}  # by period
        for period in log.periods[:first]:
            self.arrive(period, self._read(period))
            self.join_pool()

    def arrive(self, period: Period, rows: Batch) -> None:
        """Make `period` the present one."""
        vocabulary, activity = self.log.vocabulary_before(period), self.activity.counts()
        served = self.served.of(rows)
        self.period, self.all_rows, self.held = period, rows, holdout_mask(served, self.learnable.holdout_share)
        self.present_rows = shown(served, self.log.schema, period.start, vocabulary, activity)
        self.own: dict[str, Neighbours] = {}  # what rows of now find by encoders of contenders
        self._before_swap.clear()
        self.activity.add(self.present_rows.user, period.end)
        if self.learnable.holdout_share:
            self.holdouts[period.index] = self.present_rows.select(self.held)
            self.holdouts.pop(period.index - self.kept, None)

    def find(self, name: str) -> Spent:
        """Give the rows of the present period what a shared retriever found for them; says what that took."""
        found, spent = self.shared.found(name, self.period)
        rows = self.all_rows
        self.all_rows = replace(rows, neighbours=rows.neighbours | {name: found})
        self.present_rows = replace(self.present_rows, rows=self.served.of(self.all_rows))
        return spent

    def find_own(self, contender: Contender) -> None:
        """Let rows of the present period find older ones by the contender's own encoder."""
        found = self.finder.find_own(contender, self.all_rows, until=self.period.start)
        self.own[contender.key] = found
        self._store(contender, self.period, found)

    def find_again(self, contender: Contender, periods: Iterable[int]) -> None:
        """Let the rows of these periods and of the present one find anew, by an encoder that has learned meanwhile."""
        for period in (self.log.periods[index] for index in periods):
            rows = self._rows_of(period)
            found = self.finder.find_own(contender, rows, until=period.start, encoder_of=self.period.end)
            self._store(contender, period, found)
        until, learned = self.period.start, self.period.end
        self.own[contender.key] = self.finder.find_own(contender, self.all_rows, until=until, encoder_of=learned)

    def join_pool(self) -> None:
        """Let later rows find those whose labels arrived in the present period."""
        if joins_pool(self.stream, self.period.index):
            self.finder.append_arrived(self.period.index, self.learnable, self._rows_of)

    def let_holdouts_find(self, names: Iterable[str]) -> None:
        """Give rows that nothing has learned what shared retrievers now find for them, what came later included."""
        for name in names if self.holdouts else ():
            found, start = self.shared.found_by_holdouts(name, self.period), 0
            for index, holdout in self.holdouts.items():
                stop = start + len(holdout.rows)
                some = slice(start, stop)
                its: Neighbours = every_column([found], lambda columns, some=some: columns[0][some])  # type: ignore[misc]
                rows = replace(holdout.rows, neighbours=holdout.rows.neighbours | {name: its})
                self.holdouts[index], start = replace(holdout, rows=rows), stop

    def sizes(self, contender: Contender) -> dict[str, int]:
        """Count the bytes of the pool and of the indexes, as of the period's end, that this contender shares."""
        return self.shared.sizes(self.period) if contender.reads.shared else self.finder.sizes()

    def rows(self, contender: Contender) -> Batch:
        """Give the rows of the present period that contenders serve."""
        return self.served.of(self._rows_for(contender, self.period))

    def before_swap(self, index: int) -> Batch | None:
        """Give the rows of a period that are there before the model of the one before it is in service, if any."""
        if not self.staleness or index >= len(self.log.periods):
            return None
        if index not in self._before_swap:
            period = self.log.periods[index]
            rows = self.served.of(self.shared.rows(period))
            assert rows.ts is not None, "rows of a log have times"
            self._before_swap[index] = rows.select(rows.ts < period.start + self.staleness)
        return self._before_swap[index]

    def holdout(self, index: int, contender: Contender) -> Batch:
        """Give the holdout of a period, with the neighbours of now."""
        rows = only(self.holdouts[index].rows, contender.reads.predicting)
        return self.finder.with_own(contender, rows, until=self.period.end)

    def old(self, index: int, contender: Contender) -> Batch:
        """Give all rows of an earlier period outside its holdout, with the labels that are known now."""
        rows = self._rows_for(contender, self.log.periods[index])
        return as_known(rows.select(~holdout_mask(rows, self.learnable.holdout_share)), self.period.start)

    def validation(self, contender: Contender) -> Batch:
        """Give the rows of the present period with the labels that are known at its end."""
        return as_known(self.rows(contender), self.period.end)

    def known(self, contender: Contender, periods: range) -> Batch:
        """Give the rows, outside holdouts, whose labels arrived in these periods."""
        learns = self.served if contender.recipe.learns_sub_domain else SubDomain()
        return self.learnable.rows(periods, lambda period: learns.of(self._rows_for(contender, period)))

    def _rows_for(self, contender: Contender, period: Period) -> Batch:
        """Give all rows of a period, with what they found when it was the present one."""
        rows = self._rows_of(period)
        found = {name: self._found(contender, name, period, rows) for name in sorted(contender.reads.all)}
        return replace(rows, neighbours=found)

    def _found(self, contender: Contender, name: str, period: Period, rows: Batch) -> Neighbours:
        source = contender.key if name == DENSE else name
        if period.index == self.period.index and source in self.own:
            return self.own[source]
        if name in rows.neighbours:
            return rows.neighbours[name]
        return read_neighbours(self.run.neighbours(source, period.index), len(self.log.schema.fields))[0]

    def _store(self, contender: Contender, period: Period, found: Neighbours) -> None:
        """Keep what a contender's own encoder found for a period's rows: learned again later, they read it again."""
        if self.ranks.first:
            write_neighbours(self.run.neighbours(contender.key, period.index), found, (0.0, 0.0))

    def _rows_of(self, period: Period) -> Batch:
        return self.all_rows if period.index == self.period.index else self._read(period)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)


def only(rows: Batch, names: Iterable[str]) -> Batch:
    """Give the rows with the neighbours of these retrievers alone."""
    return replace(rows, neighbours={name: n for name, n in rows.neighbours.items() if name in names})

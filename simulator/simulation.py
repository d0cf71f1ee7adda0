"""The loop over periods: what every worker of the training group runs, from the first period to the last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import ray.train

from pkb.batch import Batch, concatenate
from retrieval.shelf import DENSE
from simulator.arms import Contender
from simulator.book import BEST_ATTAINABLE, Book, drop_uncommitted, write_ledger
from simulator.models import MODELS
from simulator.neighbours import Finder
from simulator.plan import Plan, holdout_share, plan
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log, Period
from simulator.stream.replay import replay
from simulator.stream.shown import Activity, Shown, shown
from simulator.train.checkpoint import checkpoint_bytes, load_contenders, save_contenders
from simulator.train.ranks import Ranks
from simulator.train.steps import DivergedError

Tell = Callable[..., None]  # tell(period=, arm=, stage=, rows=): for the progress display


def simulate(settings: Settings, log: Log, run: Path, tell: Tell) -> None:
    """Replay the log once, strictly in time; every period ends with its results and checkpoint committed together."""
    ranks = Ranks.of_process_group()
    contenders, first = starting_point(settings, log, ranks)
    if ranks.first:
        drop_uncommitted(run, first - 1)
    past = Past(log, settings, first, Finder(run, settings, log.schema, contenders))
    since = waiting = time.perf_counter()

    for period, rows in replay(log, first=first, histories=past.histories):
        gap = time.perf_counter() - waiting
        past.arrive(period, rows)
        book = Book(period, past.now, gap, since)
        todo = plan(settings, log.periods, period.index)
        stage = Stages(book, period, tell)

        find_older(active(contenders), period, past, stage)
        for contender in active(contenders):  # test ...
            predict_period(contender, period, todo, past, stage)
        for contender in active(contenders):
            compress_what_became_old(contender, period, todo, past, stage)
        for contender in active(contenders):  # ... then train
            learn_period(contender, period, todo, past, stage)
        past.join_pool(todo)
        past.let_holdouts_find({c.reads for c in active(contenders)})
        for contender in active(contenders):
            predict_holdouts(contender, period, past, stage)
        note_untrained_and_best(contenders, period, todo, past, book)
        write_ledger(run, period, contenders, ranks)
        book.searched(contenders, past.finder)
        since = time.perf_counter()
        commit(run, period, book, contenders, settings, log, ranks)
        waiting = time.perf_counter()


def starting_point(settings: Settings, log: Log, ranks: Ranks) -> tuple[list[Contender], int]:
    """Contenders and number of the first period to play: after the last committed one, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return [
            Contender(arm, seed, settings, log.schema, ranks) for seed in settings.seeds for arm in settings.arms
        ], 0
    with checkpoint.as_directory() as folder:
        contenders = load_contenders(Path(folder), ranks)
        return contenders, 1 + int((Path(folder) / "period").read_text())


def active(contenders: list[Contender]) -> list[Contender]:
    return [c for c in contenders if c.stopped is None]


class Past:
    """The present period, and earlier ones: their holdouts in memory, their other rows read again when asked for.

    What is given to a contender carries the neighbours that the contender reads.
    """

    def __init__(self, log: Log, settings: Settings, first: int, finder: Finder) -> None:
        self.log, self.settings = log, settings
        self.share = holdout_share(settings)
        self.delay = settings.stream.label_delay_seconds or 0
        self.finder = finder
        self.histories = any(MODELS[arm.backbone].uses_histories for arm in settings.arms.values())
        self.kept = settings.measure.holdout_periods or len(log.periods)
        self.activity = Activity()
        self.holdouts: dict[int, Shown] = {}
        for period in log.periods[:first]:
            self.arrive(period, self._read(period))
            self.join_pool(plan(settings, log.periods, period.index))

    def arrive(self, period: Period, rows: Batch) -> None:
        """`period` is the present one."""
        vocabulary, activity = self.log.vocabulary_before(period), self.activity.counts()
        self.period, self.held = period, holdout_mask(rows, self.share)
        self.now = shown(rows, self.log.schema, period.start, vocabulary, activity)
        self.activity.add(self.now.user, period.end)
        if self.share:
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
        found = self.finder.find_own(contender, self.now.rows, until=self.period.start)
        self.finder.store(contender.key, self.period, found)

    def join_pool(self, todo: Plan) -> None:
        """Later rows may find those whose labels arrived in the present period."""
        if todo.joins_pool and self.finder.needed:
            at = range(self.period.index, self.period.index + 1)
            since, until = self._shown_in(at)
            self.finder.append(self._known(at, self._rows_of), start=since, end=until)

    def let_holdouts_find(self, names: set[str | None]) -> None:
        """Rows that nothing has learned may find what came after them, too: their neighbours are those of now."""
        shared = self.finder.shared & names
        for index, holdout in self.holdouts.items() if shared else ():
            rows = self.finder.find(replace(holdout.rows, ts=None), shared, until=self.period.end)
            self.holdouts[index] = replace(holdout, rows=rows)

    def present(self, contender: Contender) -> Batch:
        """The rows of the present period."""
        return self._rows_for(contender, self.period)

    def holdout(self, index: int, contender: Contender) -> Batch:
        """The holdout of a period, with the neighbours of now."""
        rows = self.holdouts[index].rows
        if contender.reads == DENSE:
            return self.finder.for_now(contender, rows, until=self.period.end)
        return only(rows, {contender.reads})

    def old(self, index: int, contender: Contender) -> Batch:
        """The rows of an earlier period outside its holdout."""
        rows = self._rows_for(contender, self.log.periods[index])
        return rows.select(~holdout_mask(rows, self.share))

    def known(self, periods: range, contender: Contender) -> Batch:
        """The rows, outside holdouts, whose labels arrived in these periods."""
        return self._known(periods, partial(self._rows_for, contender))

    def _known(self, periods: range, rows_of: Callable[[Period], Batch]) -> Batch:
        since, until = self._shown_in(periods)
        past = self.log.periods[: self.period.index + 1]
        shown = [p for p in past if p.start < until and p.end > since] or past[:1]
        return concatenate([self._between(p, rows_of(p), since, until) for p in shown])

    def _shown_in(self, periods: range) -> tuple[int, int]:
        """When the rows were shown whose labels arrived in these periods."""
        log = self.log.periods
        since = log[periods[0]].start - self.delay if periods[0] else log[0].start
        return since, log[periods[-1]].end - self.delay

    def _between(self, period: Period, rows: Batch, since: int, until: int) -> Batch:
        wanted = ~(self.held if period.index == self.period.index else holdout_mask(rows, self.share))
        if not since <= period.start < period.end <= until:
            assert rows.ts is not None
            wanted &= (rows.ts >= since) & (rows.ts < until)
        return rows.select(wanted)

    def _rows_for(self, contender: Contender, period: Period) -> Batch:
        """All rows of a period, with what they found when it was the present one."""
        rows = self._rows_of(period)
        sources = {name: contender.key if name == DENSE else name for name in contender.retrievers}
        missing = {name: source for name, source in sources.items() if name not in rows.neighbours}
        found = {name: self.finder.stored(source, period) for name, source in missing.items()}
        return only(replace(rows, neighbours=rows.neighbours | found), contender.retrievers)

    def _rows_of(self, period: Period) -> Batch:
        return self.now.rows if period.index == self.period.index else self._read(period)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)


def only(rows: Batch, names: Iterable[str | None]) -> Batch:
    """The rows with the neighbours of these retrievers alone."""
    return replace(rows, neighbours={name: n for name, n in rows.neighbours.items() if name in names})


class Stages:
    """Charges what a contender does to the book, and tells the progress display."""

    def __init__(self, book: Book, period: Period, tell: Tell) -> None:
        self.book, self.period, self.tell = book, period, tell

    @contextmanager
    def __call__(self, contender: Contender, name: str) -> Iterator[Callable[[int], None]]:
        """Gives the block a function to call with the rows it has done; a divergence stops the contender."""
        self.tell(period=self.period.index, arm=contender.key, stage=name, rows=0)
        with self.book.stage([contender], name) as charge:

            def done(rows: int) -> None:
                charge(rows)
                self.tell(period=self.period.index, arm=contender.key, stage=name, rows=rows)

            try:
                yield done
            except DivergedError as error:
                contender.stopped = str(error)

    @contextmanager
    def shared(self, contenders: list[Contender], name: str) -> Iterator[Callable[[int], None]]:
        """The same for what serves several contenders at once; each is charged in full."""
        with self.book.stage(contenders, name) as charge:
            yield charge


def find_older(contenders: list[Contender], period: Period, past: Past, stage: Stages) -> None:
    """The rows of the period find their neighbours; who reads a retriever's pays for it as if alone."""
    for name in sorted(past.finder.shared):
        readers = [c for c in contenders if name in c.retrievers]
        with stage.shared(readers, "retrieve") as done:
            past.find({name})
            done(len(past.now.rows))
    for contender in contenders:
        if DENSE in contender.retrievers:
            with stage(contender, "retrieve") as done:
                past.find_own(contender)
                done(len(past.now.rows))


def predict_period(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if not todo.predict:
        return
    with stage(contender, "predict") as done:
        probability = contender.predict_prequentially(period, past.present(contender), done)
    through, index = period.index - 1, period.index
    note = stage.book.predicted
    note(contender.arm, contender.seed, through, index, past.now, probability, holdout=False)
    if index in past.holdouts:  # the same predictions once more: R[j-1, j]
        its = probability[past.held.numpy()]
        note(contender.arm, contender.seed, through, index, past.holdouts[index], its, holdout=True)


def compress_what_became_old(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if contender.knowledge is None:
        return
    olds = todo.compress if contender.knowledge.retriever is None else todo.imitate
    for old in olds[contender.compressed_through + 1 :]:
        with stage(contender, "compress") as done:
            rows = past.old(old, contender)
            contender.compress(rows, past.log.periods[old], period, done)
        with stage(contender, "measure"):
            contender.examine_knowledge(rows, past.present(contender))


def learn_period(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if not todo.learn:
        return
    with stage(contender, "learn") as done:
        rows = partial(past.known, contender=contender)
        contender.learn(period, todo.learn, rows, done, None if todo.stop_by is None else past.present(contender))


def predict_holdouts(contender: Contender, period: Period, past: Past, stage: Stages) -> None:
    """One row of R: the model trained through `period` on every holdout so far."""
    for index, holdout in past.holdouts.items():
        with stage(contender, "measure") as done:
            probability = contender.predict(past.holdout(index, contender), done)
        who = (contender.arm, contender.seed, period.index, index)
        stage.book.predicted(*who, holdout, probability, holdout=True)


def note_untrained_and_best(contenders: list[Contender], period: Period, todo: Plan, past: Past, book: Book) -> None:
    """The two ends of the scale: the untrained model on this holdout, and a synthetic world's true probability."""
    holdout, truth = past.holdouts.get(period.index), past.now.rows.p_true
    if holdout is not None and period.index > 0:  # at period 0 the prequential prediction is the untrained one
        for c in contenders:
            untrained = Contender(c.arm, c.seed, c.settings, c.schema, c.ranks)
            probability = untrained.predict(only(holdout.rows, {c.reads}))
            book.predicted(c.arm, c.seed, -1, period.index, holdout, probability, holdout=True)
    if truth is not None and todo.predict:
        book.predicted(BEST_ATTAINABLE, 0, period.index - 1, period.index, past.now, truth.numpy(), holdout=False)


def commit(
    run: Path,
    period: Period,
    book: Book,
    contenders: list[Contender],
    settings: Settings,
    log: Log,
    ranks: Ranks,
) -> None:
    """Results first, then the checkpoint: Ray Train's registration of the checkpoint is the commit."""
    metrics = {"period": period.index}
    name = f"period-{period.index:05d}"
    if not ranks.first:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        (folder / "period").write_text(str(period.index))
        save_contenders(folder, contenders, settings, log.schema)
        book.write(run, contenders, {c.key: checkpoint_bytes(folder, c) for c in contenders})
        checkpoint = ray.train.Checkpoint.from_directory(str(folder))
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)

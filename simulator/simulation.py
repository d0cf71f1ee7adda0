"""The loop over periods: what every worker of the training group runs, from the first period to the last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import ray.train

from retrieval.shelf import DENSE
from simulator.arms import Contender
from simulator.book import BEST_ATTAINABLE, Book, drop_uncommitted, write_ledger
from simulator.neighbours import Finder
from simulator.past import Past, only
from simulator.plan import Plan, plan
from simulator.settings import Settings
from simulator.stream.log import Log, Period
from simulator.stream.replay import replay
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
        past.join_pool()
        past.let_holdouts_find({name for c in active(contenders) for name in c.reads})
        for contender in active(contenders):
            predict_holdouts(contender, period, past, stage)
        note_untrained_and_best(contenders, period, todo, past, book)
        write_ledger(run, period, contenders, ranks)
        book.searched(contenders, past.finder)
        since = time.perf_counter()
        commit(run, period, book, contenders, past, ranks)
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
    for contender in contenders:
        contender.notes = {}
    for name in sorted(past.finder.shared):
        readers = [c for c in contenders if name in c.retrievers]
        if readers:
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
    for old in (index for index in olds if index > contender.compressed_through):
        for _ in rounds(contender, todo, [old], past):
            with stage(contender, "compress") as done:
                rows = past.old(old, contender)
                contender.compress(rows, past.log.periods[old], period, done)
        if contender.stopped is not None:
            return
        with stage(contender, "measure"):
            contender.examine_knowledge(rows, past.present(contender))


def learn_period(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if not todo.learn:
        return
    for _ in rounds(contender, todo, todo.learn, past):
        with stage(contender, "learn") as done:
            rows = partial(past.known, contender=contender)
            contender.learn(period, todo.learn, rows, done, None if todo.stop_by is None else past.present(contender))


def rounds(contender: Contender, todo: Plan, periods: Iterable[int], past: Past) -> Iterator[int]:
    """One lesson; two where a split's only one finds its rows' neighbours by an encoder that is yet to learn.

    The second goes on from the first, on what the encoder finds once it has learned.
    """
    yield 1
    if todo.stop_by is not None and DENSE in contender.retrievers and contender.stopped is None:
        past.find_again(contender, periods)
        yield 2


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
            rows = only(past.present(c), untrained.reads).select(past.held)
            probability = untrained.predict(rows)
            book.predicted(c.arm, c.seed, -1, period.index, holdout, probability, holdout=True)
    if truth is not None and todo.predict:
        book.predicted(BEST_ATTAINABLE, 0, period.index - 1, period.index, past.now, truth.numpy(), holdout=False)


def commit(run: Path, period: Period, book: Book, contenders: list[Contender], past: Past, ranks: Ranks) -> None:
    """Results first, then the checkpoint: Ray Train's registration of the checkpoint is the commit."""
    metrics = {"period": period.index}
    name = f"period-{period.index:05d}"
    if not ranks.first:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside)
        (folder / "period").write_text(str(period.index))
        save_contenders(folder, contenders, past.settings, past.log.schema)
        if period == past.log.periods[-1]:  # what is served searches what was measured
            for contender in active(contenders):
                past.finder.save_index(contender, folder)
        book.write(run, contenders, {c.key: checkpoint_bytes(folder, c) for c in contenders})
        checkpoint = ray.train.Checkpoint.from_directory(str(folder))
        ray.train.report(metrics, checkpoint=checkpoint, checkpoint_dir_name=name)

"""The loop over periods: what every worker of the training group runs, from the first period to the last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray.train

from pkb.backbones import BACKBONES
from pkb.batch import Batch, concatenate
from simulator.arms import Contender
from simulator.book import BEST_ATTAINABLE, Book, drop_uncommitted, write_ledger
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
    past = Past(log, settings, first)
    since = waiting = time.perf_counter()

    for period, rows in replay(log, first=first, histories=past.histories):
        gap = time.perf_counter() - waiting
        past.arrive(period, rows)
        book = Book(period, past.now, gap, since)
        todo = plan(settings, log.periods, period.index)
        stage = Stages(book, period, tell)

        for contender in active(contenders):  # test ...
            predict_period(contender, period, todo, past, stage)
        for contender in active(contenders):
            compress_what_became_old(contender, period, todo, past, stage)
        for contender in active(contenders):  # ... then train
            learn_period(contender, period, todo, past, stage)
        for contender in active(contenders):
            predict_holdouts(contender, period, past, stage)
        note_untrained_and_best(contenders, period, todo, past, book)
        write_ledger(run, period, contenders, ranks)
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
    """The present period, and earlier ones: their holdouts in memory, their other rows read again when asked for."""

    def __init__(self, log: Log, settings: Settings, first: int) -> None:
        self.log, self.settings = log, settings
        self.share = holdout_share(settings)
        self.delay = settings.stream.label_delay_seconds or 0
        self.histories = any(BACKBONES[arm.backbone].uses_histories for arm in settings.arms.values())
        self.kept = settings.measure.holdout_periods or len(log.periods)
        self.activity = Activity()
        self.holdouts: dict[int, Shown] = {}
        for period in log.periods[:first]:
            self.arrive(period, self._read(period))

    def arrive(self, period: Period, rows: Batch) -> None:
        """`period` is the present one."""
        vocabulary, activity = self.log.vocabulary_before(period), self.activity.counts()
        self.period, self.held = period, holdout_mask(rows, self.share)
        self.now = shown(rows, self.log.schema, period.start, vocabulary, activity)
        self.activity.add(self.now.user, period.end)
        if self.share:
            self.holdouts[period.index] = self.now.select(self.held)
            self.holdouts.pop(period.index - self.kept, None)

    def old(self, index: int) -> Batch:
        """The rows of an earlier period outside its holdout."""
        rows = self._read(self.log.periods[index])
        return rows.select(~holdout_mask(rows, self.share))

    def known(self, periods: range) -> Batch:
        """The rows, outside holdouts, whose labels arrived in these periods."""
        log = self.log.periods
        since = log[periods[0]].start - self.delay if periods[0] else log[0].start
        until = log[periods[-1]].end - self.delay
        shown = [p for p in log[: self.period.index + 1] if p.start < until and p.end > since] or log[:1]
        return concatenate([self._between(p, since, until) for p in shown])

    def _between(self, period: Period, since: int, until: int) -> Batch:
        at_hand = period.index == self.period.index
        rows = self.now.rows if at_hand else self._read(period)
        wanted = ~(self.held if at_hand else holdout_mask(rows, self.share))
        if not since <= period.start < period.end <= until:
            assert rows.ts is not None
            wanted &= (rows.ts >= since) & (rows.ts < until)
        return rows.select(wanted)

    def _read(self, period: Period) -> Batch:
        return self.log.read(period, histories=self.histories)


class Stages:
    """Charges what a contender does to the book, and tells the progress display."""

    def __init__(self, book: Book, period: Period, tell: Tell) -> None:
        self.book, self.period, self.tell = book, period, tell

    @contextmanager
    def __call__(self, contender: Contender, name: str) -> Iterator[Callable[[int], None]]:
        """Gives the block a function to call with the rows it has done; a divergence stops the contender."""
        self.tell(period=self.period.index, arm=contender.key, stage=name, rows=0)
        with self.book.stage(contender, name) as charge:

            def done(rows: int) -> None:
                charge(rows)
                self.tell(period=self.period.index, arm=contender.key, stage=name, rows=rows)

            try:
                yield done
            except DivergedError as error:
                contender.stopped = str(error)


def predict_period(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if not todo.predict:
        return
    with stage(contender, "predict") as done:
        probability = contender.predict_prequentially(period, past.now.rows, done)
    through, index = period.index - 1, period.index
    note = stage.book.predicted
    note(contender.arm, contender.seed, through, index, past.now, probability, holdout=False)
    if index in past.holdouts:  # the same predictions once more: R[j-1, j]
        its = probability[past.held.numpy()]
        note(contender.arm, contender.seed, through, index, past.holdouts[index], its, holdout=True)


def compress_what_became_old(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if contender.knowledge is None:
        return
    for old in todo.compress[contender.compressed_through + 1 :]:
        with stage(contender, "compress") as done:
            contender.compress(past.old(old), past.log.periods[old], period, done)


def learn_period(contender: Contender, period: Period, todo: Plan, past: Past, stage: Stages) -> None:
    if not todo.learn:
        return
    with stage(contender, "learn") as done:
        contender.learn(period, todo.learn, past.known, done, None if todo.stop_by is None else past.now.rows)


def predict_holdouts(contender: Contender, period: Period, past: Past, stage: Stages) -> None:
    """One row of R: the model trained through `period` on every holdout so far."""
    for index, holdout in past.holdouts.items():
        with stage(contender, "measure") as done:
            probability = contender.predict(holdout.rows, done)
        who = (contender.arm, contender.seed, period.index, index)
        stage.book.predicted(*who, holdout, probability, holdout=True)


def note_untrained_and_best(contenders: list[Contender], period: Period, todo: Plan, past: Past, book: Book) -> None:
    """The two ends of the scale: the untrained model on this holdout, and a synthetic world's true probability."""
    holdout, truth = past.holdouts.get(period.index), past.now.rows.p_true
    if holdout is not None and period.index > 0:  # at period 0 the prequential prediction is the untrained one
        for c in contenders:
            untrained = Contender(c.arm, c.seed, c.settings, c.schema, c.ranks)
            probability = untrained.predict(holdout.rows)
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

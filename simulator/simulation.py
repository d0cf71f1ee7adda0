"""The loop over periods: what every worker of the training group runs, from the first period to the last."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray.train
import torch

from pkb.batch import Batch, concatenate
from simulator.arms import Contender, lesson
from simulator.book import BEST_ATTAINABLE, Book, drop_uncommitted
from simulator.settings import Settings
from simulator.stream.holdout import holdout_mask
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
    past = Past(log, settings, first)
    waiting = time.perf_counter()

    for period, rows in replay(log, first=first, histories=False):
        book = Book(period, rows, log.schema, past.known_ids(period), time.perf_counter() - waiting)
        held = holdout_mask(rows, settings.stream.holdout_share)
        learnable = rows.select(~held)
        past.remember(period, rows.select(held))
        stage = Stages(book, period, tell)

        for contender in active(contenders):  # test ...
            predict_period(contender, period, rows, held, past, stage)
        for contender in active(contenders):
            compress_what_became_old(contender, period, past, stage)
        for contender in active(contenders):  # ... then train
            learn_period(contender, period, learnable, past, stage)
        for contender in active(contenders):
            predict_holdouts(contender, period, past, stage)
        note_untrained_and_best(contenders, period, rows, past, book)
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
    """Earlier periods: their holdouts in memory, their other rows read again from the log when asked for."""

    def __init__(self, log: Log, settings: Settings, first: int) -> None:
        self.log, self.share = log, settings.stream.holdout_share
        self.kept = settings.measure.holdout_periods or len(log.periods)
        self.holdouts: dict[int, Batch] = {}
        for period in log.periods[max(0, first - self.kept) : first]:
            rows = log.read(period)
            self.remember(period, rows.select(holdout_mask(rows, self.share)))

    def known_ids(self, period: Period) -> int:
        """Ids below this had appeared before `period`."""
        if period.index == 0:
            return self.log.schema.first_value_id
        return self.log.periods[period.index - 1].vocabulary_size

    def remember(self, period: Period, holdout: Batch) -> None:
        self.holdouts[period.index] = holdout
        self.holdouts.pop(period.index - self.kept, None)

    def learnable(self, periods: range) -> Batch:
        """The rows of earlier periods outside their holdouts."""
        read = [self.log.read(self.log.periods[index]) for index in periods]
        return concatenate([rows.select(~holdout_mask(rows, self.share)) for rows in read])


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


def predict_period(
    contender: Contender, period: Period, rows: Batch, held: torch.Tensor, past: Past, stage: Stages
) -> None:
    with stage(contender, "predict") as done:
        probability = contender.predict_prequentially(period, rows, done)
    known = past.known_ids(period)
    through, index = period.index - 1, period.index
    note = stage.book.predicted
    note(contender.arm, contender.seed, through, index, rows, probability, holdout=False, known_ids=known)
    # the same predictions once more: R[j-1, j]
    holdout, its = rows.select(held), probability[held.numpy()]
    note(contender.arm, contender.seed, through, index, holdout, its, holdout=True, known_ids=known)


def compress_what_became_old(contender: Contender, period: Period, past: Past, stage: Stages) -> None:
    old = period.index - contender.settings.compress.lag
    if contender.knowledge is None or old < 0:
        return
    with stage(contender, "compress") as done:
        contender.compress(past.log.periods[old], past.learnable(range(old, old + 1)), period, done)


def learn_period(contender: Contender, period: Period, rows: Batch, past: Past, stage: Stages) -> None:
    plan = lesson(contender.choice.policy, period.index, contender.settings.train.frozen_after)
    if plan is None:
        return
    with stage(contender, "learn") as done:
        if plan.afresh:
            contender.start_afresh()
        if len(plan.periods) > 1:
            rows = concatenate([past.learnable(plan.periods[:-1]), rows])
        contender.learn(period, rows, period, done)


def predict_holdouts(contender: Contender, period: Period, past: Past, stage: Stages) -> None:
    """One row of R: the model trained through `period` on every holdout so far."""
    for index, holdout in past.holdouts.items():
        with stage(contender, "measure") as done:
            probability = contender.predict(holdout, done)
        known = past.known_ids(past.log.periods[index])
        through = period.index
        stage.book.predicted(
            contender.arm, contender.seed, through, index, holdout, probability, holdout=True, known_ids=known
        )


def note_untrained_and_best(contenders: list[Contender], period: Period, rows: Batch, past: Past, book: Book) -> None:
    """The two ends of the scale: the untrained model on this holdout, and a synthetic world's true probability."""
    known, holdout = past.known_ids(period), past.holdouts[period.index]
    for c in contenders if period.index > 0 else []:  # at period 0 the prequential prediction is the untrained one
        untrained = Contender(c.arm, c.seed, c.settings, c.schema, c.ranks)
        probability = untrained.predict(holdout)
        book.predicted(c.arm, c.seed, -1, period.index, holdout, probability, holdout=True, known_ids=known)
    if rows.p_true is not None:
        through, truth = period.index - 1, rows.p_true.numpy()
        book.predicted(BEST_ATTAINABLE, 0, through, period.index, rows, truth, holdout=False, known_ids=known)


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

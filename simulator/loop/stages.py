"""What contenders do with a period, stage by stage; each stage is charged to who takes part in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from torch import Tensor

from pkb.batch import Batch
from pkb.step import DivergedError
from simulator.contender.centered import publish
from simulator.contender.compression import compress, examine
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.prediction import probabilities
from simulator.loop.book import Book
from simulator.loop.past import Past, only
from simulator.loop.plan import Plan
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.record.stale import Stale
from simulator.stream.log import Period

Tell = Callable[..., None]  # tell(period=, arm=, stage=, rows=): for the progress display


class Stages:
    """One period's stages: charges them to the book, and tells the progress display."""

    def __init__(self, period: Period, todo: Plan, past: Past, book: Book, tell: Tell) -> None:
        self.period, self.todo, self.past, self.book, self.tell = period, todo, past, book, tell
        self.notes: dict[str, dict[str, float]] = {}  # figures about the bases of contenders
        self.learned: dict[str, list[Tensor]] = {}  # row ids that this rank has learned, by contender

    @contextmanager
    def charged(self, name: str, first: Contender, *others: Contender) -> Iterator[Callable[[int], None]]:
        """Give the block a function to call with the rows it has done; a divergence stops these contenders."""
        everyone = (first, *others)
        self.tell(period=self.period.index, arm=first.key, stage=name, rows=0)
        with self.book.stage([who(contender) for contender in everyone], name) as charge:

            def done(rows: int) -> None:
                charge(rows)
                self.tell(period=self.period.index, arm=first.key, stage=name, rows=rows)

            try:
                yield done
            except DivergedError as error:
                for contender in everyone:
                    contender.stop(str(error))

    def find_older(self, contenders: list[Contender]) -> None:
        """Give the period's rows their neighbours; who reads a retriever's pays for the search as if alone."""
        past = self.past
        for name in sorted({name for c in contenders for name in c.reads.shared}):
            seconds, cpu_seconds = past.find(name)
            for contender in contenders:
                if name in contender.reads.shared:
                    rows = len(past.all_rows)
                    self.book.charge(who(contender), "retrieve", seconds, cpu_seconds, rows)
        for contender in contenders:
            if contender.encoder is not None:
                with self.charged("retrieve", contender) as done:
                    past.find_own(contender)
                    done(len(past.all_rows))

    def predict_period(self, contender: Contender) -> None:
        """Predict the period before anything has learned it."""
        if not self.todo.predict:
            return
        past, through, index = self.past, self.period.index - 1, self.period.index
        with self.charged("predict", contender) as done:
            probability = contender.predict_prequentially(self.period, past.rows(contender), done)
        note = partial(self.book.predicted, who(contender), through, index)
        note(past.present_rows, probability, holdout=False)
        if index in past.holdouts:  # the same predictions once more: R[j-1, j]
            note(past.holdouts[index], probability[past.held.numpy()], holdout=True)

    def predict_what_comes_before_the_swap(self, contender: Contender) -> None:
        """Predict the first rows of the next period as they are answered: this period's model is not in service yet.

        Who searches when it predicts is not asked: these rows' neighbours are not known yet.
        """
        rows = self.past.before_swap(self.period.index + 1)
        if rows is None or contender.reads.predicting:
            return
        with self.charged("measure", contender) as done:
            self.book.stale[who(contender)] = Stale(rows.row_id.numpy(), contender.predict(rows, done))

    def compress_what_became_old(self, sharers: list[Contender]) -> None:
        """Compress old periods into the base that these share, each charged as if alone, and note how it fares."""
        first, *others = sharers
        base, past = first.base, self.past
        assert base is not None, f"{first.key} has no base"
        olds = self.todo.to_compress(base.compresses)
        since = max(first.compressed_through + 1, first.recipe.arm.compress_from)
        for fresh, old in enumerate((index for index in olds if index >= since), start=1):
            for _ in self._rounds(first, [old]):
                with self.charged("compress", *sharers) as done:
                    rows = past.old(old, first)
                    compress(first, rows, past.log.periods[old], self.period, done)
                    for other in others:
                        other.compressed(past.log.periods[old])
            if first.stopped is not None:
                return
            for contender in sharers:
                with self.charged("compress", contender):
                    told = publish(contender.source, rows, past.rows(contender), contender.ranks, fresh=fresh)
                with self.charged("measure", contender):
                    examined = examine(contender, past.served.of(rows), past.rows(contender))
                    self.notes[contender.key] = examined | told

    def learn_period(self, contender: Contender, *, ledger: bool) -> None:
        """Learn what the policy says at the end of the period."""
        todo, past = self.todo, self.past
        if not todo.learn:
            return
        for _ in self._rounds(contender, todo.learn):
            with self.charged("learn", contender) as done:
                learn(
                    contender,
                    self.period,
                    todo.learn,
                    partial(past.known, contender),
                    progress=done,
                    ledger=self.learned.setdefault(contender.key, []).append if ledger else None,
                    validation=None if todo.stop_by is None else past.validation(contender),
                )

    def _rounds(self, contender: Contender, periods: Iterable[int]) -> Iterator[int]:
        """Give one lesson; two where a split's only one finds its rows' neighbours by an encoder that is yet to learn.

        The second goes on from the first, on what the encoder finds once it has learned.
        """
        yield 1
        if self.todo.stop_by is not None and contender.encoder is not None and contender.stopped is None:
            self.past.find_again(contender, periods)
            yield 2

    def predict_holdouts(self, contender: Contender) -> None:
        """Predict every holdout so far by the model trained through this period: one row of R."""
        for index, holdout in self.past.holdouts.items():
            with self.charged("measure", contender) as done:
                probability = contender.predict(self.past.holdout(index, contender), done)
            self.book.predicted(who(contender), self.period.index, index, holdout, probability, holdout=True)

    def note_untrained(self, contenders: list[Contender]) -> None:
        """Note the lower end of the scale: each model as it was drawn, on this period's holdout."""
        index = self.period.index
        holdout = self.past.holdouts.get(index)
        if holdout is None or index == 0:  # at period 0 the prequential prediction is the untrained one
            return
        for contender in contenders:
            rows = only(self.past.rows(contender), contender.reads.predicting).select(self.past.held)
            self.book.predicted(who(contender), -1, index, holdout, predict_untrained(contender, rows), holdout=True)

    def note_best(self) -> None:
        """Note the upper end of the scale: a synthetic world's true probability."""
        rows, index = self.past.present_rows, self.period.index
        if rows.rows.p_true is not None and self.todo.predict:
            truth = rows.rows.p_true.numpy()
            self.book.predicted((BEST_ATTAINABLE, 0), index - 1, index, rows, truth, holdout=False)


def predict_untrained(contender: Contender, rows: Batch) -> np.ndarray:
    """Predict as the click model was drawn, [B], without knowledge."""
    model, size = contender.new_model(), contender.recipe.predict_batch_size
    return probabilities(model, lambda part: model(contender.place(part)), rows, size=size, ranks=contender.ranks)


def who(contender: Contender) -> tuple[str, int]:
    """Name a contender's arm and seed."""
    return contender.recipe.name, contender.recipe.seed

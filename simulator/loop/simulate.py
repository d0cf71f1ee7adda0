"""The loop over periods: what every worker of the training group runs, from the first period to the last."""

from __future__ import annotations

import time
from pathlib import Path

import ray.train

from pkb.ranks import Ranks
from simulator.contender.checkpoint import load_contenders
from simulator.contender.contender import Contender
from simulator.loop.book import Book, write_ledger
from simulator.loop.commit import commit
from simulator.loop.finder import Finder
from simulator.loop.past import Past
from simulator.loop.plan import plan
from simulator.loop.play import Play
from simulator.loop.stages import Stages, Tell
from simulator.record.layout import RunFolder
from simulator.stream.log import Log
from simulator.stream.replay import replay


def simulate(play: Play, log: Log, run: RunFolder, tell: Tell) -> None:
    """Replay the log once, strictly in time; every period ends with its results and checkpoint committed together."""
    ranks = Ranks.of_process_group()
    contenders, first = starting_point(play, log, ranks)
    if ranks.first:
        run.drop_uncommitted(first - 1)
    past = Past(log, play, first, Finder(run, play.retrieval, log.schema, contenders))
    since = waiting = time.perf_counter()

    for period, rows in replay(log, first=first, histories=past.histories):
        gap = time.perf_counter() - waiting
        past.arrive(period, rows)
        book = Book(period, past.present_rows, gap, since)
        todo = plan(play.stream, play.compress, log.periods, period.index)
        stages = Stages(period, todo, past, book, tell)

        stages.find_older(active(contenders))
        for contender in active(contenders):  # test ...
            stages.predict_period(contender)
        for contender in active(contenders):
            stages.compress_what_became_old(contender)
        for contender in active(contenders):  # ... then train
            stages.learn_period(contender, ledger=play.train.ledger)
        past.join_pool()
        past.let_holdouts_find({name for c in active(contenders) for name in c.reads.predicting})
        for contender in active(contenders):
            stages.predict_holdouts(contender)
        stages.note_untrained(contenders)
        stages.note_best()
        write_ledger(run, period.index, stages.learned, ranks.rank)
        since = time.perf_counter()
        commit(run, period, stages, contenders, ranks)
        waiting = time.perf_counter()


def starting_point(play: Play, log: Log, ranks: Ranks) -> tuple[list[Contender], int]:
    """Give contenders and the number of the first period to play: after the last committed one, if there is one."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return [Contender(recipe, log.schema, ranks) for recipe in play.recipes], 0
    with checkpoint.as_directory() as folder:
        return load_contenders(Path(folder), ranks), 1 + int((Path(folder) / "period").read_text())


def active(contenders: list[Contender]) -> list[Contender]:
    """List those that still take part."""
    return [c for c in contenders if c.stopped is None]

"""The loop over periods: what every worker of a group runs, from its contenders' first period to the last."""

from __future__ import annotations

import time

from pkb.ranks import Ranks
from simulator.contender.centered import Centered
from simulator.contender.checkpoint import load_contender
from simulator.contender.contender import Contender
from simulator.contender.recipe import Recipe
from simulator.contender.sharing import share_bases, with_one_base
from simulator.loop.book import Book
from simulator.loop.commit import commit
from simulator.loop.past import Past
from simulator.loop.plan import PREDICT_ALONE, plan
from simulator.loop.play import Play
from simulator.loop.stages import Stages, Tell
from simulator.record.layout import RunFolder, center_of
from simulator.record.memory import note_peak
from simulator.record.stale import Stale, write_stale
from simulator.stream.log import Log


def simulate(play: Play, group: int, share: list[str], log: Log, run: RunFolder, tell: Tell) -> None:
    """Play a share of the contenders strictly in time; each commits its results and checkpoint of a period together."""
    ranks = Ranks.of_process_group()
    contenders = [resume(recipe, log, run, ranks) for recipe in play.recipes if recipe.key in share]
    share_bases(contenders)
    first = min(c.next_period for c in contenders)
    past = Past(log, play, run, contenders, first)
    for contender in active(contenders):
        answer_what_came_since(contender, past, log, run)
    since = time.perf_counter()

    for period in log.periods[first:]:
        waiting = time.perf_counter()
        past.arrive(period, past.shared.rows(period))
        book = Book(run, period, past.present_rows, time.perf_counter() - waiting, since)
        learns = play.learns_last or period != log.periods[-1]
        todo = plan(play.stream, play.compress, log.periods, period.index) if learns else PREDICT_ALONE
        stages = Stages(period, todo, past, book, tell)
        due = [c for c in contenders if c.next_period <= period.index]  # the others were further when the run stopped
        playing = active(due)

        stages.find_older(playing)
        for contender in active(due):  # test ...
            stages.predict_period(contender)
            stages.predict_what_comes_before_the_swap(contender)
        for several in with_one_base(active(due)):
            stages.compress_what_became_old(several)
        for contender in active(due):  # ... then train
            stages.learn_period(contender, ledger=play.train.ledger)
        past.join_pool()
        past.let_holdouts_find(sorted({name for c in active(due) for name in c.reads.predicting & c.reads.shared}))
        for contender in active(due):
            stages.predict_holdouts(contender)
        stages.note_untrained(playing)
        if play.recipes[0].key in {c.key for c in due} and ranks.first:  # once for the run
            stages.note_best()
            book.write_best()
        since = time.perf_counter()
        for contender in due:
            commit(run, period, stages, contender)
        note_peak(run, f"group-{group}-rank-{ranks.rank}")


def resume(recipe: Recipe, log: Log, run: RunFolder, ranks: Ranks) -> Contender:
    """Make a contender as it was after the last period that it committed; new, if there is none."""
    committed = run.committed(recipe.key)
    if ranks.first:
        run.drop_uncommitted(recipe.key)
    fresh = committed < 0
    contender = (
        Contender(recipe, log.schema, ranks) if fresh else load_contender(run.checkpoint(recipe.key, committed), ranks)
    )
    if isinstance(contender.source, Centered):
        contender.source.write_to(run.center(recipe.key), ranks)
    return contender


def answer_what_came_since(contender: Contender, past: Past, log: Log, run: RunFolder) -> None:
    """Where the log has grown, let the model before the last answer what it would have been asked ahead."""
    recipe, ranks, last = contender.recipe, contender.ranks, contender.next_period - 1
    if last < 0 or contender.reads.predicting or run.stale(last, recipe.key).exists():
        return
    rows = past.before_swap(last + 1)
    if rows is None:
        return
    if last:
        checkpoint = run.checkpoint(recipe.key, last - 1)
        former = load_contender(checkpoint, ranks, learns=False)
        if isinstance(former.source, Centered):
            former.source.read_from(center_of(checkpoint))
    else:
        former = Contender(recipe, log.schema, ranks)
    answered = Stale(rows.row_id.numpy(), former.predict(rows))
    if ranks.first:
        write_stale(run, last, recipe.key, answered)


def active(contenders: list[Contender]) -> list[Contender]:
    """List those that still take part."""
    return [c for c in contenders if c.stopped is None]

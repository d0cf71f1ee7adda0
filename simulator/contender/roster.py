"""Whom a contender's base knows, read from the log."""

from __future__ import annotations

from pkb.batch import Batch
from pkb.center import Roster, category_of
from pkb.parameters import tables_of
from simulator.contender.contender import Contender
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log


def roster_of(contender: Contender, log: Log, periods: range, *, category: str | None, holdout_share: float) -> Roster:
    """List whom a contender's base knows once it has learned these periods: their rows outside holdouts."""
    base, recipe = contender.base, contender.recipe
    assert base is not None
    roster = Roster(log.schema, category_of(log.schema, category, base.parts))
    first = max(recipe.arm.compress_from, base.compresses == "found")  # rows of the first one find nothing
    for index in (index for index in periods if index >= first):
        rows: Batch = log.read(log.periods[index], histories=recipe.reads_histories and bool(log.schema.histories))
        roster.add(rows.select(~holdout_mask(rows, holdout_share)) if holdout_share else rows, index)
    if keep := recipe.train.evict_after:
        roster.prune(tables_of(base).values(), since=periods.stop - keep)
    return roster

"""Equal budgets of bytes: how wide an arm's embeddings may be.

What an arm keeps beside its model (a knowledge base and a center of it, a sample of old rows, a copy of the model, a
search pool and its index) is paid for with the width of its backbone's embeddings: each arm gets the largest width that
keeps all of it within the budget at the vocabulary of the last period. Row updates are counted while training
(`contender.passes`). Seconds are not a budget: a run must end the same, bit for bit, on a slower machine; the results
say what each arm took.
"""

from __future__ import annotations

import math
from dataclasses import replace

from pkb.center.build import bytes_of
from pkb.errors import SettingError
from pkb.parameters import dense_parameters, nbytes, tables_of
from pkb.seeding import generator
from simulator.contender.centered import Centered
from simulator.contender.contender import Contender
from simulator.contender.plugging import plug_in
from simulator.contender.recipe import Recipe
from simulator.contender.roster import roster_of
from simulator.loop.finder import Finder
from simulator.loop.play import Play
from simulator.stream.log import Log
from simulator.stream.protocol import holdout_share

WIDEST = 512


def widest(recipe: Recipe, budget: int, play: Play, log: Log) -> int:
    """Find the largest width within `budget` bytes, by bisection; SettingError if even a width of 1 is too much."""
    if not hasattr(recipe.backbone, "width"):
        raise SettingError(
            f"budget.bytes: arm {recipe.name} has no embedding width to fit; leave the arm or the budget out"
        )
    beside = told(recipe, play, log)
    low, high, least = 0, WIDEST + 1, needed(recipe, 1, play, log) + beside
    if least > budget:
        raise SettingError(f"budget.bytes={budget}: arm {recipe.name} needs {least} at the least")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(recipe, middle, play, log) + beside <= budget else (low, middle)
    return low


def needed(recipe: Recipe, width: int, play: Play, log: Log) -> int:
    """Count the bytes that an arm of this width will keep after the last period, with that one's scenarios.

    Without its center, which no width changes (`told`).
    """
    contender = Contender(replace(recipe, backbone=replace(recipe.backbone, width=width)), log.schema)
    if not contender.plugged:
        plug_in(contender)
    rows = log.periods[-1].vocabulary_size
    if not all(table.of_ids for table in tables_of(contender.model).values()):
        contender.model.backbone.meet(log.read(log.periods[-1]), generator(recipe.seed, "budget"))
    total = 0
    for module in (contender.model, contender.base):
        if module is None:
            continue
        grown = sum((rows - table.size) * table.row_bytes for table in tables_of(module).values() if table.of_ids)
        model = nbytes(module) + grown
        adam = 2 * sum(p.numel() * p.element_size() for p in dense_parameters(module))
        total += model + adam + (contender.policy.bytes_beside(model) if module is contender.model else 0)
    return total + searched(contender, play, log)


def told(recipe: Recipe, play: Play, log: Log) -> int:
    """Count the bytes of the center that the arm reads, if it reads one, once the last period has been learned.

    Reads the log for it: a version has those whom the base has met, and no count of the log says how many they are.
    """
    contender = Contender(recipe, log.schema)
    if not isinstance(contender.source, Centered):
        return 0
    end, keep = len(log.periods) - 1, recipe.train.evict_after
    learned = range(end - keep if 0 < keep < end else 0, end)
    category, share = contender.source.roster.category, holdout_share(play.stream)
    roster = roster_of(contender, log, learned, category=category, holdout_share=share)
    return roster.nbytes + bytes_of(contender.source.parts, roster)


def searched(contender: Contender, play: Play, log: Log) -> int:
    """Estimate the bytes of the pool and the index that the contender reads, by those of the last period's rows."""
    if not contender.reads.all:
        return 0
    last = log.periods[-1]
    finder = Finder(play.retrieval, log.schema, contender.reads.all)
    finder.append(log.read(last), start=last.start, end=last.end)
    if contender.encoder is not None:
        finder.make_index(contender)
    pooled = log.periods[-play.retrieval.periods :] if play.stream.protocol == "stream" else log.periods[:1]
    rows = sum(p.rows for p in pooled) * (1 - holdout_share(play.stream))
    return math.ceil(sum(finder.bytes(contender, finder.sizes()).values()) * rows / last.rows)

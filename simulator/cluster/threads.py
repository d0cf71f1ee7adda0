"""How many threads pay within one operation: a short trial of the run's own steps tells."""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import torch

from pkb.batch import Batch, Neighbours
from pkb.step import DivergedError
from retrieval.indexed_pool import RetrievalSettings
from simulator.contender.contender import Contender
from simulator.contender.learning import fit
from simulator.contender.pace import batch_size
from simulator.contender.recipe import Recipe
from simulator.contender.searching import reads_of
from simulator.stream.log import Log

STEPS, REPEATS = 10, 5
WORTH = 0.9  # more threads must take less than this share of one thread's time


def threads_that_pay(recipe: Recipe, retrieval: RetrievalSettings, log: Log, cores: int) -> int:
    """Try the steps of one contender on one thread and on all cores, in turns; the latter must be clearly faster."""
    if cores == 1:
        return 1
    before, period = torch.get_num_threads(), log.periods[0]
    size = batch_size(recipe.train.batch_size, period.rows)
    recipe = replace(recipe, train=replace(recipe.train, batch_size=size, epochs=1))
    rows = log.read(period, histories=recipe.uses_histories).select(slice(0, STEPS * size))
    read = {name: nobody(rows, retrieval.neighbours(name)) for name in reads_of(recipe).predicting}
    rows = replace(rows, neighbours=read, ts=None)  # as slow as any others; and as if all labels had arrived
    taken: dict[int, list[float]] = {1: [], cores: []}
    try:
        for threads in [1, cores] * (1 + REPEATS):
            torch.set_num_threads(threads)
            contender = Contender(recipe, log.schema)
            since = time.perf_counter()
            fit(contender, rows, period)
            taken[threads].append(time.perf_counter() - since)
    except DivergedError:  # the contender's own affair, in its turn
        return 1
    finally:
        torch.set_num_threads(before)
    one, all_of_them = (median(seconds[1:]) for seconds in taken.values())  # the first of each warms up
    return cores if all_of_them < WORTH * one else 1


def nobody(rows: Batch, k: int) -> Neighbours:
    """Give `k` neighbours, none of them there, to each of these rows."""
    (b, f), none = rows.ids_BF.shape, torch.zeros(len(rows), k)
    return Neighbours(
        ids_BKF=torch.zeros(b, k, f, dtype=torch.int32),
        label_BK=none,
        age_BK=none.int(),
        present_BK=none.bool(),
        idf_BF=torch.zeros(b, f),
    )

"""Equal budgets: every arm gets the same bytes of memory and the same row updates.

Bytes: what an arm keeps beside its model (a knowledge base, a sample of old rows, a copy of the model, a search pool
and its index) is paid for with the width of its backbone's embeddings: each arm gets the largest width that keeps all
of it within the budget at the vocabulary of the last period. Row updates are counted while training (`Contender`).
Seconds are not a budget: a run must end the same, bit for bit, on a slower machine; the results say what each arm took.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from pkb.errors import SettingError
from retrieval.shelf import DENSE
from simulator.arms import Contender
from simulator.neighbours import Finder
from simulator.plan import holdout_share
from simulator.settings import Settings
from simulator.stream.log import Log
from simulator.train.steps import dense_parameters, nbytes, tables_of

WIDEST = 512


def within_budget(settings: Settings, log: Log) -> Settings:
    """The settings with each arm's width fitted to `budget.bytes`; as they are without such a budget."""
    if not settings.budget.bytes:
        return settings
    arms = {name: replace(arm, width=_widest(name, settings, log)) for name, arm in settings.arms.items()}
    return replace(settings, arms=arms)


def _widest(arm: str, settings: Settings, log: Log) -> int:
    """By bisection; SettingError if even a width of 1 is too much."""
    shape = getattr(settings.backbones, settings.arms[arm].backbone)
    if not hasattr(shape, "width"):
        raise SettingError(f"budget.bytes: arm {arm} has no embedding width to fit; leave the arm or the budget out")
    low, high, least = 0, WIDEST + 1, needed(arm, 1, settings, log)
    if least > settings.budget.bytes:
        raise SettingError(f"budget.bytes={settings.budget.bytes}: arm {arm} needs {least} at the least")
    while high - low > 1:
        middle = (low + high) // 2
        fits = needed(arm, middle, settings, log) <= settings.budget.bytes
        low, high = (middle, high) if fits else (low, middle)
    return low


def needed(arm: str, width: int, settings: Settings, log: Log) -> int:
    """Bytes that an arm of this width will keep after the last period."""
    chosen = replace(settings.arms[arm], width=width)
    contender = Contender(arm, settings.seeds[0], replace(settings, arms=settings.arms | {arm: chosen}), log.schema)
    rows = log.periods[-1].vocabulary_size
    total = 0
    for module in (contender.model, contender.knowledge):
        if module is None:
            continue
        tables = tables_of(module).values()
        grown = sum((rows - table.size) * 4 * (table.width + 1) for table in tables)  # and Adagrad's state
        model = nbytes(module) + grown
        adam = 2 * sum(p.numel() * p.element_size() for p in dense_parameters(module))
        total += model + adam + (contender.policy.beside(model) if module is contender.model else 0)
    return total + searched(contender, log)


def searched(contender: Contender, log: Log) -> int:
    """Bytes of the pool and the index that the contender reads, by those that the last period's rows take."""
    if not contender.retrievers:
        return 0
    settings, last = contender.settings, log.periods[-1]
    finder = Finder(Path(), settings, log.schema, [contender])
    finder.append(log.read(last), start=last.start, end=last.end)
    if DENSE in contender.retrievers:
        finder.make_index(contender)
    pooled = log.periods[-settings.retrieval.periods :] if settings.stream.protocol == "stream" else log.periods[:1]
    rows = sum(p.rows for p in pooled) * (1 - holdout_share(settings))
    return math.ceil(sum(finder.bytes(contender).values()) * rows / last.rows)

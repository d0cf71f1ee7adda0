"""Who plays in which group: contenders shared out so that no group has much more to do than another.

Decided once and written into the run. Where a run goes on with another number of groups, what each contender has
taken so far tells what it costs; before there is anything to see, its kind does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pkb.bases import KNOWLEDGE_BASES
from simulator.contender.recipe import Recipe
from simulator.contender.searching import reads_of
from simulator.contender.sharing import base_of
from simulator.loop.play import Play
from simulator.record.costs import read_costs
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder

# CPU seconds of kinds of work beside those of fine-tuned DeepFM, as the main job saw them (2026-11-27): a first guess.
PLAIN, OWN_ENCODER, READS_NEIGHBOURS, TAUGHT, LEARNED_BASE = 1.0, 11.0, 6.0, 7.0, 10.0
FITTED = {"popularity": 0.1, "logistic": 4.0, "gbdt": 1.0}  # models that take no steps, as yardsticks
Cost = tuple[float, float]  # of a contender alone, and of its base
BASE = "compress"  # the stage that is the base's
PASSES = {"replay": 1.25, "distil": 1.5, "ewc": 2.0, "retrain_window": 3.0, "frozen": 0.3}


@dataclass(frozen=True)
class Lot:
    """Contenders that play in one group, since they have one knowledge base between them; most lots are of one."""

    keys: list[str]
    cost: float


def shared_out(lots: Sequence[Lot], groups: int) -> list[list[str]]:
    """Give each lot, the dearest first, to the group that has least to do; members keep the order of the lots."""
    load, group_of = [0.0] * groups, {}
    for number in sorted(range(len(lots)), key=lambda number: -lots[number].cost):
        group_of[number] = min(range(groups), key=load.__getitem__)
        load[group_of[number]] += lots[number].cost
    return [
        [key for number, lot in enumerate(lots) if group_of[number] == group for key in lot.keys]
        for group in range(groups)
    ]


def lots_of(play: Play, run: RunFolder, periods: int) -> list[Lot]:
    """Put contenders with one base together, and estimate what each lot costs, its base once.

    By the CPU seconds that all have taken so far, else by their kind.
    """
    seen = seconds_seen(run, [recipe.key for recipe in play.recipes])
    costs = {r.key: guess(r, periods) for r in play.recipes} if seen is None else seen
    together: dict[str, list[str]] = {}
    for recipe in play.recipes:
        together.setdefault(base_of(recipe) or recipe.key, []).append(recipe.key)
    return [
        Lot(keys, sum(costs[key][0] for key in keys) + max(costs[key][1] for key in keys)) for keys in together.values()
    ]


def seconds_seen(run: RunFolder, keys: Sequence[str]) -> dict[str, Cost] | None:
    """Add up each contender's CPU seconds over the periods that all have committed; None before the first."""
    spent = dict.fromkeys(keys, (0.0, 0.0))
    for period in read_costs(run, keys):
        for arm in period.arms:
            alone, base = spent[key_of(arm.who)]
            for stage, its in arm.stages.items():
                alone, base = (alone, base + its.cpu_seconds) if stage == BASE else (alone + its.cpu_seconds, base)
            spent[key_of(arm.who)] = alone, base
    return spent if any(map(sum, spent.values())) else None


def guess(recipe: Recipe, periods: int) -> Cost:
    """Guess what a contender costs by its kind."""
    arm, reads = recipe.arm, reads_of(recipe)
    if arm.backbone in FITTED and arm.knowledge is None:
        return FITTED[arm.backbone], 0.0
    passes = periods / 2 if arm.policy == "retrain_all" else PASSES.get(arm.policy, 1.0)
    alone, base = PLAIN * passes * (recipe.epochs or 1), 0.0
    if reads.predicting:
        alone += OWN_ENCODER if reads.predicting_by_own else READS_NEIGHBOURS
    if arm.knowledge is not None and KNOWLEDGE_BASES[arm.knowledge].stages and arm.control != "untrained":
        base = TAUGHT if recipe.teacher is not None else LEARNED_BASE
    return alone, base

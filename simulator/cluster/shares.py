"""Who plays in which group: contenders shared out so that no group has much more to do than another.

Decided once and written into the run. Where a run goes on with another number of groups, what each contender has
taken so far tells what it costs; before there is anything to see, its kind does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.contender.recipe import Recipe
from simulator.contender.searching import reads_of
from simulator.loop.play import Play
from simulator.record.costs import read_costs
from simulator.record.experiment import key_of
from simulator.record.layout import RunFolder

# CPU seconds of kinds of work beside those of fine-tuned DeepFM, as the main job saw them (2026-11-27): a first guess.
PLAIN, OWN_ENCODER, READS_NEIGHBOURS, TAUGHT, LEARNED_BASE = 1.0, 11.0, 6.0, 7.0, 10.0
FITTED = {"popularity": 0.1, "logistic": 4.0, "gbdt": 1.0}  # models that take no steps, as yardsticks
PASSES = {"replay": 1.25, "distil": 1.5, "ewc": 2.0, "retrain_window": 3.0, "frozen": 0.3}


def shared_out(costs: Mapping[str, float], groups: int) -> list[list[str]]:
    """Give each contender, the dearest first, to the group that has least to do; members keep the contenders' order."""
    load, group_of = [0.0] * groups, {}
    for key in sorted(costs, key=lambda key: -costs[key]):
        group_of[key] = min(range(groups), key=load.__getitem__)
        load[group_of[key]] += costs[key]
    return [[key for key in costs if group_of[key] == group] for group in range(groups)]


def costs_of(play: Play, run: RunFolder, periods: int) -> dict[str, float]:
    """Estimate what each contender costs: by the CPU seconds that all have taken so far, else by their kind."""
    keys = [recipe.key for recipe in play.recipes]
    seen = seconds_seen(run, keys)
    return seen if seen is not None else {recipe.key: guess(recipe, periods) for recipe in play.recipes}


def seconds_seen(run: RunFolder, keys: Sequence[str]) -> dict[str, float] | None:
    """Add up each contender's CPU seconds over the periods that all have committed; None before the first."""
    seconds = dict.fromkeys(keys, 0.0)
    for period in read_costs(run, keys):
        for arm in period.arms:
            seconds[key_of(arm.who)] += sum(stage.cpu_seconds for stage in arm.stages.values())
    return seconds if any(seconds.values()) else None


def guess(recipe: Recipe, periods: int) -> float:
    """Guess what a contender costs by its kind."""
    arm, reads = recipe.arm, reads_of(recipe)
    if arm.backbone in FITTED and arm.knowledge is None:
        return FITTED[arm.backbone]
    passes = periods / 2 if arm.policy == "retrain_all" else PASSES.get(arm.policy, 1.0)
    cost = PLAIN * passes * (recipe.epochs or 1)
    if reads.predicting:
        cost += OWN_ENCODER if reads.predicting_by_own else READS_NEIGHBOURS
    if arm.knowledge is not None and arm.control != "untrained":
        cost += TAUGHT if recipe.teacher is not None else LEARNED_BASE
    return cost

"""From the settings of an experiment to what the loop plays: a recipe for each arm and seed, and each yardstick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pkb.bases import KNOWLEDGE_BASES
from pkb.plug import WEIGHTS
from simulator.arms import backbone_settings, knowledge_settings
from simulator.contender.recipe import Recipe
from simulator.contender.yardsticks import YARDSTICKS
from simulator.loop.budget import widest
from simulator.loop.play import Play
from simulator.policies.plain import RetrainWindow
from simulator.record.tuning import Values, untuned
from simulator.settings import Settings
from simulator.stream.log import Log
from simulator.tune.space import with_values


def play_of(settings: Settings, chosen: Mapping[str, Values] | None = None) -> Play:
    """Resolve all that the loop needs; once arms are tuned, with the values that were chosen for each."""
    recipes = []
    for seed in settings.seeds:
        given = [recipe_of(settings, arm, seed) for arm in settings.arms]
        recipes += given if chosen is None else [with_values(recipe, chosen[recipe.name]) for recipe in given]
        if chosen is not None and settings.tune.against_default:
            recipes += [replace(recipe, name=untuned(recipe.name)) for recipe in given]
    return Play(
        recipes=(*recipes, *(yardstick_of(settings, name) for name in settings.yardsticks)),
        stream=settings.stream,
        train=settings.train,
        compress=settings.compress,
        retrieval=settings.retrieval,
        measure=settings.measure,
    )


def recipe_of(settings: Settings, name: str, seed: int) -> Recipe:
    """Resolve one arm with one seed."""
    arm = settings.arms[name]
    backbone = backbone_settings(settings, name)
    base: Any = knowledge_settings(settings, name) if arm.knowledge is not None else None
    if arm.plug == WEIGHTS:
        backbone = replace(
            backbone, **{f.name: getattr(base, f.name) for f in fields(backbone) if hasattr(base, f.name)}
        )
    teacher = None
    if arm.knowledge is not None and KNOWLEDGE_BASES[arm.knowledge].taught:
        teacher = getattr(settings.backbones, base.teacher)
    return Recipe(
        name=name,
        seed=seed,
        arm=arm,
        backbone=backbone,
        policy=getattr(settings.policies, arm.policy),
        base=base,
        beside=None if arm.beside is None else knowledge_settings(settings, name, second=True),
        teacher=teacher,
        train=settings.train,
        compress=settings.compress,
        center=settings.center,
        histories=tuple(settings.retrieval.histories),
        label_delay=settings.stream.label_delay_seconds or 0,
        row_updates=settings.budget.row_updates,
        predict_batch_size=settings.measure.predict_batch_size,
        learns_sub_domain=bool(settings.stream.sub_domains) and arm.domains == "sub",
    )


def yardstick_of(settings: Settings, name: str) -> Recipe:
    """Resolve one yardstick, outside all budgets: a split's learns the training period alone, as arms do."""
    yardstick = YARDSTICKS[name]
    policy = yardstick.policy
    if settings.stream.protocol == "split" and isinstance(policy, RetrainWindow.Settings):
        policy = RetrainWindow.Settings(periods=1)
    return Recipe(
        name=name,
        seed=settings.seeds[0],
        arm=yardstick.arm,
        backbone=getattr(settings.backbones, yardstick.arm.backbone),
        policy=policy,
        train=settings.train,
        compress=settings.compress,
        label_delay=settings.stream.label_delay_seconds or 0,
        predict_batch_size=settings.measure.predict_batch_size,
        learns_sub_domain=bool(settings.stream.sub_domains),
    )


def within_budget(settings: Settings, log: Log) -> Settings:
    """Fit each arm's width to `budget.bytes`; without such a budget the settings stay as they are."""
    if not settings.budget.bytes:
        return settings
    play = play_of(settings)
    arms = [r for r in play.recipes if r.seed == settings.seeds[0] and r.name in settings.arms]
    widths = {r.name: widest(r, settings.budget.bytes, play, log) for r in arms}
    return replace(settings, arms={name: replace(arm, width=widths[name]) for name, arm in settings.arms.items()})

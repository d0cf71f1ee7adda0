"""What can be tuned of an arm: of all that its settings declare, what shows in the first periods and is not its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pkb.backbones.base import FittedBackbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.space import Space, spaces
from simulator.contender.models import MODELS
from simulator.contender.recipe import Recipe
from simulator.loop.plan import plan
from simulator.loop.play import Play
from simulator.record.tuning import Values
from simulator.stream.log import Log

SECTIONS = ("train", "backbone", "policy", "base", "teacher", "compress")  # of a recipe
STEPS = ("learning_rate", "batch_size", "epochs")  # of `train`, for models that take optimiser steps


def space_of(recipe: Recipe, play: Play, first: Log) -> dict[str, Space]:
    """List the settings that are tuned on these first periods, by section of the recipe and name: `train.epochs`.

    A setting that no prediction of these periods depends on is none of them: its choice would be chance.
    """
    return {
        f"{section}.{name}": space
        for section in SECTIONS
        for name, space in spaces(type(getattr(recipe, section))).items()
        if _shows(recipe, play, first, section, name)
    }


def values_of(recipe: Recipe, names: Iterable[str]) -> Values:
    """Read settings of a recipe by these names."""
    return {name: getattr(getattr(recipe, section), key) for name in names for section, key in [name.split(".")]}


def with_values(recipe: Recipe, values: Values) -> Recipe:
    """Put other values in place of a recipe's settings."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, key = name.split(".")
        sections.setdefault(section, {})[key] = value
    return replace(recipe, **{name: replace(getattr(recipe, name), **its) for name, its in sections.items()})


def _shows(recipe: Recipe, play: Play, first: Log, section: str, name: str) -> bool:
    """Tell whether a prediction of these periods depends on a setting that the arm has not fixed itself."""
    arm, compresses = recipe.arm, _compresses(recipe, play, first)
    if section in ("base", "teacher", "compress"):
        return compresses and not (section == "base" and name in arm.options)
    if section == "train" and name in STEPS:
        takes_steps = not issubclass(MODELS[arm.backbone], FittedBackbone)
        return takes_steps and not (name == "epochs" and arm.epochs is not None)
    if section == "train":
        return compresses or not issubclass(MODELS[arm.backbone], FittedBackbone)
    if section == "backbone":
        return name not in arm.backbone_options
    return len(first.periods) > 2  # a policy differs from another in the second lesson


def _compresses(recipe: Recipe, play: Play, first: Log) -> bool:
    """Tell whether the arm's base learns anything that a prediction of these periods may depend on."""
    arm = recipe.arm
    if arm.knowledge is None or arm.control == "untrained" or arm.plug_from is not None:  # which comes after them
        return False
    base = KNOWLEDGE_BASES[arm.knowledge]
    plans = (plan(play.stream, play.compress, first.periods, period.index) for period in first.periods[:-1])
    old = (index for todo in plans for index in todo.to_compress(base.compresses))
    return bool(base.stages) and any(index >= arm.compress_from for index in old)

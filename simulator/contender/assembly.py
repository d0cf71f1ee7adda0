"""Makes a contender's networks and their optimisers, untrained; equal recipes draw equal weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pkb.backbones.base import ClickModel, FittedBackbone, make_click_model
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Schema
from pkb.beside import Beside
from pkb.device import Device
from pkb.errors import SettingError
from pkb.knowledge import KnowledgeBase, Part
from pkb.parameters import dense_parameters
from pkb.plug import LATER, WEIGHTS
from pkb.ranks import Ranks
from pkb.seeding import derived_seed, generator
from pkb.source import Live, Source
from pkb.step import Optimiser
from retrieval.indexed_pool import pool_histories
from retrieval.models import RETRIEVAL_MODELS
from simulator.contender.centered import Centered
from simulator.contender.models import MODELS
from simulator.contender.recipe import Recipe
from simulator.contender.settings import LIVE


def device_of(recipe: Recipe) -> Device:
    """Choose where a contender computes; what a model is fitted with as a whole knows no GPU."""
    whole = issubclass(MODELS[recipe.arm.backbone], FittedBackbone)
    return Device.choose("cpu" if whole else recipe.train.device, recipe.train.precision)


def make_base(recipe: Recipe, schema: Schema) -> KnowledgeBase | None:
    """Make the knowledge base, and the model that teaches it if it has one; None for an arm without knowledge."""
    name = recipe.arm.knowledge
    if name is None:
        return None
    torch.manual_seed(derived_seed(recipe.seed, "weights", name))
    cls: Any = KNOWLEDGE_BASES[name]
    taught_by = [RETRIEVAL_MODELS[recipe.base.teacher](schema, recipe.teacher)] if cls.taught else []
    base: KnowledgeBase = cls(schema, recipe.base, *taught_by)
    if recipe.arm.plug == WEIGHTS and schema.labels[0] not in base.labels:
        raise SettingError(
            f"arms.{recipe.name}.plug={WEIGHTS}: {name} learns {', '.join(base.labels)}, but not {schema.labels[0]}, "
            "which click models predict; add it to its tasks"
        )
    if recipe.arm.beside is not None:
        torch.manual_seed(derived_seed(recipe.seed, "weights", LATER, recipe.arm.beside))
        second: Any = KNOWLEDGE_BASES[recipe.arm.beside]
        base = Beside(schema, base, second(schema, recipe.beside))
    base.grow(schema.first_value_id, generator(recipe.seed, "new rows", name))
    return base


def source_of(recipe: Recipe, schema: Schema, live: Live | None, device: Device) -> Source | None:
    """Say who answers for an arm's base: the base itself, or versions of what it knows."""
    if live is None or recipe.arm.source == LIVE:
        return live
    return Centered(live, schema, recipe.center, device, recipe.train.evict_after)


def make_model(recipe: Recipe, schema: Schema, parts: Sequence[Part]) -> ClickModel:
    """Make the click model, with a plug for knowledge of these parts, if there are any."""
    cls, name = MODELS[recipe.arm.backbone], recipe.arm.backbone
    torch.manual_seed(derived_seed(recipe.seed, "weights", name))
    histories = schema.histories + pool_histories(recipe.histories if cls.uses_histories else ())
    schema = replace(schema, histories=histories)
    model = make_click_model(cls, schema, recipe.backbone, parts, plug=recipe.arm.plug, layer=recipe.arm.layer)
    model.backbone.grow(schema.first_value_id, generator(recipe.seed, "new rows", name))
    return model


def base_optimiser(recipe: Recipe, base: KnowledgeBase, ranks: Ranks) -> Optimiser:
    """Make what compression takes its steps with."""
    groups = base.parameter_groups(recipe.compress.learning_rate)
    return Optimiser(base, groups, embedding_learning_rate=recipe.train.embedding_learning_rate, ranks=ranks)


def model_optimiser(recipe: Recipe, model: ClickModel, base: KnowledgeBase | None, ranks: Ranks) -> Optimiser:
    """Make what lessons take their steps with; it also moves the parts of the base that learn on with the model."""
    learned = nn.ModuleList([model] if base is None else [model, base.learns_on()])
    groups = [{"params": dense_parameters(learned), "lr": recipe.train.learning_rate}]
    return Optimiser(learned, groups, embedding_learning_rate=recipe.train.embedding_learning_rate, ranks=ranks)

"""What a contender reads of older rows: by which retrievers, and by which encoder of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pkb.backbones.base import Backbone
from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, History, Schema
from pkb.device import Device
from pkb.knowledge import evaluate
from retrieval.indexed_pool import BEHAVIOURS, DENSE, as_histories
from retrieval.models import RETRIEVAL_MODELS
from simulator.contender.models import MODELS
from simulator.contender.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Retrievers by name, whose neighbours are read."""

    predicting: frozenset[str]  # by a prediction
    all: frozenset[str]  # by a prediction, or by the compression of the base

    @property
    def shared(self) -> frozenset[str]:
        """Those whose index all contenders share."""
        return self.all - {DENSE}

    @property
    def predicting_by_own(self) -> bool:
        """Whether a prediction reads what its own encoder finds."""
        return DENSE in self.predicting


def reads_of(recipe: Recipe) -> Reads:
    """Say what a contender of this recipe reads."""
    backbone, base = MODELS[recipe.arm.backbone], None
    compressing = None
    if recipe.arm.knowledge is not None:
        base = KNOWLEDGE_BASES[recipe.arm.knowledge]
        compressing = RETRIEVAL_MODELS[recipe.base.teacher].retriever if base.taught else base.retriever
    searching = compressing if base is not None and base.searches else None
    histories = BEHAVIOURS if recipe.uses_histories and recipe.histories else None
    predicting = _named(histories, backbone.retriever, searching)
    return Reads(predicting=predicting, all=predicting | _named(compressing))


def with_behaviours(batch: Batch, histories: Sequence[History], schema: Schema) -> Batch:
    """Give rows the histories that the search pool found for them, if there are any and they are not there yet."""
    if not histories or histories[0].name in batch.histories:
        return batch
    found = as_histories(batch.neighbours[BEHAVIOURS], histories, schema)
    return replace(batch, histories=batch.histories | found)


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Vectors of rows, and the time until which what makes them was trained."""

    model: Any  # a model with `encode` and `vector_width`, such as DERT
    device: Device
    built_until: int | None  # seconds

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.model.vector_width)

    def __call__(self, rows: Batch) -> Tensor:
        """Encode rows, [B, width]."""
        evaluate(self.model)
        vectors_BD: Tensor = self.model.encode(self.device.place(rows))
        return vectors_BD


def _named(*names: str | None) -> frozenset[str]:
    return frozenset(name for name in names if name is not None)


def encodes(backbone: Backbone | type[Backbone]) -> bool:
    """Tell whether a model's neighbours are found by its own encoder."""
    return backbone.retriever == DENSE

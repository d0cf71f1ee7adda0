"""What a contender reads of older rows: by which retrievers, and by which encoder of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pkb.backbones.base import Backbone
from pkb.batch import Batch
from pkb.device import Device
from pkb.knowledge import KnowledgeBase, evaluate
from retrieval.indexed_pool import BEHAVIOURS, DENSE


@dataclass(frozen=True, kw_only=True)
class Reads:
    """Retrievers by name, whose neighbours are read."""

    predicting: frozenset[str]  # by a prediction
    all: frozenset[str]  # by a prediction, or by the compression of the base

    @property
    def predicting_by_own(self) -> bool:
        """Whether a prediction reads what its own encoder finds."""
        return DENSE in self.predicting

    @classmethod
    def of(cls, backbone: Backbone, base: KnowledgeBase | None, *, histories: bool) -> Reads:
        """`histories`: whether the model's histories come from the search pool."""
        compressing = None if base is None else base.retriever
        searching = compressing if base is not None and base.searches else None
        predicting = _named(BEHAVIOURS if histories else None, backbone.retriever, searching)
        return cls(predicting=predicting, all=predicting | _named(compressing))


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

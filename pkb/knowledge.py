"""What every knowledge base offers: it is compressed from old logs, then maps impressions to knowledge.

Shapes: B rows, F fields, K knowledge vectors, d their width, e width of a field's feature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How much knowledge a base has of one impression."""

    vectors: int  # K
    width: int  # d
    feature_width: int = 0  # e; 0 where the base knows whole impressions only


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a base knows of B impressions."""

    vectors_BKd: Tensor  # of each impression
    features_BFe: Tensor | None = None  # of each of its fields; None where the base knows whole impressions only


class KnowledgeBase(nn.Module, ABC):
    """A trained network that holds old logs; frozen whenever its knowledge is used (EDK, eq. 33; ROK, section 4.4)."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    taught: ClassVar[bool] = False  # by a retrieval model, which its constructor takes as `teacher`
    searches: ClassVar[bool] = False  # whether knowledge itself reads neighbours, not its compression alone
    stages: ClassVar[tuple[str, ...]] = ("compress",)  # passes over old rows that compression makes, in their order
    retriever: str | None = None  # whose neighbours compression reads

    def __init__(self, schema: Schema, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.vectors_scale = Scale(shape.vectors, shape.width)
        self.features_scale = Scale(len(schema.fields), shape.feature_width)

    @abstractmethod
    def grow(self, size: int, generator: torch.Generator) -> None:
        """Make room for ids below `size` before compressing rows that hold them."""

    @abstractmethod
    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Scalar losses of one minibatch of old rows; `total` is what to minimise, the others are its parts."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Dense parameters for Adam, with the learning rate of each group; tables have an optimiser of their own."""
        tables = {id(module.weight) for module in self.modules() if isinstance(module, EmbeddingTable)}
        return [{"params": [p for p in self.parameters() if id(p) not in tables], "lr": learning_rate}]

    @abstractmethod
    def _knowledge(self, batch: Batch) -> Knowledge:
        """Knowledge of each row, as the base's own units have it; deterministic in evaluation mode."""

    def compression_only(self) -> list[nn.Module]:
        """Parts that serve compression alone: knowledge is the same without them."""
        return []

    def learns_on(self) -> nn.ModuleList:
        """Parts that learn on with the backbone; none, unless a base says otherwise."""
        return nn.ModuleList()

    @torch.no_grad()
    def knowledge(self, batch: Batch) -> Knowledge:
        """Without gradient, noise or dropout: the base is frozen at utilisation."""
        with evaluating(self):
            return self._standardised(self._knowledge(batch))

    @torch.no_grad()
    def standardise(self, batch: Batch) -> None:
        """From now on knowledge is centred, and of variance 1, over these rows, which have been compressed.

        Without it a plug reads little. Most of a base's knowledge is alike in all rows: of EDK's vectors, 1.7 long, a
        tenth varied on a synthetic world; of ROK's, 0.11 long, a fifth. `benchmarks.told` shows what a plug makes of
        vectors of such lengths even where they tell the true click probability.
        """
        with evaluating(self):
            found = self._knowledge(batch)
        self.vectors_scale.measure(found.vectors_BKd)
        if found.features_BFe is not None:
            self.features_scale.measure(found.features_BFe)

    def _standardised(self, found: Knowledge) -> Knowledge:
        features_BFe = found.features_BFe
        return Knowledge(
            vectors_BKd=self.vectors_scale(found.vectors_BKd),
            features_BFe=None if features_BFe is None else self.features_scale(features_BFe),
        )

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge:
        """The same knowledge, with a gradient to what learns on and to nothing else."""
        return self.knowledge(batch)

    def health(self, batch: Batch) -> dict[str, float]:
        """Figures of a base's own that tell whether compression went well; a figure without a value is left out."""
        return {}


class Scale(nn.Module):
    """Centres each number, and divides all by one: what varies most keeps the most to say. New, it does nothing."""

    mean: Tensor  # of each number, over rows
    deviation: Tensor  # scalar: the root of the numbers' mean variance

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(()))

    def measure(self, values: Tensor) -> None:
        """Take mean and deviation over these rows; numbers that are alike in all of them are left in their units."""
        variance, mean = torch.var_mean(values.double(), dim=0, correction=0)
        deviation = variance.mean().sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for so long."""
    training = module.training
    evaluate(module)
    try:
        yield
    finally:
        if training:
            module.train()


def evaluate(module: nn.Module) -> None:
    """Evaluation mode; `eval` alone would visit every part again, in each request that is served."""
    if module.training:
        module.eval()

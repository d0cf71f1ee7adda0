"""What every knowledge base offers: it is compressed from old logs, then maps impressions to knowledge.

Shapes: B rows, F fields, K vectors of a part, d their width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.parameters import dense_parameters

Knowledge = dict[str, Tensor]  # what a base knows of B impressions, by the name of the part: [B, K, d]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A named piece of what a base knows of an impression: K vectors of one width."""

    name: str
    vectors: int  # K
    width: int  # d
    fields: tuple[str, ...]  # columns that decide it: impressions that are equal in these have it in common
    of_fields: bool = False  # one vector for each field of the schema, in their order, not for the whole impression
    # Names of the knowledge of the user and of the item whose product it is, number by number, in the base's own units.
    factors: tuple[str, str] | None = None


class KnowledgeBase(nn.Module, ABC):
    """A trained network that holds old logs; frozen whenever its knowledge is used (EDK, eq. 33; ROK, section 4.4)."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    taught: ClassVar[bool] = False  # by a retrieval model, which its constructor takes as `teacher`
    searches: ClassVar[bool] = False  # whether knowledge itself reads neighbours, not its compression alone
    uses_histories: ClassVar[bool] = False  # the log's own, where it has any
    control: ClassVar[bool] = False  # whether it knows only what any base can tell, so that others are held against it
    compresses: ClassVar[Literal["old", "found"]] = "old"  # all old rows, or those that had older ones to find
    learns_labels: ClassVar[bool] = True  # whether compression reads any: else what it learns is what the rows are
    stages: ClassVar[tuple[str, ...]] = ("compress",)  # passes over old rows that compression makes, in their order
    estimators: ClassVar[tuple[str, ...]] = ()  # losses in `total` of what only follows the rest, which need not fall
    remedies: ClassVar[dict[str, str]] = {}  # by a figure of `health`: what to do where it is bad
    retriever: str | None = None  # whose neighbours compression reads

    def __init__(self, schema: Schema, parts: Sequence[Part], labels: Sequence[str] = ()) -> None:
        """`labels` are those that the base learns, the schema's first one unless it says otherwise.

        SettingError where the log has no such label.
        """
        super().__init__()
        self.parts = tuple(parts)
        self.labels = tuple(labels) or schema.labels[:1]
        absent = [label for label in self.labels if label not in schema.labels]
        if absent:
            raise SettingError(
                f"{type(self).__name__} learns the label {absent[0]}, but the log has {', '.join(schema.labels)} alone"
            )
        self.scales = nn.ModuleList(Scale(part.vectors, part.width) for part in self.parts)

    @classmethod
    def learns_on_with(cls, settings: Any) -> bool:
        """Tell whether parts of the base learn on with the backbone under these settings."""
        return False

    @abstractmethod
    def grow(self, size: int, generator: torch.Generator) -> None:
        """Make room for ids below `size` before compressing rows that hold them."""

    @abstractmethod
    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Compute the scalar losses of one minibatch of old rows; `total` is minimised, the others are its parts."""

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """List dense parameters for Adam, with the learning rate of each group; tables have an optimiser of their own.

        Compression takes its steps with these.
        """
        return [{"params": dense_parameters(self), "lr": learning_rate}]

    @abstractmethod
    def _knowledge(self, batch: Batch) -> Knowledge:
        """Compute the knowledge of each row in the base's own units; deterministic in evaluation mode."""

    def compression_only(self) -> list[nn.Module]:
        """List the parts of the network that serve compression alone: knowledge is the same without them."""
        return []

    def learns_on(self) -> nn.ModuleList:
        """List the parts of the network that learn on with the backbone; none, unless a base says otherwise."""
        return nn.ModuleList()

    @torch.no_grad()
    def knowledge(self, batch: Batch) -> Knowledge:
        """Compute every part without gradient, noise or dropout: the base is frozen at utilisation."""
        with evaluating(self):
            return self.standardised(self._knowledge(batch))

    @torch.no_grad()
    def standardise(self, batch: Batch) -> None:
        """Centre knowledge from now on, at variance 1, over these rows, which have been compressed.

        Without it a plug reads little. Most of a base's knowledge is alike in all rows: of EDK's vectors, 1.7 long, a
        tenth varied on a synthetic world; of ROK's, 0.11 long, a fifth. `benchmarks.plug_length` shows what a plug
        makes of vectors of such lengths even where they tell the true click probability.
        """
        with evaluating(self):
            found = self._knowledge(batch)
        for part, scale in zip(self.parts, self.scales, strict=True):
            scale.measure(found[part.name])  # type: ignore[operator]

    def standardised(self, found: Knowledge) -> Knowledge:
        """Put knowledge in the base's own units on the common scale."""
        return {part.name: scale(found[part.name]) for part, scale in zip(self.parts, self.scales, strict=True)}

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge:
        """Compute the same knowledge with a gradient to what learns on, and to nothing else."""
        return self.knowledge(batch)

    def health(self, batch: Batch) -> dict[str, float]:
        """Measure figures that tell whether compression went well; those without a value are left out."""
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
        """Take mean and deviation over these rows; a part that is alike in all of them is left in its units."""
        variance, mean = torch.var_mean(values.double(), dim=0, correction=0)
        deviation = variance.mean().sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(deviation if deviation > 0 else torch.ones(()))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Keep a module in evaluation mode for the block."""
    training = module.training
    evaluate(module)
    try:
        yield
    finally:
        if training:
            module.train()


def evaluate(module: nn.Module) -> None:
    """Bring a module into evaluation mode; `eval` alone would visit every part again, in each request served."""
    if module.training:
        module.eval()

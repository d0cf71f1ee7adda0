"""What every backbone offers.

Shapes: B rows, F fields, K extra fields, D embedding width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Schema


class Backbone(nn.Module, ABC):
    """A click model over a schema's fields, with room for `extra_fields` embeddings that come from outside."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    embedding_width: int  # D

    def __init__(self, schema: Schema, settings: Any, extra_fields: int = 0) -> None:
        super().__init__()
        self.extra_fields = extra_fields

    @abstractmethod
    def grow(self, size: int, generator: torch.Generator) -> None:
        """Make room for ids below `size`; ids above it read the new-value row of their field."""

    @abstractmethod
    def forward(self, batch: Batch, extra_BKD: Tensor | None = None) -> Tensor:
        """Click logits, [B]. `extra_BKD` are embeddings of `extra_fields` more fields, zero if None."""

"""What every knowledge base offers: it is compressed from old logs, then maps impressions to vectors.

Shapes: B rows, K knowledge vectors, d their width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Schema


class KnowledgeBase(nn.Module, ABC):
    """A trained network that holds old logs; frozen whenever its knowledge is used (EDK, eq. 33)."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    vectors: int  # K
    width: int  # d

    def __init__(self, schema: Schema, settings: Any) -> None:
        super().__init__()

    @abstractmethod
    def grow(self, size: int, generator: torch.Generator) -> None:
        """Make room for ids below `size` before compressing rows that hold them."""

    @abstractmethod
    def compression_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Scalar losses of one minibatch of old rows; `total` is what to minimise, the others are its parts."""

    @abstractmethod
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Dense parameters for Adam, with the learning rate of each group."""

    @abstractmethod
    def _knowledge(self, batch: Batch) -> Tensor:
        """Knowledge of each row, [B, K, d]; deterministic in evaluation mode."""

    @torch.no_grad()
    def knowledge(self, batch: Batch) -> Tensor:
        """[B, K, d], without gradient, noise or dropout: the base is frozen at utilisation."""
        training = self.training
        self.eval()
        try:
            return self._knowledge(batch)
        finally:
            self.train(training)

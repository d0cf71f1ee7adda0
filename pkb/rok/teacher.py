"""The retrieval model whose aggregated rows a knowledge base learns to imitate (ROK, section 4).

Shapes: B rows, A vectors of an aggregate, D embedding width.
"""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from pkb.backbones.base import Backbone
from pkb.batch import Batch


class Teacher(Backbone):
    """A click model that condenses the older rows found for a row into r_t, A vectors of its embedding width."""

    aggregated_vectors: int  # A

    @abstractmethod
    def aggregated(self, batch: Batch) -> Tensor:
        """r_t, [B, A, D]; zeros for a row for which nothing was found."""

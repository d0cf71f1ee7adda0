"""Which of an impression's values were never in old logs, and nothing else of these.

What a knowledge base can tell beside its knowledge. A base ends where compression ended, before the period that a
model learns, so its vectors of values that are new in that period are those of its rows for new values, in learning
as in predicting. The model's own embeddings cannot tell: it gives each new value a row while it learns the period.
Where values come and go, this alone may be what makes a base help, so a base should be held against it.

Shapes: B rows, F fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.knowledge import Knowledge, KnowledgeBase, Part


class Novelty(KnowledgeBase):
    """1 for a value that is new, 0 for one that is known or missing; there is nothing to learn.

    Of a list, the share or the number of its values that are new, as it is pooled.
    """

    control: ClassVar[bool] = True
    learns_labels: ClassVar[bool] = False
    stages: ClassVar[tuple[str, ...]] = ()

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """None."""

    def __init__(self, schema: Schema, settings: Settings) -> None:
        names, fields = schema.names, len(schema.fields)
        row = Part(name="row", vectors=1, width=fields, fields=names)
        super().__init__(schema, [row, Part(name="values", vectors=fields, width=1, fields=names, of_fields=True)])
        self.table = EmbeddingTable(schema.fields, 1, scale=0.0)  # rows of values are 0

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)
        self.table.weight.data[1 : 1 + self.table.fields] = 1  # rows for new values

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        raise NotImplementedError("there are no stages in which this base would learn")

    def _knowledge(self, batch: Batch) -> Knowledge:
        new_BF1: Tensor = self.table(batch)
        return {"row": new_BF1.mT, "values": new_BF1}

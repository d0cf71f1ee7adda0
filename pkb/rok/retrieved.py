"""What ROK imitates, as it is: knowledge that is retrieved for each row (the variants "RIM(LR)" of ROK's table 4).

The knowledge of an impression is r_t, so using it takes neighbours as training does: it tells what imitation loses.

Shapes: B rows, A vectors of an aggregate, D the teacher's embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from pkb.batch import Batch, Schema
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from pkb.rok.teacher import Teacher


class Retrieved(KnowledgeBase):
    """A trained retrieval model's reading of the neighbours, [B, A, D]."""

    taught: ClassVar[bool] = True
    searches: ClassVar[bool] = True
    compresses = "found"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        teacher: str = "rim"  # the retrieval model that reads

    def __init__(self, schema: Schema, settings: Settings, teacher: Teacher) -> None:
        vectors, width = teacher.aggregated_vectors, teacher.embedding_width
        super().__init__(schema, [Part(name="aggregate", vectors=vectors, width=width, fields=schema.names)])
        self.teacher, self.retriever = teacher, teacher.retriever

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.teacher.grow(size, generator)

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        logits_B, auxiliary = self.teacher.with_auxiliary(batch)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits_B, batch.label)
        return {"total": cross_entropy if auxiliary is None else cross_entropy + auxiliary}

    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"aggregate": self.teacher.aggregated(batch)}

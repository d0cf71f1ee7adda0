"""Versions that are quickly made: a base that says one number of everything, and who builds with it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pkb.batch import Batch, Field, Schema
from pkb.center import Answer, Roster, build
from pkb.center.keys import Ids
from pkb.knowledge import Knowledge, KnowledgeBase, Part

SCHEMA = Schema(
    fields=(Field(name="user", role="user"), Field(name="item", role="item"), Field(name="category", role="item")),
    user="user",
    item="item",
)
PARTS = (
    Part(name="of_user", vectors=1, width=4, fields=("user",)),
    Part(name="of_item", vectors=2, width=2, fields=("item", "category")),
    Part(name="of_pair", vectors=1, width=3, fields=("user", "item")),
)


class Says(KnowledgeBase):
    """Says one number, in every part of every row; it may take its time over each that it is asked about."""

    def __init__(self, number: int, seconds: float = 0.0) -> None:
        super().__init__(SCHEMA, PARTS)
        self.number, self.seconds = number, seconds

    def grow(self, size: int, generator: torch.Generator) -> None:
        pass

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        raise NotImplementedError

    def _knowledge(self, batch: Batch) -> Knowledge:
        if len(batch) > 1:
            time.sleep(self.seconds)
        return {p.name: torch.full((len(batch), p.vectors, p.width), float(self.number)) for p in self.parts}


def roster(people: int = 50) -> Roster:
    """Everybody has seen one item."""
    ids_BF = 10 + torch.arange(3 * people, dtype=torch.int32).reshape(people, 3)
    made = Roster(SCHEMA)
    made.add(Batch(row_id=torch.arange(people), ids_BF=ids_BF, label=torch.zeros(people)))
    return made


def publish(center: Path, version: int, *, keep: int = 5, seconds: float = 0.0) -> None:
    """Build a version that says its number."""
    build(Says(version, seconds), roster(), center, version, built_until=100 * version, keep=keep)


def numbers_in(answer: Answer) -> set[float]:
    """All numbers of an answer, of every part."""
    return {float(number) for part in answer.knowledge.values() for number in np.unique(part)}


def someone(number: int = 8) -> tuple[Ids, Ids, Ids]:
    """Users, items and categories, some of them unknown."""
    user_B = 10 + 3 * np.arange(number)
    return user_B, user_B + 1, user_B + np.arange(number) % 2 + 1


if __name__ == "__main__":  # a build that never ends: the last part's first rows are on disk, the others are not
    publish(Path(sys.argv[1]), int(sys.argv[2]), seconds=3600)

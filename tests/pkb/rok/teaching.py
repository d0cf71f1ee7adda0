"""A teacher whose reading is known, and rows with neighbours to teach with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from pkb.batch import Batch, Field, Neighbours, Schema
from pkb.embedding import EmbeddingTable
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok import ROK, Teacher
from pkb.step import Optimiser

FIELDS, VALUES, NEIGHBOURS = 3, 8, 4
SCHEMA = Schema(
    fields=tuple(Field(name=f"field{i}", role="context") for i in range(FIELDS)), user="field0", item="field1"
)
SIZE = SCHEMA.first_value_id + VALUES * FIELDS
SMALL = ROK.Settings(hidden=(32,), projector=8, alpha=0.3)


class OpenBook(Teacher):
    """Reads in a row's own ids what it says of its neighbours, so that a base can learn all of it."""

    retriever = "book"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 4

    def __init__(self, schema: Schema, settings: Any, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.embedding_width = self.hidden_width = settings.width
        self.aggregated_vectors = len(schema.fields)
        self.table = EmbeddingTable(schema.fields, settings.width, scale=1.0)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(len(schema.fields) * settings.width, 1)

    def aggregated(self, batch: Batch) -> Tensor:
        r_BAD: Tensor = self.dropout(torch.tanh(self.table(batch)))
        return r_BAD

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        logits_B1: Tensor = self.head(self.aggregated(batch).flatten(1))
        return logits_B1.squeeze(1)

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        return self(batch, plugged), 0.1 * self.head.weight.square().mean()


def world(rows: int, *, seed: int = 0) -> Batch:
    """Rows with one neighbour more than the row before, up to `NEIGHBOURS`, and then none again."""
    draw = torch.Generator().manual_seed(seed)
    first = SCHEMA.first_value_id + VALUES * torch.arange(FIELDS)
    ids = (first + torch.randint(VALUES, (rows, 1 + NEIGHBOURS, FIELDS), generator=draw)).int()
    present = torch.arange(NEIGHBOURS) < (torch.arange(rows) % (NEIGHBOURS + 1))[:, None]
    near = Neighbours(
        ids_BKF=ids[:, 1:] * present[:, :, None],
        label_BK=torch.rand(rows, NEIGHBOURS, generator=draw).round() * present,
        age_BK=torch.ones(rows, NEIGHBOURS, dtype=torch.int32) * present,
        present_BK=present,
    )
    return Batch(
        row_id=torch.arange(rows), ids_BF=ids[:, 0], label=(ids[:, 0, 1] % 2).float(), neighbours={"book": near}
    )


def without_neighbours(batch: Batch, *, places: int = NEIGHBOURS) -> Batch:
    """Nothing was found for any row, in a column of so many places."""
    near = batch.neighbours["book"]
    empty = Neighbours(
        ids_BKF=torch.zeros_like(near.ids_BKF)[:, :places],
        label_BK=torch.zeros_like(near.label_BK)[:, :places],
        age_BK=torch.zeros_like(near.age_BK)[:, :places],
        present_BK=torch.zeros_like(near.present_BK)[:, :places],
    )
    return replace(batch, neighbours={"book": empty})


def base(settings: ROK.Settings = SMALL, *, seed: int = 0) -> ROK:
    torch.manual_seed(seed)
    made = ROK(SCHEMA, settings, OpenBook(SCHEMA, OpenBook.Settings()))
    made.grow(SIZE, torch.Generator().manual_seed(seed))
    return made


def compress(rok: ROK, batch: Batch, stage: str, *, epochs: int) -> list[float]:
    """The loss at each step of a stage."""
    optimiser = Optimiser(rok, rok.parameter_groups(1e-2), embedding_learning_rate=0.1)
    rok.train()
    history = []
    for _ in range(epochs):
        for part in batch.minibatches(100, torch.randperm(len(batch))):
            history.append(optimiser.step(rok.compression_losses(part, stage)["total"], len(part)))
    return history

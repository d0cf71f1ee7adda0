"""What bases have in common that are pre-trained on click sequences: no label counts, histories alone.

A user's click sequence is the history of the rows, oldest first; of the rows that one user has in a minibatch the one
with the longest history counts, once. A row whose user is missing is of a user of its own. Entries at the same place of
several histories are taken for one behaviour.

Shapes: B rows, H behaviours, S = H + 1 places, D width, M places, K negatives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from pkb.batch import MISSING, Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from pkb.pretrained.encoder import EncoderSettings, SequenceEncoder, told_apart
from pkb.space import OneOf


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings(EncoderSettings):
    """What every pre-training can be set to."""

    # Passes over each period. One of `compress.epochs` leaves these models far from done: BERT4Rec's usual defaults
    # make up to 30 times too few steps (Petrov and Macdonald, RecSys 2022).
    passes: Annotated[int, OneOf((1, 3, 10))] = 3
    masked: float = 0.2  # share of behaviours that are hidden beside the newest
    negatives: int = 256  # that a hidden one must be told from, drawn from all behaviours of a minibatch

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("passes", "negatives"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")
        if not 0 <= self.masked < 1:
            raise SettingError(f"masked={self.masked}: must be at least 0 and below 1")


class Pretrained(KnowledgeBase):
    """An encoder with its embeddings; what it knows of a row is what the user's sequence comes to."""

    uses_histories: ClassVar[bool] = True
    learns_labels: ClassVar[bool] = False

    def __init__(self, schema: Schema, settings: PretrainingSettings) -> None:
        self.clicks, *self.attributes = sequences(schema, type(self).__name__)
        part = Part(name="sequence", vectors=1, width=settings.width, fields=(self.clicks[0],))
        super().__init__(schema, [part])
        self.settings, self.user_column = settings, schema.user_column
        self.stages = tuple(f"pass_{number}" for number in range(1, settings.passes + 1))  # type: ignore[misc]
        self.table = EmbeddingTable(schema.fields, settings.width)
        self.encoder = SequenceEncoder(settings)

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"sequence": encoded(self.table, self.encoder, batch, self.clicks)[:, :1]}

    def of_users(self, batch: Batch) -> Batch:
        """The row of each user that has the longest history; none without any."""
        length_B = (batch.histories[self.clicks[0]] != MISSING).sum(dim=1)
        user_B = batch.ids_BF[:, self.user_column]
        user_B = torch.where(user_B == MISSING, -torch.arange(1, 1 + len(user_B), device=user_B.device), user_B)
        order = length_B.argsort(stable=True)
        order = order[user_B[order].argsort(stable=True)]
        last = torch.ones(len(order), dtype=torch.bool, device=order.device)
        last[:-1] = user_B[order][1:] != user_B[order][:-1]
        rows = order[last]
        return batch.select(rows[length_B[rows] > 0])

    def puzzle(self, rows: Batch) -> Puzzle:
        """Take the newest click of each sequence away, and hide some of the others."""
        present_BH = rows.histories[self.clicks[0]] != MISSING
        newest_BH = present_BH & (present_BH.flip(1).cumsum(dim=1).flip(1) == 1)
        present_BH = present_BH & ~newest_BH
        hidden_BH = present_BH & (torch.rand(present_BH.shape, device=present_BH.device) < self.settings.masked)
        return Puzzle(newest_BH=newest_BH, present_BH=present_BH, hidden_BH=hidden_BH)

    def encode(self, rows: Batch, present_BH: Tensor, hidden_BH: Tensor | None = None) -> Tensor:
        """Encode these behaviours of users, [B, S, D]."""
        name, column = self.clicks
        said_BSD: Tensor = self.encoder(self.table.look_up(rows.histories[name], column), present_BH, hidden_BH)
        return said_BSD

    def guessed(self, said_MD: Tensor, true_M: Tensor, ids_BH: Tensor, column: int) -> Tensor:
        """-log of how well each place tells its own value from others that users had, [M]."""
        there = ids_BH[ids_BH != MISSING]
        others_K = there[torch.randint(len(there), (self.settings.negatives,), device=there.device)]
        vectors = self.table.look_up(torch.cat([true_M, others_K]), column)
        true_MD, others_KD = vectors.split([len(true_M), len(others_K)])
        return told_apart(said_MD, true_MD, others_KD, true_M[:, None] == others_K)


@dataclass(frozen=True, kw_only=True)
class Puzzle:
    """What is to be guessed of sequences; all [B, H] bool."""

    newest_BH: Tensor  # one of each, which is taken away: what is said of the whole must guess it
    present_BH: Tensor  # the others
    hidden_BH: Tensor  # those of the others that are hidden

    def of(self, values_BHX: Tensor) -> Tensor:
        """The values of what is to be guessed, [M, ...]: the newest of each sequence, then what is hidden."""
        return torch.cat([values_BHX[self.newest_BH], values_BHX[self.hidden_BH]])

    def said(self, said_BSD: Tensor) -> Tensor:
        """What is said at these places, [M, D]."""
        return torch.cat([said_BSD[:, 0], said_BSD[:, 1:][self.hidden_BH]])


def nothing_to_learn(batch: Batch) -> Tensor:
    """A loss of zero that moves nothing: no user of these rows has a past."""
    return torch.zeros((), device=batch.label.device, requires_grad=True)


def sequences(schema: Schema, model: str) -> list[tuple[str, int]]:
    """Each history with the column of its field, that of the items clicked first; SettingError without any."""
    if not schema.histories:
        raise SettingError(
            f"{model} reads users' click sequences, and the log has no history: name a list column under "
            "stream.table.histories, or choose a model that reads fields only"
        )
    found = [(history.name, schema.names.index(history.field)) for history in schema.histories]
    return sorted(found, key=lambda it: it[1] != schema.item_column)


def encoded(table: EmbeddingTable, encoder: SequenceEncoder, batch: Batch, clicks: tuple[str, int]) -> Tensor:
    """Encode the rows' sequences, [B, S, D]; that of a row without a history is the mask alone."""
    name, column = clicks
    ids_BH = batch.histories[name]
    said_BSD: Tensor = encoder(table.look_up(ids_BH, column), ids_BH != MISSING)
    return said_BSD

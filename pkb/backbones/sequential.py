"""What the models of behaviour histories share: fields and one interest a history, into a tower.

Each history is read on its own, with weights of its own, and is asked about the row's value of the field that it
holds: a history of categories about the category of the target.

Extra fields and joined embeddings go into the tower; histories and targets are read without them.

Shapes: B rows, F fields, K extra fields, H history length, D embedding width, J joined width, X width of an interest.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.sequence import Interest, read_past
from pkb.space import Dropout


@dataclass(frozen=True, kw_only=True)
class SequentialSettings:
    """What every model of histories can be set to."""

    width: int = 16  # embedding width D
    hidden: tuple[int, ...] = (256, 128)  # widths of the tower
    dropout: Dropout = 0.0  # of the tower


def history_columns(schema: Schema, model: str) -> list[tuple[str, int]]:
    """Each history with the column of the field that it holds; SettingError without any."""
    if not schema.histories:
        raise SettingError(
            f"{model} needs a history and the log has none: name a list column under stream.table.histories, "
            "or choose a backbone that reads fields only"
        )
    return [(history.name, schema.names.index(history.field)) for history in schema.histories]


class SequentialBackbone(Backbone):
    """logit = Tower([v_1, ..., v_F, interest_1, ...]); a model says what an interest is."""

    uses_histories: ClassVar[bool] = True

    def __init__(self, schema: Schema, settings: Any, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.histories = history_columns(schema, type(self).__name__)
        fields, width = len(schema.fields), settings.width
        self.embedding_width = width
        self.table = EmbeddingTable(schema.fields, width)
        interests = [self.new_interest(settings) for _ in self.histories]
        self.interests = nn.ModuleList(interests)
        inputs = (fields + sockets.fields) * (width + sockets.joined) + sum(i.width for i in interests)
        self.tower = Tower(inputs, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    @abstractmethod
    def new_interest(self, settings: Any) -> Interest:
        """What reads one history."""

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.with_auxiliary(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        v_BFD = self.table(batch)
        inputs, losses = [self.with_knowledge(v_BFD, plugged).flatten(1)], []
        for interest, (name, column) in zip(self.interests, self.histories, strict=True):
            interest_BX, loss = interest(read_past(self.table, batch.histories[name], column, v_BFD[:, column]))
            inputs.append(interest_BX)
            if loss is not None:
                losses.append(loss)
        logits = self.tower(torch.cat(inputs, dim=1), plugged)
        return logits, torch.stack(losses).sum() if losses else None

"""Click models around an encoder of click sequences: BERT4Rec's and S3-Rec's, which differ in how they are pre-trained.

    logit = Tower([v_1, ..., v_F, s, s * v_item]),    s what the user's sequence comes to

With `plug: weights` embeddings and encoder go on from the base of the same name, and all of it is fine-tuned by clicks,
the tower as it was; without, they start from nothing.

Shapes: B rows, F fields, S places of a sequence, D width, J joined width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pkb.backbones.base import Backbone, Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.knowledge import KnowledgeBase
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.pretrained.base import Pretrained, encoded, sequences
from pkb.pretrained.encoder import EncoderSettings, SequenceEncoder
from pkb.space import Dropout


class SequenceNetwork(Backbone):
    uses_histories: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings(EncoderSettings):
        hidden: tuple[int, ...] = (256, 128)  # widths of the tower
        dropout: Dropout = 0.0  # of the tower

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.clicks = sequences(schema, type(self).__name__)[0]
        self.embedding_width = width = settings.width
        self.table = EmbeddingTable(schema.fields, width)
        self.encoder = SequenceEncoder(settings)
        embeddings, each = sockets.around(len(schema.fields), width)
        self.tower = Tower(embeddings * each + 2 * width, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.table(batch)
        sequence_BD = encoded(self.table, self.encoder, batch, self.clicks)[:, 0]
        item_BD = v_BFD[:, self.clicks[1]]
        inputs = [self.with_knowledge(v_BFD, plugged).flatten(1), sequence_BD, sequence_BD * item_BD]
        logits: Tensor = self.tower(torch.cat(inputs, dim=1), plugged)
        return logits

    def go_on_from(self, base: KnowledgeBase) -> bool:
        assert isinstance(base, Pretrained), f"{type(base).__name__} is another base"
        self.table.restore(base.table.rows_in_use())
        self.encoder.load_state_dict(base.encoder.state_dict())
        return False


class BERT4RecNetwork(SequenceNetwork):
    network_of: ClassVar[str | None] = "bert4rec"


class S3RecNetwork(SequenceNetwork):
    network_of: ClassVar[str | None] = "s3rec"

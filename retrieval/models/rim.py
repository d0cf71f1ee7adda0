"""RIM, retrieval and interaction machine: older rows like this one, with their labels (Qin et al., KDD 2021).

a_k = softmax_k((W x + b) . n_k)                    attention of the row x over its neighbours n_k, all fields flat
r_feat = sum_k a_k n_k,  r_label = sum_k a_k e(label_k)                                       aggregation
p = (<u, w>) for every pair of the 2F + 1 vectors [v_1 .. v_F, r_feat_1 .. r_feat_F, r_label]  interaction
logit = w . [Tower([x, r_feat, r_label, p]), r_label]

As in the authors' code: the attention is not scaled, all pairs interact, and r_label enters twice.

Beside that code: its batch normalisation always runs in inference mode, on statistics that never move, so it is an
affine map in front of a dense layer, which can learn it; it is left out. Embeddings start as everywhere in this
project, not at a deviation of 1; those of the two labels start at 0.1: from 1 what they have in common drowns what
tells rows apart, and a base that imitates r_t spends its first thousand steps on a constant.

Extra fields and joined embeddings go into the tower; attention and products are made without them. The second
entry of r_label adds to the tower's logit, whatever knowledge does at a hidden layer.

Shapes: B rows, F fields, K neighbours, A = F + 1 aggregated vectors, D embedding width, X = F D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from pkb.backbones.base import Tower
from pkb.batch import Batch, Neighbours, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import inner_products
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok.teacher import Teacher
from pkb.sequence import masked_softmax, weighted_sum
from pkb.space import Dropout
from retrieval.models.neighbourhood import neighbours_of


class RIM(Teacher):
    retriever: ClassVar[str] = "field_match"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D, of fields and of labels
        hidden: tuple[int, ...] = (200, 80)  # widths of the tower
        dropout: Dropout = 0.2  # of the tower

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields, width = len(schema.fields), settings.width
        self.embedding_width, self.aggregated_vectors = width, fields + 1
        self.table = EmbeddingTable(schema.fields, width)
        self.labels = nn.Embedding(2, width)  # e
        nn.init.normal_(self.labels.weight, std=0.1)
        self.query = nn.Linear(fields * width, fields * width)  # W, b
        number, wide = sockets.around(fields, width)
        interacting = fields + self.aggregated_vectors
        inputs = number * wide + self.aggregated_vectors * width + interacting * (interacting - 1) // 2
        self.tower = Tower(inputs, settings.hidden, sockets, dropout=settings.dropout)
        self.last_of_label = nn.Linear(width, 1, bias=False)  # the part of w, over [tower, r_label], for r_label
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        v_BFD = self.table(batch)
        r_BAD = self._aggregate(v_BFD, neighbours_of(batch, self.retriever))
        products_BP = inner_products(torch.cat([v_BFD, r_BAD], dim=1))
        x_BX = self.with_knowledge(v_BFD, plugged).flatten(1)
        logits: Tensor = self.tower(torch.cat([x_BX, r_BAD.flatten(1), products_BP], dim=1), plugged)
        of_label_B1: Tensor = self.last_of_label(r_BAD[:, -1])
        return logits + of_label_B1.squeeze(1)

    def aggregated(self, batch: Batch) -> Tensor:
        """r_feat, then r_label: [B, F + 1, D]."""
        return self._aggregate(self.table(batch), neighbours_of(batch, self.retriever))

    def _aggregate(self, v_BFD: Tensor, near: Neighbours) -> Tensor:
        n_BKX = self.table.look_up(near.ids_BKF).flatten(2)
        scores_BK = torch.bmm(n_BKX, self.query(v_BFD.flatten(1)).unsqueeze(2)).squeeze(2)
        weights_BK = masked_softmax(scores_BK, near.present_BK)
        r_feat_BFD = weighted_sum(weights_BK, n_BKX).view_as(v_BFD)
        r_label_BD = weighted_sum(weights_BK, self.labels(near.label_BK.long()))
        return torch.cat([r_feat_BFD, r_label_BD.unsqueeze(1)], dim=1)

"""UBR4CTR, user behaviour retrieval: the model learns with which fields to ask for a user's behaviours
(Qin et al., SIGIR 2020).

p_f = sigmoid(MLP_f(h_f)),  h = LN(x) + Attention(LN(x), x)             with which fields to ask, the user's apart
score_k = sum of idf_f over the fields f asked with that behaviour k shares with the row; the best are retrieved
r = sum_k softmax_k(q e_k) e_k,  q = linear(x);  logit = Tower([x, r])
loss of asking = -mean_rows log p(fields asked with) (reward - mean reward),  reward = max(1 - logloss / log 2, -1)

In training the fields are drawn; a row that is scored asks with those of p > 1/2, or else with the likeliest one.

Beside the paper and its code: they alternate epochs of asking and of predicting, each with embeddings and a learning
rate of its own, while here both take one step together. Asking reads the embeddings of predicting without moving them,
since its gradient is mostly noise; so the fields tell themselves apart by an MLP of their own each, which in the code
they share. The code has no baseline: the mean of a batch takes away what all rows have in common. And its likelihood
is that of the fields asked with alone, here also that of not asking with the others (REINFORCE, Williams 1992).

Shapes: B rows, C candidates, K of them retrieved, F fields, A fields that can be asked with, D embedding width,
E = A D.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot

from pkb.backbones.base import Tower
from pkb.batch import MISSING, Batch, Neighbours, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.layers import mlp
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok.teacher import Teacher
from pkb.sequence import masked_softmax, weighted_sum
from pkb.space import Dropout
from retrieval.models.neighbourhood import neighbours_of
from retrieval.models.sim import best_places


class QueryGenerator(nn.Module):
    """Logits of asking with each field; [B, A, D] -> [B, A]."""

    def __init__(self, fields: int, width: int, heads: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.of_field = nn.ModuleList(mlp(width, hidden, 1) for _ in range(fields))

    def forward(self, x_BAD: Tensor) -> Tensor:
        queries_BAD = self.norm(x_BAD)
        attended_BAD, _ = self.attention(queries_BAD, x_BAD, x_BAD, need_weights=False)
        h_ABD = (queries_BAD + attended_BAD).unbind(dim=1)
        return torch.cat([of_field(h_BD) for of_field, h_BD in zip(self.of_field, h_ABD, strict=True)], dim=1)


def likeliest(ask_BA: Tensor) -> Tensor:
    """The fields of p > 1/2, or else the one of the largest p; logits [B, A] -> bool."""
    largest_BA = one_hot(ask_BA.argmax(dim=1), ask_BA.shape[1]).bool()
    return (ask_BA > 0) | largest_BA


def match_scores(asked_BF: Tensor, ids_BF: Tensor, near: Neighbours) -> Tensor:
    """[B, C]: the sum of idf over the fields asked with that a candidate shares; 0 for one that is not there.

    In double precision, where sums of single ones are exact in any order: equals tie, as they do in the index.
    """
    idf_BF = torch.ones_like(asked_BF, dtype=torch.float32) if near.idf_BF is None else near.idf_BF
    weight_BF = idf_BF.double() * (asked_BF & (ids_BF != MISSING))
    shared_BCF = (near.ids_BKF == ids_BF.unsqueeze(1)).double()
    return torch.bmm(shared_BCF, weight_BF.unsqueeze(2)).squeeze(2) * near.present_BK


def reward(logits_B: Tensor, label_B: Tensor) -> Tensor:
    """How much better than a coin a row was predicted: 1 - logloss / log 2, at least -1; [B], without gradient."""
    logloss_B = binary_cross_entropy_with_logits(logits_B.detach(), label_B.to(logits_B.dtype), reduction="none")
    return (1 - logloss_B / log(2)).clamp(min=-1)


def policy_loss(ask_BA: Tensor, asked_BA: Tensor, reward_B: Tensor) -> Tensor:
    """-mean_rows log p(fields asked with) (reward - mean reward); a scalar."""
    surprise_BA = binary_cross_entropy_with_logits(ask_BA, asked_BA.to(ask_BA.dtype), reduction="none")
    return (surprise_BA.sum(dim=1) * (reward_B - reward_B.mean())).mean()


class UBR(Teacher):
    retriever: ClassVar[str] = "user_behaviours"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D; `heads` must divide it
        retrieved: int = 20  # behaviours that are read
        hidden: tuple[int, ...] = (200, 80)  # widths of the tower
        dropout: Dropout = 0.0  # of the tower
        heads: int = 2  # of the attention between the fields to ask with
        query_hidden: tuple[int, ...] = (20, 10)  # widths of the MLP of each field to ask with
        query_dropout: float = 0.2  # of the attention's weights
        policy: float = 1.0  # weight of the loss of asking, which Adam hardly feels; with 0 asking stays as it began

        def __post_init__(self) -> None:
            if self.heads < 1 or self.width % self.heads:
                raise SettingError(f"heads={self.heads}: must divide the width, {self.width}")

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.retrieved, self.policy = settings.retrieved, settings.policy
        to_ask = [i for i in range(len(schema.fields)) if i != schema.user_column]
        self.register_buffer("to_ask", torch.tensor(to_ask), persistent=False)
        self.to_ask: Tensor
        fields, width = len(schema.fields), settings.width
        of_behaviour = len(to_ask) * width
        self.embedding_width, self.aggregated_vectors = width, len(to_ask)
        self.table = EmbeddingTable(schema.fields, width)
        self.asking = QueryGenerator(len(to_ask), width, settings.heads, settings.query_hidden, settings.query_dropout)
        self.query = nn.Linear(fields * width, of_behaviour)
        number, wide = sockets.around(fields, width)
        self.tower = Tower(number * wide + of_behaviour, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.with_auxiliary(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        v_BFD = self.table(batch)
        ask_BA, asked_BA = self._ask(v_BFD)
        inputs = [self.with_knowledge(v_BFD, plugged).flatten(1), self._behaviour(batch, v_BFD, asked_BA)]
        logits_B = self.tower(torch.cat(inputs, dim=1), plugged)
        if not (self.training and self.policy):
            return logits_B, None
        return logits_B, self.policy * policy_loss(ask_BA, asked_BA, reward(logits_B, batch.label))

    def aggregated(self, batch: Batch) -> Tensor:
        """What is retrieved, without the user: [B, F - 1, D]."""
        v_BFD = self.table(batch)
        _, asked_BA = self._ask(v_BFD)
        read_BE = self._behaviour(batch, v_BFD, asked_BA)
        return read_BE.view(len(batch), self.aggregated_vectors, self.embedding_width)

    def _ask(self, v_BFD: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of asking with each field, and the fields that are asked with: drawn in training."""
        ask_BA = self.asking(v_BFD[:, self.to_ask].detach())
        return ask_BA, torch.rand_like(ask_BA) < ask_BA.sigmoid() if self.training else likeliest(ask_BA)

    def _behaviour(self, batch: Batch, v_BFD: Tensor, asked_BA: Tensor) -> Tensor:
        """What asking with these fields retrieves, by how it meets the row, [B, E]; zeros if that is nothing."""
        near = neighbours_of(batch, self.retriever)
        places_BK, found_BK = self.search(batch.ids_BF, asked_BA, near)
        ids_BKA = near.ids_BKF[:, :, self.to_ask].take_along_dim(places_BK.unsqueeze(2), dim=1)
        e_BKE = self.table.look_up(ids_BKA, self.to_ask).flatten(2)
        scores_BK = torch.bmm(e_BKE, self.query(v_BFD.flatten(1)).unsqueeze(2)).squeeze(2)
        return weighted_sum(masked_softmax(scores_BK, found_BK), e_BKE)

    def search(self, ids_BF: Tensor, asked_BA: Tensor, near: Neighbours) -> tuple[Tensor, Tensor]:
        """Where the best behaviours stand among the candidates, best first, and whether one was found; each [B, K]."""
        asked_BF = torch.zeros_like(ids_BF, dtype=torch.bool)
        asked_BF[:, self.to_ask] = asked_BA
        scores_BC = match_scores(asked_BF, ids_BF, near)
        places_BK = best_places(scores_BC, scores_BC > 0, self.retrieved)
        return places_BK, scores_BC.gather(1, places_BK) > 0

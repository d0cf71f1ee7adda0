"""SIM, search-based interest model: attention over those of a user's behaviours that a search picks for the target
(Pi et al., CIKM 2020).

General search unit (section 3.2), in two variants:
    hard    the behaviours in the target's category, as the retriever found them
    soft    of the user's behaviours the K of the largest r_k = e_k W e_target                                  (eq. 2)
Exact search unit (section 3.3), over what is left, with z_k = [e_k; vector of the time since]:
    head_i = sum_k softmax_k((W_bi z_k) (W_ai e_target)) z_k

The heads go into the tower, beside the fields of the row. e are the embeddings of the fields that describe the item,
side by side. Time gaps fall into buckets that double in length.

The soft search is learnt by a click model of its own over [sum_k r_k e_k, e_target], whose loss is added to the
model's. Beside the paper: its two matrices of eq. 2 are one here, W = W_b' W_a, so that the candidates need no product
with a matrix; it starts as the identity, and the search as the inner product of embeddings.

Shapes: B rows, K neighbours, F fields, D embedding width, E width of the item's fields together, Z = E + D,
I heads, A width of a head's queries and keys.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from pkb.backbones.base import Tower
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.layers import mlp
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok.teacher import Teacher
from pkb.sequence import masked_softmax, weighted_sum
from pkb.space import Dropout
from retrieval.models.neighbourhood import neighbours_of

GAPS = 32  # buckets of a time gap: of 0 seconds, 1, 2 to 3, 4 to 7, ... to the largest int32


def best_places(scores_BK: Tensor, found_BK: Tensor, k: int) -> Tensor:
    """Where the best `k` of what was found stand, best first, [B, k]; among equals the first, and then all others."""
    ranked_BK: Tensor = scores_BK.masked_fill(~found_BK, -torch.inf).sort(dim=1, descending=True, stable=True).indices
    return ranked_BK[:, :k]


def gap_bucket(age: Tensor) -> Tensor:
    """floor(1 + log2 age) of seconds, 0 below 1; any shape of int32 -> int64 below `GAPS`."""
    return torch.bucketize(age, 2 ** torch.arange(GAPS - 1, device=age.device), right=True)


@dataclass(frozen=True, kw_only=True)
class Behaviours:
    """What the user did, and how long ago."""

    vectors_BKE: Tensor
    age_BK: Tensor  # int32, seconds
    present_BK: Tensor  # bool

    def at(self, places_BK: Tensor) -> Behaviours:
        """Take the behaviours that stand at these places."""
        return Behaviours(
            vectors_BKE=self.vectors_BKE.take_along_dim(places_BK.unsqueeze(2), dim=1),
            age_BK=self.age_BK.gather(1, places_BK),
            present_BK=self.present_BK.gather(1, places_BK),
        )


class ExactSearch(nn.Module):
    """All heads side by side, [B, I Z]; zeros without behaviours."""

    def __init__(self, width: int, gap_width: int, heads: int, attention: int) -> None:
        super().__init__()
        self.heads = heads
        self.gap = nn.Embedding(GAPS, gap_width)
        self.key = nn.Linear(width + gap_width, heads * attention, bias=False)  # W_b1, W_b2, ...
        self.query = nn.Linear(width, heads * attention, bias=False)  # W_a1, W_a2, ...

    def forward(self, behaviours: Behaviours, target_BE: Tensor) -> Tensor:
        z_BKZ = torch.cat([behaviours.vectors_BKE, self.gap(gap_bucket(behaviours.age_BK))], dim=2)
        key_BKIA = self.key(z_BKZ).unflatten(2, (self.heads, -1))
        query_B1IA = self.query(target_BE).unflatten(1, (self.heads, -1)).unsqueeze(1)
        weights_BKI = masked_softmax((key_BKIA * query_B1IA).sum(dim=3), behaviours.present_BK.unsqueeze(2))
        return torch.bmm(weights_BKI.mT, z_BKZ).flatten(1)


class SoftSearch(nn.Module):
    """eq. 2, and the click model that it is learnt by."""

    def __init__(self, width: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.of_target = nn.Linear(width, width, bias=False)  # W
        nn.init.eye_(self.of_target.weight)
        self.click = mlp(2 * width, hidden, 1)

    def forward(self, behaviours: Behaviours, target_BE: Tensor) -> Tensor:
        """r, [B, K]; zeros where no behaviour is."""
        relevance_BK1 = torch.bmm(behaviours.vectors_BKE, self.of_target(target_BE).unsqueeze(2))
        return relevance_BK1.squeeze(2) * behaviours.present_BK

    def loss(self, relevance_BK: Tensor, behaviours: Behaviours, target_BE: Tensor, label_B: Tensor) -> Tensor:
        """Cross entropy of clicks, from the behaviours as far as they are relevant."""
        logits_B1 = self.click(torch.cat([weighted_sum(relevance_BK, behaviours.vectors_BKE), target_BE], dim=1))
        return binary_cross_entropy_with_logits(logits_B1.squeeze(1), label_B.to(logits_B1.dtype))


class SIM(Teacher):
    """logit = Tower([v_1, ..., v_F, head_1, ...]); a variant says how behaviours are searched."""

    retriever: ClassVar[str]

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 16  # embedding width D, of time gaps too
        heads: int = 2  # I
        attention: int = 16  # width A of a head's queries and keys
        hidden: tuple[int, ...] = (200, 80)  # widths of the tower
        dropout: Dropout = 0.0  # of the tower

    def __init__(self, schema: Schema, settings: Any, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        of_item = [i for i, f in enumerate(schema.fields) if f.role == "item" or f.name == schema.item]
        self.register_buffer("of_item", torch.tensor(of_item), persistent=False)
        self.of_item: Tensor
        fields, width = len(schema.fields), settings.width
        self.item_width = len(of_item) * width  # E
        self.embedding_width, self.aggregated_vectors = width, settings.heads * (len(of_item) + 1)
        self.table = EmbeddingTable(schema.fields, width)
        self.exact = ExactSearch(self.item_width, width, settings.heads, settings.attention)
        of_heads = self.aggregated_vectors * width
        number, wide = sockets.around(fields, width)
        self.tower = Tower(number * wide + of_heads, settings.hidden, sockets, dropout=settings.dropout)
        self.hidden_width = self.tower.socket_width

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        return self.with_auxiliary(batch, plugged)[0]

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        v_BFD = self.table(batch)
        heads_BX, loss = self._heads(batch, v_BFD)
        inputs = [self.with_knowledge(v_BFD, plugged).flatten(1), heads_BX]
        return self.tower(torch.cat(inputs, dim=1), plugged), loss

    def aggregated(self, batch: Batch) -> Tensor:
        """Join, for each head, the fields of the items and the time gaps: [B, I (E / D + 1), D]."""
        heads_BX, _ = self._heads(batch, self.table(batch))
        return heads_BX.view(len(batch), self.aggregated_vectors, self.embedding_width)

    def _heads(self, batch: Batch, v_BFD: Tensor) -> tuple[Tensor, Tensor | None]:
        """All heads side by side, and in training the loss that the search is learnt by."""
        near = neighbours_of(batch, self.retriever)
        behaviours = Behaviours(
            vectors_BKE=self.table.look_up(near.ids_BKF[:, :, self.of_item], self.of_item).flatten(2),
            age_BK=near.age_BK,
            present_BK=near.present_BK,
        )
        target_BE = v_BFD[:, self.of_item].flatten(1)
        searched, loss = self.search(behaviours, target_BE, batch.label)
        return self.exact(searched, target_BE), loss

    @abstractmethod
    def search(self, behaviours: Behaviours, target_BE: Tensor, label_B: Tensor) -> tuple[Behaviours, Tensor | None]:
        """The behaviours that count for the target, and in training the loss that the search is learnt by."""


class SIMHard(SIM):
    """The retriever has searched."""

    retriever: ClassVar[str] = "user_category"

    def search(self, behaviours: Behaviours, target_BE: Tensor, label_B: Tensor) -> tuple[Behaviours, Tensor | None]:
        return behaviours, None


class SIMSoft(SIM):
    """The retriever gives candidates, and the model searches among them."""

    retriever: ClassVar[str] = "user_behaviours"

    @dataclass(frozen=True, kw_only=True)
    class Settings(SIM.Settings):
        keep: int = 50  # behaviours K that the search leaves
        search_hidden: tuple[int, ...] = (200,)  # widths of the click model that the search is learnt by
        auxiliary: float = 1.0  # weight of its loss: alpha of the paper where beta is 1; 0 leaves it out

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        self.keep, self.auxiliary = settings.keep, settings.auxiliary
        self.soft = SoftSearch(self.item_width, settings.search_hidden)

    def search(self, behaviours: Behaviours, target_BE: Tensor, label_B: Tensor) -> tuple[Behaviours, Tensor | None]:
        relevance_BK = self.soft(behaviours, target_BE)
        searched = behaviours.at(best_places(relevance_BK, behaviours.present_BK, self.keep))
        if not (self.training and self.auxiliary):
            return searched, None
        return searched, self.auxiliary * self.soft.loss(relevance_BK, behaviours, target_BE, label_B)

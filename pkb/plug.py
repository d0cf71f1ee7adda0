"""How knowledge enters a backbone.

A plug turns knowledge vectors into something of the backbone's own shape; a socket is the place for it.

    fields    each vector is the embedding of one more field                        (EDK, eq. 33; ROK, instance-wise)
    join      every field's embedding gets more columns                             (ROK, feature-wise)
    hidden    added to the output of hidden layer m                                 (KEEP, section 4.3)
    gate      scales the output of hidden layer m, by factors between 0 and 2       (PEPNet's gate, fed with knowledge)
    columns   the vectors as they are, the only one for models that are fitted without optimiser steps

Every plug is neutral when new: at the usual initialisation its outputs are several times as long as embeddings
and drown them, and a model that is already in use would jump.

Shapes: B rows, F fields, K knowledge vectors, d their width, D embedding width, J joined width, H hidden width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from pkb.layers import mlp


@dataclass(frozen=True, kw_only=True)
class Sockets:
    """What a backbone is built to take in."""

    fields: int = 0  # embeddings of so many more fields
    joined: int = 0  # so many more columns of every field's embedding
    columns: int = 0  # so many more columns, of a model that is fitted
    layer: int = 1  # hidden layer, from 1 on, at which knowledge is added or gates; the last one if there are fewer

    def around(self, fields: int, width: int) -> tuple[int, int]:
        """How many embeddings there are with what is plugged in, and how wide: F, D -> F + K, D + J."""
        return fields + self.fields, width + self.joined


@dataclass(frozen=True, kw_only=True)
class Plugged:
    """Knowledge in the shapes of a backbone's sockets; None leaves one empty."""

    fields_BKD: Tensor | None = None
    joined_BFJ: Tensor | None = None
    added_BH: Tensor | None = None
    gate_BH: Tensor | None = None
    columns_BX: Tensor | None = None  # as it is, for a model without layers


EMPTY = Plugged()


class Plug(nn.Module, ABC):
    """From knowledge [B, K, d] to a socket."""

    @abstractmethod
    def forward(self, knowledge_BKd: Tensor) -> Plugged: ...


class ExtraFields(Plug):
    """[B, K, d] -> [B, K, D], one MLP for all vectors."""

    def __init__(self, width: int, embedding_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(width, width, embedding_width))

    def forward(self, knowledge_BKd: Tensor) -> Plugged:
        return Plugged(fields_BKD=self.adapt(knowledge_BKd))


class JoinedEmbeddings(Plug):
    """[B, K, d] -> [B, F, J]: each field gets its own mixture of the vectors, mapped linearly.

    With one vector a field (K = F) the mixture starts as the field's own vector.
    """

    def __init__(self, vectors: int, width: int, fields: int, joined: int) -> None:
        super().__init__()
        self.mixture_FK = nn.Parameter(torch.eye(fields, vectors) if vectors == fields else _even(fields, vectors))
        self.adapt = _neutral(nn.Sequential(nn.Linear(width, joined)))

    def forward(self, knowledge_BKd: Tensor) -> Plugged:
        return Plugged(joined_BFJ=self.adapt(torch.matmul(self.mixture_FK, knowledge_BKd)))


class AddedToHidden(Plug):
    """[B, K d] -> [B, H], a shallow MLP."""

    def __init__(self, vectors: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(vectors * width, width, hidden_width))

    def forward(self, knowledge_BKd: Tensor) -> Plugged:
        return Plugged(added_BH=self.adapt(knowledge_BKd.flatten(1)))


class Gate(Plug):
    """[B, K d] -> [B, H], 2 sigmoid(MLP)."""

    def __init__(self, vectors: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(vectors * width, width, hidden_width))

    def forward(self, knowledge_BKd: Tensor) -> Plugged:
        return Plugged(gate_BH=2 * torch.sigmoid(self.adapt(knowledge_BKd.flatten(1))))


class Columns(Plug):
    """[B, K, d] -> [B, K d], as it is: what a model that takes no optimiser steps can use."""

    def forward(self, knowledge_BKd: Tensor) -> Plugged:
        return Plugged(columns_BX=knowledge_BKd.flatten(1))


PLUGS = ("fields", "join", "hidden", "gate")


def sockets_for(plug: str, vectors: int, width: int, layer: int) -> Sockets:
    """What a backbone must take in for a plug of this name and K vectors of width d."""
    return Sockets(
        fields=vectors if plug == "fields" else 0,
        joined=width if plug == "join" else 0,
        columns=vectors * width if plug == "columns" else 0,
        layer=layer,
    )


def make_plug(plug: str, vectors: int, width: int, *, fields: int, embedding_width: int, hidden_width: int) -> Plug:
    """A plug by its name for K vectors of width d and a backbone of these shapes."""
    match plug:
        case "fields":
            return ExtraFields(width, embedding_width)
        case "join":
            return JoinedEmbeddings(vectors, width, fields, width)
        case "hidden":
            return AddedToHidden(vectors, width, hidden_width)
        case "gate":
            return Gate(vectors, width, hidden_width)
        case "columns":
            return Columns()
        case _:
            raise ValueError(plug)


def _adapter(width_in: int, width: int, width_out: int) -> nn.Sequential:
    """A shallow MLP; never so narrow, for a socket of width 1 say, that its rectifiers could all be dead."""
    return mlp(width_in, [max(width, width_out)], width_out)


def _neutral(adapt: nn.Sequential) -> nn.Sequential:
    """The module with its last layer at zero."""
    last = cast(nn.Linear, adapt[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return adapt


def _even(rows: int, columns: int) -> Tensor:
    return torch.full((rows, columns), 1 / columns)

"""How knowledge enters a backbone.

A plug turns knowledge into something of the backbone's own shape; a socket is the place for it.

    fields    each vector is the embedding of one more field                        (EDK, eq. 33; ROK, instance-wise)
    join      every field's embedding gets more columns, from its own feature       (ROK, feature-wise)
              or, of a base without features, from a mixture of the vectors
    hidden    added to the output of hidden layer m                                 (KEEP, section 4.3)
    gate      scales the output of hidden layer m, by factors between 0 and 2       (PEPNet's gate, fed with knowledge)
    columns   the vectors as they are, the only one for models that are fitted without optimiser steps

`fields+join` is both at once (ROK, section 4.4).

Every plug is neutral when new: at the usual initialisation its outputs are several times as long as embeddings
and drown them, and a model that is already in use would jump.

Shapes: B rows, F fields, K knowledge vectors, d their width, D embedding width, J joined width, H hidden width,
e width of a field's feature.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from pkb.knowledge import Knowledge, Shape
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
    """From knowledge to a socket."""

    @abstractmethod
    def forward(self, knowledge: Knowledge) -> Plugged: ...


class ExtraFields(Plug):
    """[B, K, d] -> [B, K, D], one MLP for all vectors."""

    def __init__(self, width: int, embedding_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(width, width, embedding_width))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(fields_BKD=self.adapt(knowledge.vectors_BKd))


class JoinedEmbeddings(Plug):
    """[B, K, d] -> [B, F, J]: each field gets its own mixture of the vectors, mapped linearly.

    With one vector a field (K = F) the mixture starts as the field's own vector.
    """

    def __init__(self, vectors: int, width: int, fields: int, joined: int) -> None:
        super().__init__()
        self.mixture_FK = nn.Parameter(torch.eye(fields, vectors) if vectors == fields else _even(fields, vectors))
        self.adapt = _neutral(nn.Sequential(nn.Linear(width, joined)))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(joined_BFJ=self.adapt(torch.matmul(self.mixture_FK, knowledge.vectors_BKd)))


class JoinedFeatures(Plug):
    """[B, F, e] -> [B, F, J]: each field's own feature, mapped linearly."""

    def __init__(self, feature_width: int, joined: int) -> None:
        super().__init__()
        self.adapt = _neutral(nn.Sequential(nn.Linear(feature_width, joined)))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(joined_BFJ=self.adapt(knowledge.features_BFe))


class AddedToHidden(Plug):
    """[B, K d] -> [B, H], a shallow MLP."""

    def __init__(self, vectors: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(vectors * width, width, hidden_width))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(added_BH=self.adapt(knowledge.vectors_BKd.flatten(1)))


class Gate(Plug):
    """[B, K d] -> [B, H], 2 sigmoid(MLP)."""

    def __init__(self, vectors: int, width: int, hidden_width: int) -> None:
        super().__init__()
        self.adapt = _neutral(_adapter(vectors * width, width, hidden_width))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(gate_BH=2 * torch.sigmoid(self.adapt(knowledge.vectors_BKd.flatten(1))))


class Columns(Plug):
    """[B, K, d] -> [B, K d], as it is: what a model that takes no optimiser steps can use."""

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(columns_BX=knowledge.vectors_BKd.flatten(1))


class Both(Plug):
    """Two plugs, each into a socket of its own."""

    def __init__(self, one: Plug, other: Plug) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, knowledge: Knowledge) -> Plugged:
        filled = {socket: value for socket, value in vars(self.other(knowledge)).items() if value is not None}
        one: Plugged = self.one(knowledge)
        return replace(one, **filled)


PLUGS = ("fields", "join", "hidden", "gate", "fields+join")


def sockets_for(plug: str, shape: Shape, layer: int) -> Sockets:
    """What a backbone must take in for a plug of this name and knowledge of this shape."""
    ways = plug.split("+")
    return Sockets(
        fields=shape.vectors if "fields" in ways else 0,
        joined=(shape.feature_width or shape.width) if "join" in ways else 0,
        columns=shape.vectors * shape.width if "columns" in ways else 0,
        layer=layer,
    )


def make_plug(plug: str, shape: Shape, *, fields: int, embedding_width: int, hidden_width: int) -> Plug:
    """A plug by its name, for knowledge of this shape and a backbone of these."""
    if "+" in plug:
        one, other = (
            make_plug(way, shape, fields=fields, embedding_width=embedding_width, hidden_width=hidden_width)
            for way in plug.split("+")
        )
        return Both(one, other)
    match plug:
        case "fields":
            return ExtraFields(shape.width, embedding_width)
        case "join" if shape.feature_width:
            return JoinedFeatures(shape.feature_width, shape.feature_width)
        case "join":
            return JoinedEmbeddings(shape.vectors, shape.width, fields, shape.width)
        case "hidden":
            return AddedToHidden(shape.vectors, shape.width, hidden_width)
        case "gate":
            return Gate(shape.vectors, shape.width, hidden_width)
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

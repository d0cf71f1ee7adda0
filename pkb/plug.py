"""How knowledge enters a backbone.

A plug turns knowledge into something of the backbone's own shape; a socket is the place for it.

    fields    each vector is the embedding of one more field                        (EDK, eq. 33; ROK, instance-wise)
    join      every field's embedding gets more columns, from its own vector of a part that has one for each field
              (ROK, feature-wise) or, of a base without such a part, from a mixture of the others' vectors
    hidden    added to the output of hidden layer m, a shallow MLP for each part    (KEEP, eq. 5)
    gate      scales the output of hidden layer m, by factors between 0 and 2       (PEPNet's gate, fed with knowledge)
    columns   the vectors as they are, the only one for models that are fitted without optimiser steps

Where a model in use gets knowledge, `hidden` and `gate` leave its own weights in their shapes; the others are new
inputs, and the layers that read them start anew (concatenation, which KEEP argues against in section 4.3). Or nothing
is plugged in: with `weights` the base's own network goes on as the click model (fine-tuning of what was pre-trained,
which KEEP argues against in section 1).

`fields+join` is both at once (ROK, section 4.4). Parts that hold a vector for each field enter by `join` alone, the
others by every way.

Every plug is neutral when new: at the usual initialisation its outputs are several times as long as embeddings
and drown them, and a model that is already in use would jump.

Shapes: B rows, F fields, K knowledge vectors of all parts, d width of a part, D embedding width, J joined width,
H hidden width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pkb.knowledge import Knowledge, Part
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


class Adapters(Plug):
    """A plug with one adapter for each part; those added later stand beside the first."""

    def __init__(self, parts: Sequence[Part], adapters: Iterable[nn.Module]) -> None:
        super().__init__()
        self.names = [part.name for part in parts]
        self.adapt = nn.ModuleList(adapters)

    def adapted(self, inputs: Iterable[Tensor]) -> list[Tensor]:
        """Give each part's input, in the order of the parts, to its adapter."""
        return [adapt(each) for adapt, each in zip(self.adapt, inputs, strict=True)]


class ExtraFields(Adapters):
    """Each part [B, K, d] -> [B, K, D], one MLP for all its vectors; the parts' fields one behind the other."""

    def __init__(self, parts: Sequence[Part], embedding_width: int) -> None:
        super().__init__(parts, (_neutral(_adapter(p.width, p.width, embedding_width)) for p in parts))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(fields_BKD=_joined(self.adapted(knowledge[name] for name in self.names), dim=1))


class JoinedFields(Adapters):
    """Each part [B, F, d] -> [B, F, d]: every field's own vector, mapped linearly; J = sum d."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__(parts, (_neutral(nn.Sequential(nn.Linear(p.width, p.width))) for p in parts))

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(joined_BFJ=_joined(self.adapted(knowledge[name] for name in self.names), dim=2))


class JoinedMixtures(Adapters):
    """Each part [B, K, d] -> [B, F, d]: every field gets its own mixture of the vectors, mapped linearly; J = sum d.

    With one vector a field (K = F) the mixture starts as the field's own vector.
    """

    def __init__(self, parts: Sequence[Part], fields: int) -> None:
        super().__init__(parts, (_neutral(nn.Sequential(nn.Linear(p.width, p.width))) for p in parts))
        self.mixtures_FK = nn.ParameterList(_mixture(fields, p.vectors) for p in parts)

    def forward(self, knowledge: Knowledge) -> Plugged:
        mixed = (mixture_FK @ knowledge[name] for mixture_FK, name in zip(self.mixtures_FK, self.names, strict=True))
        return Plugged(joined_BFJ=_joined(self.adapted(mixed), dim=2))


class AddedToHidden(Adapters):
    """Each part [B, K d] -> [B, H], a shallow MLP; the parts' outputs are summed (KEEP, eq. 5)."""

    def __init__(self, parts: Sequence[Part], hidden_width: int) -> None:
        super().__init__(parts, (_neutral(_adapter(p.vectors * p.width, p.width, hidden_width)) for p in parts))
        self.width = hidden_width

    def summed(self, knowledge: Knowledge, names: Sequence[str] = ()) -> Tensor:
        """Sum what the adapters of these parts give, of all if none is named, [B, H]."""
        adapt = dict(zip(self.names, self.adapt, strict=True))
        first, *others = (adapt[name](knowledge[name].flatten(1)) for name in names or self.names)
        summed_BH: Tensor = sum(others, start=first)
        return summed_BH

    def entering(self, summed_BH: Tensor) -> Plugged:
        """Put the sum over all parts into the socket."""
        return Plugged(added_BH=summed_BH)

    def forward(self, knowledge: Knowledge) -> Plugged:
        return self.entering(self.summed(knowledge))


class Gate(AddedToHidden):
    """Each part [B, K d] -> [B, H], a shallow MLP; 2 sigmoid(sum over the parts)."""

    def entering(self, summed_BH: Tensor) -> Plugged:
        return Plugged(gate_BH=2 * torch.sigmoid(summed_BH))


class Columns(Plug):
    """Each part [B, K, d] -> [B, K d], as it is: what a model that takes no optimiser steps can use."""

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.names = [part.name for part in parts]

    def forward(self, knowledge: Knowledge) -> Plugged:
        return Plugged(columns_BX=_joined([knowledge[name].flatten(1) for name in self.names], dim=1))


class Both(Plug):
    """Two plugs, each into a socket of its own."""

    def __init__(self, one: Plug, other: Plug) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, knowledge: Knowledge) -> Plugged:
        filled = {socket: value for socket, value in vars(self.other(knowledge)).items() if value is not None}
        one: Plugged = self.one(knowledge)
        return replace(one, **filled)


class SecondPlug(Plug):
    """Another plug beside the first, for parts that begin with `LATER`: closed until their knowledge is there.

    `opened` is what a checkpoint keeps of it, `is_open` the same where no tensor need be read.
    """

    opened: Tensor

    def __init__(self, first: Plug, second: Plug) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.register_buffer("opened", torch.zeros((), dtype=torch.bool))
        self.is_open = False

    def open(self) -> None:
        """Let the second plug count from now on."""
        self.opened.fill_(True)
        self.is_open = True

    def _load_from_state_dict(self, *state: Any) -> None:
        super()._load_from_state_dict(*state)
        self.is_open = bool(self.opened)

    def forward(self, knowledge: Knowledge) -> Plugged:
        one: Plugged = self.first(knowledge)
        if not self.is_open:
            return one
        other: Plugged = self.second(knowledge)
        if one.added_BH is not None and other.added_BH is not None:
            return Plugged(added_BH=one.added_BH + other.added_BH)
        assert one.gate_BH is not None
        assert other.gate_BH is not None
        return Plugged(gate_BH=one.gate_BH * other.gate_BH)


LATER = "beside_"  # begins the names of a second base's parts
WEIGHTS = "weights"  # no plug: the base's network becomes the click model
PLUGS = ("fields", "join", "hidden", "gate", "fields+join")
INTO_USE = ("hidden", "gate")  # those that leave a backbone's own weights in their shapes


def sockets_for(plug: str, parts: Sequence[Part], layer: int) -> Sockets:
    """Say what a backbone must take in for a plug of this name and knowledge of these parts."""
    ways, whole, of_fields = plug.split("+"), _whole(parts), _of_fields(parts)
    return Sockets(
        fields=sum(p.vectors for p in whole) if "fields" in ways else 0,
        joined=sum(p.width for p in of_fields or whole) if "join" in ways else 0,
        columns=sum(p.vectors * p.width for p in whole) if "columns" in ways else 0,
        layer=layer,
    )


def make_plug(plug: str, parts: Sequence[Part], *, fields: int, embedding_width: int, hidden_width: int) -> Plug:
    """Make a plug by its name, for knowledge of these parts and a backbone of these widths."""
    later = [part for part in parts if part.name.startswith(LATER)]
    early = [part for part in parts if part not in later]
    if later and early:
        widths = {"fields": fields, "embedding_width": embedding_width, "hidden_width": hidden_width}
        return SecondPlug(make_plug(plug, early, **widths), make_plug(plug, later, **widths))
    if "+" in plug:
        one, other = (
            make_plug(way, parts, fields=fields, embedding_width=embedding_width, hidden_width=hidden_width)
            for way in plug.split("+")
        )
        return Both(one, other)
    whole, of_fields = _whole(parts), _of_fields(parts)
    match plug:
        case "fields":
            return ExtraFields(whole, embedding_width)
        case "join" if of_fields:
            return JoinedFields(of_fields)
        case "join":
            return JoinedMixtures(whole, fields)
        case "hidden":
            return AddedToHidden(whole, hidden_width)
        case "gate":
            return Gate(whole, hidden_width)
        case "columns":
            return Columns(whole)
        case _:
            raise ValueError(plug)


def _whole(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if not part.of_fields]


def _of_fields(parts: Sequence[Part]) -> list[Part]:
    return [part for part in parts if part.of_fields]


def _joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), dim=dim)


def _adapter(width_in: int, width: int, width_out: int) -> nn.Sequential:
    """A shallow MLP; never so narrow, for a socket of width 1 say, that its rectifiers could all be dead."""
    return mlp(width_in, [max(width, width_out)], width_out)


def _neutral(adapt: nn.Sequential) -> nn.Sequential:
    """The module with its last layer at zero."""
    last = cast(nn.Linear, adapt[-1])
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return adapt


def _mixture(fields: int, vectors: int) -> nn.Parameter:
    """[F, K]: each field's own vector where there is one, else all alike."""
    same = vectors == fields
    return nn.Parameter(torch.eye(fields) if same else torch.full((fields, vectors), 1 / vectors))

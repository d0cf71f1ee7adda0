"""What every backbone offers: click logits for a batch, and sockets for knowledge.

Shapes: B rows, F fields, K extra fields, D embedding width, J joined width, H hidden width, X inputs of the tower.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from pkb.layers import dense
from pkb.plug import EMPTY, Plug, Plugged, Sockets, make_plug, sockets_for


class Backbone(nn.Module, ABC):
    """A click model over a schema's fields."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    uses_histories: ClassVar[bool] = False
    retriever: ClassVar[str | None] = None  # whose neighbours it reads: `batch.neighbours[retriever]`
    takes_knowledge: ClassVar[bool] = True  # whether it has a place for any
    network_of: ClassVar[str | None] = None  # base whose network it has, so that it can go on from what that learned
    embedding_width: int  # D
    hidden_width: int  # H, of the layer at which knowledge is added or gates

    def __init__(self, schema: Schema, settings: Any, sockets: Sockets = Sockets()) -> None:
        super().__init__()
        self.sockets = sockets

    def grow(self, size: int, generator: torch.Generator, known: int = 0) -> None:
        """Make room for ids below `size` in every table; ids above it read the new-value row of their field.

        Ids below `known` are not new, though this model may not have seen them.
        """
        for module in self.modules():
            if isinstance(module, EmbeddingTable):
                module.grow(size, generator, known)

    def meet(self, rows: Batch, generator: torch.Generator) -> None:
        """Make room for what rows bring beside their ids, before they are learned: a scenario's own weights."""

    def go_on_from(self, base: KnowledgeBase) -> bool:
        """Take the weights of the base that it is the network of; tells whether that is all of it, the logit too."""
        raise NotImplementedError(f"{type(self).__name__} is the network of no base")

    def stepped(self) -> None:
        """Take note of an optimiser's step, alike on every rank."""

    @abstractmethod
    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        """Click logits, [B]. An empty socket reads zeros, and a gate of ones."""

    def with_auxiliary(self, batch: Batch, plugged: Plugged = EMPTY) -> tuple[Tensor, Tensor | None]:
        """Click logits, [B], and what the model adds to their loss, weighted, a mean over rows; None if nothing.

        Training calls this instead of `forward`; a model with an auxiliary loss gets both from one pass.
        """
        return self(batch, plugged), None

    def with_knowledge(self, v_BFD: Tensor, plugged: Plugged) -> Tensor:
        """Embeddings with what was joined to them and the extra fields behind them: [B, F + K, D + J]."""
        rows, fields, width = v_BFD.shape
        joined, extra = plugged.joined_BFJ, plugged.fields_BKD
        if self.sockets.joined:
            if joined is None:
                joined = v_BFD.new_zeros(rows, fields, self.sockets.joined)
            v_BFD = torch.cat([v_BFD, joined], dim=2)
        if self.sockets.fields:
            full = v_BFD.new_zeros(rows, self.sockets.fields, width + self.sockets.joined)
            if extra is not None:
                full = torch.cat([extra, full[:, :, width:]], dim=2)
            v_BFD = torch.cat([v_BFD, full], dim=1)
        return v_BFD


class FittedBackbone(Backbone):
    """A click model that is fitted to whole rows instead of taking optimiser steps.

    Knowledge enters as more columns (plug `columns`), whatever plug an arm names: there is no layer to plug it into.
    """

    embedding_width = hidden_width = 0

    def __init__(self, schema: Schema, settings: Any, sockets: Sockets = Sockets(), **kept: Tensor) -> None:
        """`kept` is all that a fit changes, each tensor of any size, as it is before the first fit."""
        super().__init__(schema, settings, sockets)
        self.settings, self.kept = settings, tuple(kept)
        for name, value in kept.items():
            # Their sizes change, so they are stored as one tensor (`get_extra_state`) instead of as buffers.
            self.register_buffer(name, value, persistent=False)

    @abstractmethod
    def fit(self, rows: Batch, plugged: Plugged = EMPTY) -> None:
        """Learn `rows` after all that was learnt before; some of them may have been learnt already."""

    def get_extra_state(self) -> Tensor:
        """All that is kept, as the bytes of a safetensors file."""
        kept = {name: getattr(self, name).contiguous() for name in self.kept}
        return torch.frombuffer(bytearray(save(kept)), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        for name, value in load(state.numpy().tobytes()).items():
            setattr(self, name, value)


class Tower(nn.Module):
    """Dense layers to one logit, with a socket at one of them; [B, X] -> [B]."""

    def __init__(self, width_in: int, hidden: Sequence[int], sockets: Sockets, *, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [width_in, *hidden]
        self.layers = nn.ModuleList(
            dense(width, following, dropout=dropout) for width, following in zip(widths, hidden, strict=False)
        )
        self.last = nn.Linear(widths[-1], 1)
        self.socket = min(sockets.layer, len(hidden))  # 0 without hidden layers: the logit itself
        self.socket_width = hidden[self.socket - 1] if hidden else 1

    def forward(self, x_BX: Tensor, plugged: Plugged = EMPTY) -> Tensor:
        for number, layer in enumerate(self.layers, start=1):
            x_BX = layer(x_BX)
            if number == self.socket:
                x_BX = enter(x_BX, plugged)
        logit_B1: Tensor = self.last(x_BX)
        return (logit_B1 if self.socket else enter(logit_B1, plugged)).squeeze(1)


def enter(hidden_BH: Tensor, plugged: Plugged) -> Tensor:
    """A hidden layer's output, scaled by the gate, plus what is added."""
    if plugged.gate_BH is not None:
        hidden_BH = hidden_BH * plugged.gate_BH
    if plugged.added_BH is not None:
        hidden_BH = hidden_BH + plugged.added_BH
    return hidden_BH


class ClickModel(nn.Module):
    """A backbone, with or without knowledge plugged in: the learnt part of an arm.

    Its logits start at the log-odds of the first rows' clicks, `prior`, instead of at 0, from where Adam would take
    thousands of steps to clicks as rare as they are (as Lin et al. 2017, "Focal loss", section 3.3).
    """

    prior: Tensor

    def __init__(self, backbone: Backbone, plug: Plug | None = None) -> None:
        super().__init__()
        self.backbone, self.plug = backbone, plug
        self.register_buffer("prior", torch.zeros(()))

    def start_at(self, label_B: Tensor, weight_B: Tensor | None = None) -> None:
        """Take the log-odds of these labels as the prior; one click and one miss more keep it finite."""
        weight_B = torch.ones_like(label_B) if weight_B is None else weight_B
        clicks, rows = float((weight_B * label_B).sum()), float(weight_B.sum())
        self.prior.fill_(math.log((clicks + 1) / (rows - clicks + 1)))

    def forward(self, batch: Batch, knowledge: Knowledge | Plugged | None = None) -> Tensor:
        """Click logits, [B]; of knowledge, or of what the plug has made of it already."""
        logits: Tensor = self.backbone(batch, self.plugged(knowledge)) + self.prior
        return logits

    def with_auxiliary(self, batch: Batch, knowledge: Knowledge | None = None) -> tuple[Tensor, Tensor | None]:
        """Click logits, [B], and the backbone's auxiliary loss, if it has one."""
        logits, auxiliary = self.backbone.with_auxiliary(batch, self.plugged(knowledge))
        return logits + self.prior, auxiliary

    def plugged(self, knowledge: Knowledge | Plugged | None) -> Plugged:
        if isinstance(knowledge, Plugged):
            return knowledge
        if self.plug is None or knowledge is None:
            return EMPTY
        plugged: Plugged = self.plug(knowledge)
        return plugged


def make_click_model(
    backbone: type[Backbone],
    schema: Schema,
    settings: Any = None,
    parts: Sequence[Part] = (),
    *,
    plug: str = "fields",
    layer: int = 1,
) -> ClickModel:
    """Make a backbone, with a plug for knowledge of these parts if there are any; without settings, its defaults.

    `layer` is the hidden layer, from 1 on, at which the plugs `hidden` and `gate` enter.
    """
    way = "columns" if issubclass(backbone, FittedBackbone) else plug
    sockets = sockets_for(way, parts, layer) if parts else Sockets()
    made = backbone(schema, backbone.Settings() if settings is None else settings, sockets)
    if not parts:
        return ClickModel(made)
    widths = {"embedding_width": made.embedding_width, "hidden_width": made.hidden_width}
    return ClickModel(made, make_plug(way, parts, fields=len(schema.fields), **widths))

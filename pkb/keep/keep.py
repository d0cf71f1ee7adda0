"""KEEP: Knowledge Extraction and Plugging for Online Recommendation (Zhang et al., CIKM 2022).

    x = [user, item fields, what DIN reads of the user's histories about the item];   s_t = MLP_t(x) for each task t
    L = sum_t L_t^point + alpha L_t^pair                                                                (eq. 1 to 3)
    K(u, i) = [K_u, K_i, K_ui of each task]                                                                  (eq. 4)

The log's first label is predicted over all rows, every other one over the rows that have the first: conversion and
add-to-cart over clicks. K_u is the user's embedding, K_i those of the item's fields, K_ui the output of a task's last
hidden layer. Embeddings are shared by all tasks. Both losses are sums over a minibatch, divided by its rows. The
triplets of eq. 2 are all that a user's rows in the minibatch make, so of a user with many rows there they weigh more,
and with several ranks they are those within each rank's share. Eq. 5 is the plug `hidden`.

Where this differs from the paper: a task has one logit, not two under a softmax, of which the difference alone
counts; tables take steps of row-wise Adagrad, as all do here; and a log that has no history of an item's field
gives the MLPs nothing in its place.

Shapes: B rows, F fields, I of them the item's, U width of the user's embedding, D of the others, X inputs of an MLP,
H width of its last hidden layer, C rows that a task is trained on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.backbones.din import TargetAttention
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.keep.pairs import pairwise_loss
from pkb.knowledge import Knowledge, KnowledgeBase, Part, evaluating
from pkb.layers import dense
from pkb.sequence import read_past
from pkb.space import Between

INTERACTION = "interaction_"  # begins the name of a task's K_ui


class KEEP(KnowledgeBase):
    """A multi-task DIN over few features, whose embeddings and last hidden layers are the knowledge."""

    uses_histories: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """The paper's own sizes (section 6.2); "ours" has no source."""

        tasks: tuple[str, ...] = ()  # labels that are predicted; all of the log's if none is named (table 4)
        parts: tuple[
            str, ...
        ] = ()  # of user, item, interaction_<task>, those to plug in; all if none is named (table 3)
        user_width: int = 48  # of the user's embedding
        width: int = 16  # of all others
        hidden: tuple[int, ...] = (512, 256, 128, 64)  # of each task's MLP; the last one is the width of its K_ui
        attention: tuple[int, ...] = (36,)  # hidden widths of DIN's activation unit; ours, as backbones.din
        alpha: Annotated[float, Between(0.03, 1.0, log=True)] = 0.25  # weight of the pair-wise loss

        def __post_init__(self) -> None:
            for name in ("user_width", "width"):
                if getattr(self, name) < 1:
                    raise SettingError(f"{name}={getattr(self, name)}: must be at least 1")
            for name in ("hidden", "attention"):
                if min(getattr(self, name), default=0) < 1:
                    raise SettingError(f"{name}={getattr(self, name)}: name at least one width, each at least 1")
            if self.alpha < 0:
                raise SettingError(f"alpha={self.alpha}: must be at least 0")
            for name in ("tasks", "parts"):
                if len(set(getattr(self, name))) < len(getattr(self, name)):
                    raise SettingError(f"{name}={getattr(self, name)}: name each once")

    def __init__(self, schema: Schema, settings: Settings) -> None:
        tasks = settings.tasks or schema.labels
        of_item = [f.name for f in schema.fields if f.role == "item" or f.name == schema.item]
        histories = [h for h in schema.histories if h.field in of_item]
        super().__init__(schema, _parts(schema, settings, of_item, [h.name for h in histories], tasks), tasks)
        self.settings, self.first_label, self.user_column = settings, schema.labels[0], schema.user_column
        self.item_columns = [schema.names.index(name) for name in of_item]
        self.histories = [(h.name, of_item.index(h.field)) for h in histories]
        # One table of the larger width serves both; what is not read of a row gets no gradient.
        widest = max(settings.user_width, settings.width)
        self.table = EmbeddingTable(schema.fields, widest)
        self.interests = nn.ModuleList(TargetAttention(settings.width, settings.attention) for _ in histories)
        inputs = settings.user_width + (len(of_item) + len(histories)) * settings.width
        self.towers = nn.ModuleList(_tower([inputs, *settings.hidden]) for _ in tasks)
        self.heads = nn.ModuleList(nn.Linear(settings.hidden[-1], 1) for _ in tasks)

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def compression_only(self) -> list[nn.Module]:
        """The logits' layers, the MLPs of tasks whose K_ui is not plugged in, and, without any, the attention."""
        names = [part.name for part in self.parts]
        told = [INTERACTION + task in names for task in self.labels]
        unused = [tower for tower, needed in zip(self.towers, told, strict=True) if not needed]
        return [self.heads, *unused, *([] if any(told) else [self.interests])]

    def _embedded(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """K_u, [B, U], and K_i, [B, I, D]."""
        rows_BFX = self.table(batch)
        return (
            rows_BFX[:, self.user_column, : self.settings.user_width],
            rows_BFX[:, self.item_columns, : self.settings.width],
        )

    def _inputs(self, batch: Batch, user_BU: Tensor, item_BID: Tensor) -> Tensor:
        """What all tasks' MLPs read, [B, X]."""
        inputs, width = [user_BU, item_BID.flatten(1)], self.settings.width
        for interest, (name, place) in zip(self.interests, self.histories, strict=True):
            past = read_past(self.table, batch.histories[name], self.item_columns[place], item_BID[:, place])
            inputs.append(interest(replace(past, behaviours_BHD=past.behaviours_BHD[..., :width]))[0])
        return torch.cat(inputs, dim=1)

    def _knowledge(self, batch: Batch) -> Knowledge:
        user_BU, item_BID = self._embedded(batch)
        known = {"user": user_BU.unsqueeze(1), "item": item_BID}
        names = [part.name for part in self.parts]
        if any(name not in known for name in names):
            inputs_BX = self._inputs(batch, user_BU, item_BID)
            for task, tower in zip(self.labels, self.towers, strict=True):
                if INTERACTION + task in names:
                    known[INTERACTION + task] = tower(inputs_BX).unsqueeze(1)
        return {name: known[name] for name in names}

    def _told(self, batch: Batch) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
        """Give each task with its logits, labels and users, [C] each: all rows, or those that have the first label."""
        inputs_BX, user_B = self._inputs(batch, *self._embedded(batch)), batch.ids_BF[:, self.user_column]
        for task, tower, head in zip(self.labels, self.towers, self.heads, strict=True):
            if task == self.first_label:
                yield task, head(tower(inputs_BX)).squeeze(1), batch.label, user_B
            else:
                has = batch.label > 0
                yield task, head(tower(inputs_BX[has])).squeeze(1), batch.further_labels[task][has], user_B[has]

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Eq. 3 over all tasks, and both parts of each."""
        losses: dict[str, Tensor] = {}
        for task, logit_C, label_C, user_C in self._told(batch):
            point = functional.binary_cross_entropy_with_logits(logit_C, label_C, reduction="sum")
            losses[f"point_{task}"] = point / len(batch)
            losses[f"pair_{task}"] = pairwise_loss(logit_C, user_C, label_C) / len(batch)
        weighted = [loss * (self.settings.alpha if name.startswith("pair_") else 1) for name, loss in losses.items()]
        return {"total": torch.stack(weighted).sum(), **losses}

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Each task's cross entropy over that of its mean rate: 1 says that nothing is told.

        `entropy_<task>`, of the rows that it is trained on; missing where all of these have one label.
        """
        figures = {}
        with evaluating(self):
            for task, logit_C, label_C, _ in self._told(batch):
                if 0 < (rate := float(label_C.mean())) < 1:
                    least = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
                    figures[f"entropy_{task}"] = (
                        float(functional.binary_cross_entropy_with_logits(logit_C, label_C)) / least
                    )
        return figures


def _tower(widths: Sequence[int]) -> nn.Sequential:
    """Dense layers, of which the last one's output is K_ui; [C, X] -> [C, H]."""
    return nn.Sequential(*(dense(width, following) for width, following in pairwise(widths)))


def _parts(
    schema: Schema, settings: KEEP.Settings, of_item: list[str], histories: list[str], tasks: Sequence[str]
) -> list[Part]:
    """Name the parts that are plugged in, in the order of eq. 4; SettingError for one that there is not."""
    pair = (schema.user, *of_item, *histories)
    there = [
        Part(name="user", vectors=1, width=settings.user_width, fields=(schema.user,)),
        Part(name="item", vectors=len(of_item), width=settings.width, fields=tuple(of_item)),
        *(Part(name=INTERACTION + task, vectors=1, width=settings.hidden[-1], fields=pair) for task in tasks),
    ]
    for name in settings.parts:
        if name not in {part.name for part in there}:
            raise SettingError(
                f"KEEP's parts={list(settings.parts)}: {name} is not one of {', '.join(p.name for p in there)}"
            )
    return [part for part in there if not settings.parts or part.name in settings.parts]

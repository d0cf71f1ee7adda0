"""KEEP: Knowledge Extraction and Plugging for Online Recommendation (Zhang et al., CIKM 2022).

    x = [user, item fields, what DIN reads of the user's histories about the item];   s_t = MLP_t(x) for each task t
    L = sum_t L_t^point + alpha L_t^pair                                                                (eq. 1 to 3)
    K(u, i) = [K_u, K_i, K_ui of each task]                                                                  (eq. 4)

The log's first label is predicted over all rows, every other one over the rows that have the first and tell the other:
conversion and add-to-cart over clicks, of the domains that know of them. K_u is the user's embedding, K_i those of the
item's fields, K_ui the output of a task's last hidden layer. Embeddings are shared by all tasks. Both losses are sums
over a minibatch, divided by its rows. The triplets of eq. 2 are all that a user's rows in the minibatch make, so of a
user with many rows there they weigh more, and with several ranks they are those within each rank's share. Eq. 5 is the
plug `hidden`.

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
from typing import Annotated, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.keep.approximate import (
    CATEGORY,
    ITEM,
    PRODUCT,
    USER,
    Approximation,
    Decomposed,
    Degenerate,
    Read,
    Shapes,
    tower,
)
from pkb.keep.pairs import pairwise_loss
from pkb.knowledge import Knowledge, KnowledgeBase, Part, evaluating
from pkb.sequence import TargetAttention, read_past
from pkb.space import Between

INTERACTION = "interaction_"  # begins the name of a task's K_ui
LABELS, DISTILLING = "labels", "distilling"
FORMS: dict[str, tuple[type[Approximation], ...]] = {
    "exact": (),
    "decomposed": (Decomposed,),
    "degenerate": (Degenerate,),
    "decomposed+degenerate": (Decomposed, Degenerate),
}


class KEEP(KnowledgeBase):
    """A multi-task DIN over few features, whose embeddings and last hidden layers are the knowledge."""

    uses_histories: ClassVar[bool] = True

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        """The paper's own sizes (section 6.2); "ours" has no source."""

        tasks: tuple[str, ...] = ()  # labels that are predicted; all of the log's if none is named (table 4)
        parts: tuple[str, ...] = ()  # those to plug in, of the form's; all if none is named (table 3)
        form: str = "exact"  # exact, or what a cache can hold: decomposed, degenerate, decomposed+degenerate (table 8)
        learned_by: str = LABELS  # how what stands for K_ui is learned; or by distilling
        category: str = ""  # field that degeneration puts in the place of all of the item's: its one further field
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
            for name, choices in (("form", tuple(FORMS)), ("learned_by", (LABELS, DISTILLING))):
                if getattr(self, name) not in choices:
                    raise SettingError(f"{name}={getattr(self, name)}: is not one of {', '.join(choices)}")
            if self.alpha < 0:
                raise SettingError(f"alpha={self.alpha}: must be at least 0")
            for name in ("tasks", "parts"):
                if len(set(getattr(self, name))) < len(getattr(self, name)):
                    raise SettingError(f"{name}={getattr(self, name)}: name each once")

    def __init__(self, schema: Schema, settings: Settings) -> None:
        tasks = settings.tasks or schema.labels
        of_item = schema.of_item
        histories = [h for h in schema.histories if h.field in of_item]
        category = of_item.index(_category(schema, settings, of_item)) if Degenerate in FORMS[settings.form] else 0
        of_user = (schema.user, *(h.name for h in histories))
        super().__init__(schema, _parts(settings, of_user, of_item, of_item[category], tasks), tasks)
        self.settings, self.first_label, self.user_column = settings, schema.labels[0], schema.user_column
        self.item_columns = [schema.names.index(name) for name in of_item]
        self.histories = [(h.name, of_item.index(h.field)) for h in histories]
        # One table of the larger width serves both; what is not read of a row gets no gradient.
        widest = max(settings.user_width, settings.width)
        self.table = EmbeddingTable(schema.fields, widest)
        self.interests = nn.ModuleList(TargetAttention(settings.width, settings.attention) for _ in histories)
        inputs = settings.user_width + (len(of_item) + len(histories)) * settings.width
        self.towers = nn.ModuleList(tower([inputs, *settings.hidden]) for _ in tasks)
        self.heads = nn.ModuleList(nn.Linear(settings.hidden[-1], 1) for _ in tasks)
        shapes = Shapes(
            user=settings.user_width,
            other=settings.width,
            items=len(of_item),
            category=category,
            histories=len(histories),
            hidden=settings.hidden,
            attention=settings.attention,
            heads=settings.learned_by == LABELS,
        )
        kinds = FORMS[settings.form]
        self.approximations = nn.ModuleList(kind(shapes, tasks) for kind in kinds)
        if settings.learned_by == DISTILLING:
            self.estimators = tuple(f"distil_{kind.stands}{task}" for kind in kinds for task in tasks)  # type: ignore[misc]

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def compression_only(self) -> list[nn.Module]:
        """The logits' layers, the MLPs of tasks whose K_ui is not plugged in, and, without any, the attention."""
        names = [part.name for part in self.parts]
        told = [INTERACTION + task in names for task in self.labels]
        unused = [tower for tower, needed in zip(self.towers, told, strict=True) if not needed]
        heads = [each.heads for each in self.stand_ins]
        return [self.heads, *heads, *unused, *([] if any(told) else [self.interests])]

    @property
    def stand_ins(self) -> list[Approximation]:
        """What stands for K_ui, of the form's kinds."""
        return cast(list[Approximation], list(self.approximations))

    def _read(self, batch: Batch) -> Read:
        rows_BFX, width = self.table(batch), self.settings.width
        item_BID, pasts = rows_BFX[:, self.item_columns, :width], []
        for name, place in self.histories:
            past = read_past(self.table, batch.histories[name], self.item_columns[place], item_BID[:, place])
            pasts.append(replace(past, behaviours_BHD=past.behaviours_BHD[..., :width]))
        return Read(user_BU=rows_BFX[:, self.user_column, : self.settings.user_width], item_BID=item_BID, pasts=pasts)

    def _inputs(self, read: Read) -> Tensor:
        """What all tasks' MLPs read, [B, X]."""
        interests = (interest(past)[0] for interest, past in zip(self.interests, read.pasts, strict=True))
        return torch.cat([read.user_BU, read.item_BID.flatten(1), *interests], dim=1)

    def score(self, batch: Batch, task: str) -> Tensor:
        """Compute one task's logits, [B]."""
        number = self.labels.index(task)
        logit_B1: Tensor = self.heads[number](self.towers[number](self._inputs(self._read(batch))))
        return logit_B1.squeeze(1)

    def _knowledge(self, batch: Batch) -> Knowledge:
        read = self._read(batch)
        known = {"user": read.user_BU.unsqueeze(1), "item": read.item_BID}
        names = [part.name for part in self.parts]
        if any(name.startswith(INTERACTION) for name in names):
            inputs_BX = self._inputs(read)
            for task, of_task in zip(self.labels, self.towers, strict=True):
                if INTERACTION + task in names:
                    known[INTERACTION + task] = of_task(inputs_BX).unsqueeze(1)
        for approximation in self.stand_ins:
            known |= {name: part_BH.unsqueeze(1) for name, part_BH in approximation(read).items()}
        factors = [name for part in self.parts for name in part.factors or ()]  # which a cache makes products of
        return {name: known[name] for name in dict.fromkeys([*names, *factors])}

    def _told(self, batch: Batch, read: Read) -> Iterator[tuple[str, Tensor, Tensor, Tensor]]:
        """Give each network that learns labels with its logits, labels and users, [C] each.

        All rows, or of further tasks those that have the first label and tell the further one. A network's name is its
        task's, of one that stands for the extractor behind `product_` or `category_`.
        """
        inputs_BX, user_B = self._inputs(read), batch.ids_BF[:, self.user_column]
        learners = [each for each in self.stand_ins if each.heads]
        said = [(each.stands, each.heads, each(read)) for each in learners]
        for number, task in enumerate(self.labels):
            some: Tensor | slice = slice(None)
            label_C = batch.label
            if task != self.first_label:
                label_B = batch.further_labels[task]
                some = (batch.label > 0) & ~label_B.isnan()
                label_C = label_B[some]
            logit_C1 = self.heads[number](self.towers[number](inputs_BX[some]))
            yield task, logit_C1.squeeze(1), label_C, user_B[some]
            for stands, heads, parts in said:
                logit_C1 = heads[number](parts[stands + task][some])
                yield stands + task, logit_C1.squeeze(1), label_C, user_B[some]

    def _distilled(self, read: Read) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Give each network that imitates K_ui with what it says and what it should say, [B, H] both."""
        learners = [each for each in self.stand_ins if not each.heads]
        if learners:
            with torch.no_grad():
                inputs_BX = self._inputs(read)
                wanted = {task: of_task(inputs_BX) for task, of_task in zip(self.labels, self.towers, strict=True)}
            read = read.detached()
            for each in learners:
                parts = each(read)
                for task in self.labels:
                    yield f"{each.stands}{task}", parts[f"{each.stands}{task}"], wanted[task]

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        """Eq. 3 over all tasks and what stands for their K_ui, and both parts of each; or the imitation's losses."""
        losses, read = {}, self._read(batch)
        for name, logit_C, label_C, user_C in self._told(batch, read):
            point = functional.binary_cross_entropy_with_logits(logit_C, label_C, reduction="sum")
            losses[f"point_{name}"] = point / len(batch)
            losses[f"pair_{name}"] = pairwise_loss(logit_C, user_C, label_C) / len(batch)
        for name, said_BH, wanted_BH in self._distilled(read):
            losses[f"distil_{name}"] = (said_BH - wanted_BH).square().sum() / len(batch)
        weighted = [loss * (self.settings.alpha if name.startswith("pair_") else 1) for name, loss in losses.items()]
        return {"total": torch.stack(weighted).sum(), **losses}

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """How well labels are told, and K_ui imitated: 1 says not at all, 0 perfectly.

        `entropy_<network>`: the cross entropy over that of the mean rate, of the rows that are learned; missing where
        all of these have one label. `unlike_<network>`: the squared distance to K_ui over its variance.
        """
        figures = {}
        with evaluating(self):
            read = self._read(batch)
            for name, logit_C, label_C, _ in self._told(batch, read):
                if 0 < (rate := float(label_C.mean())) < 1:
                    least = -rate * math.log(rate) - (1 - rate) * math.log(1 - rate)
                    figures[f"entropy_{name}"] = (
                        float(functional.binary_cross_entropy_with_logits(logit_C, label_C)) / least
                    )
            for name, said_BH, wanted_BH in self._distilled(read):
                if varied := float(wanted_BH.var(dim=0, correction=0).sum()):
                    figures[f"unlike_{name}"] = float((said_BH - wanted_BH).square().sum(dim=1).mean()) / varied
        return figures


def _category(schema: Schema, settings: KEEP.Settings, of_item: Sequence[str]) -> str:
    """Name the field that stands for the item; SettingError where it is not told and not plain."""
    further = [name for name in of_item if name != schema.item]
    if settings.category in further or (not settings.category and len(further) == 1):
        return settings.category or further[0]
    told = f"is {settings.category}" if settings.category else "is not named"
    raise SettingError(
        f"KEEP's form={settings.form}: the category {told}, but must be one of the item's further fields: "
        f"{', '.join(further) or 'the log has none'}"
    )


def _parts(
    settings: KEEP.Settings, of_user: Sequence[str], of_item: Sequence[str], category: str, tasks: Sequence[str]
) -> list[Part]:
    """Name the parts that are plugged in, in the order of eq. 4 or 6; SettingError for one that there is not."""
    user, *histories = of_user
    kinds, last = FORMS[settings.form], settings.hidden[-1]

    def of_tasks(begins: str, *fields: str) -> list[Part]:
        return [Part(name=begins + task, vectors=1, width=last, fields=fields) for task in tasks]

    def product(part: Part, task: str) -> Part:
        return replace(part, factors=(USER + task, ITEM + task))

    if Decomposed in kinds:
        there = [
            *of_tasks(USER, *of_user),
            *of_tasks(ITEM, *of_item),
            *map(product, of_tasks(PRODUCT, *of_user, *of_item), tasks),
        ]
    else:
        there = [
            Part(name="user", vectors=1, width=settings.user_width, fields=(user,)),
            Part(name="item", vectors=len(of_item), width=settings.width, fields=tuple(of_item)),
        ]
    if Degenerate in kinds:
        there += of_tasks(CATEGORY, *of_user, category)
    if not kinds:
        there += of_tasks(INTERACTION, user, *of_item, *histories)
    for name in settings.parts:
        if name not in {part.name for part in there}:
            raise SettingError(
                f"KEEP's parts={list(settings.parts)}: {name} is not one of {', '.join(p.name for p in there)}"
            )
    return [part for part in there if not settings.parts or part.name in settings.parts]

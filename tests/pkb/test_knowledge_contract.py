"""Every registered knowledge base passes `check_knowledge_base`, one test a check; and its checks find what is wrong.

`tests/retrieval/models/test_teachers.py` has those that are taught, with every real teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, dropout

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch, Schema
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.knowledge import Knowledge, KnowledgeBase, Part
from pkb.plug import EMPTY, Plugged, Sockets
from pkb.rok import Teacher
from tests.pkb import checks_of_compression as compression
from tests.pkb import checks_of_use as use
from tests.pkb.base_case import SCHEMA, Case
from tests.pkb.check_knowledge_base import CHECKS, NEED_STAGES, cases, check_knowledge_base


class Average(Teacher):
    """Reads the mean of a row's neighbours, each with its label beside its values."""

    retriever: ClassVar[str] = "found"

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 4

    def __init__(self, schema: Schema, settings: Settings, sockets: Sockets = Sockets()) -> None:
        super().__init__(schema, settings, sockets)
        fields = len(schema.fields)
        self.embedding_width = self.hidden_width = settings.width
        self.aggregated_vectors = fields + 1
        self.table = EmbeddingTable(schema.fields, settings.width)
        self.label = nn.Embedding(2, settings.width)
        self.head = nn.Linear((fields + 1) * settings.width, 1)

    def aggregated(self, batch: Batch) -> Tensor:
        near = batch.neighbours.get(self.retriever)
        if near is None:
            return self.table.weight.new_zeros(len(batch), self.aggregated_vectors, self.embedding_width)
        values_BKFD = self.table.look_up(near.ids_BKF)
        read_BKAD = torch.cat([values_BKFD, self.label(near.label_BK.long()).unsqueeze(2)], dim=2)
        number_B = near.present_BK.sum(dim=1).clamp(min=1)
        summed_BAD: Tensor = (read_BKAD * near.present_BK[:, :, None, None]).sum(dim=1)
        return summed_BAD / number_B[:, None, None]

    def forward(self, batch: Batch, plugged: Plugged = EMPTY) -> Tensor:
        own_BFD = self.table(batch)
        logits_B1: Tensor = self.head((self.aggregated(batch) + own_BFD.mean(dim=1, keepdim=True)).flatten(1))
        return logits_B1.squeeze(1)


CHEAP: dict[str, dict[str, Any]] = {
    "edk": {"patterns": 3, "width": 4, "depth": 1, "heads": 2, "hidden": 8},
    "rok": {"hidden": (16,), "projector": 8},
    "bert4rec": {"width": 8, "layers": 1, "passes": 1, "negatives": 16},
    "s3rec": {"width": 8, "layers": 1, "passes": 1, "negatives": 16},
    "keep": {"user_width": 6, "width": 4, "hidden": (16, 8), "attention": (8,)},
}
VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("edk", {"patterns": 1, "width": 4, "depth": 2, "heads": 1, "hidden": 8, "draws": 2}),
    ("rok", CHEAP["rok"] | {"positive": "random", "update": "encoder"}),
    ("rok", CHEAP["rok"] | {"update": "both"}),
    ("keep", CHEAP["keep"] | {"tasks": ("click",), "user_width": 3, "alpha": 0.0}),
    ("keep", CHEAP["keep"] | {"parts": ("item", "user")}),
    ("keep", CHEAP["keep"] | {"parts": ("interaction_cart",)}),
    ("keep", CHEAP["keep"] | {"form": "decomposed+degenerate"}),
    ("keep", CHEAP["keep"] | {"form": "decomposed+degenerate", "learned_by": "distilling"}),
)


def named_cases(name: str, settings: dict[str, Any], label: str = "") -> Iterator[Any]:
    base = KNOWLEDGE_BASES[name]
    for case, check in cases(base, Average if base.taught else None, **settings):
        yield pytest.param(case, check, id=f"{name}{label}-{check.__name__}")


@pytest.mark.parametrize(
    ("case", "check"), [param for name in KNOWLEDGE_BASES for param in named_cases(name, CHEAP.get(name, {}))]
)
def test_every_base(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize(
    ("case", "check"), [p for i, (name, settings) in enumerate(VARIANTS) for p in named_cases(name, settings, str(i))]
)
def test_with_other_settings(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_a_base_without_stages_is_spared_what_needs_them_alone() -> None:
    spared = {name: set(CHECKS) - {check for _, check in cases(b)} for name, b in KNOWLEDGE_BASES.items()}
    assert all(spared[name] == (set() if b.stages else {*NEED_STAGES}) for name, b in KNOWLEDGE_BASES.items())
    assert spared["novelty"]


class Sound(KnowledgeBase):
    """A vector of each value, learnt by telling clicks; those below have one fault each."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        width: int = 3

    def __init__(self, schema: Schema, settings: Settings, labels: Sequence[str] = ()) -> None:
        fields = len(schema.fields)
        part = Part(name="values", vectors=fields, width=settings.width, fields=schema.names, of_fields=True)
        super().__init__(schema, [part], labels)
        self.table = EmbeddingTable(schema.fields, settings.width)
        self.head = nn.Linear(fields * settings.width, 1)

    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        logits_B = self.head(self.table(batch).flatten(1)).squeeze(1)
        return {"total": binary_cross_entropy_with_logits(logits_B, batch.label)}

    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch)}


class DropsOut(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": dropout(self.table(batch))}


class HasModes(Sound):
    def knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch).detach() * (2 if self.training else 1)}


class LearnsOnTheSly(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        self.head.weight.data += 1
        return super()._knowledge(batch)


class Peeks(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch) + batch.label[:, None, None]}


class NamesTooFewFields(Sound):
    def __init__(self, schema: Schema, settings: Any) -> None:
        super().__init__(schema, settings)
        [part] = self.parts
        self.parts = (Part(name="values", vectors=part.vectors, width=part.width, fields=(schema.user,)),)


class LooksAround(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        vectors_BFd: Tensor = self.table(batch)
        return {"values": vectors_BFd - vectors_BFd.mean(dim=0)}


class ComesInOrder(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch) + torch.arange(len(batch))[:, None, None]}


class ReadsIds(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch) + batch.ids_BF.unsqueeze(2) % 7}


class KeepsToItself(Sound):
    """What it learned stands where no checkpoint sees it."""

    seen = 0

    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        self.seen += 1
        return super().compression_losses(batch, stage)

    def _knowledge(self, batch: Batch) -> Knowledge:
        return {"values": self.table(batch) * (1 + self.seen)}

    def standardise(self, batch: Batch) -> None:
        """Leaves it in its own units."""


class RollsDice(Sound):
    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        total = super().compression_losses(batch, stage)["total"]
        return {"total": total * (1 + torch.rand((), generator=torch.Generator().manual_seed(_another())))}


def _another(drawn: list[int] = []) -> int:  # noqa: B006  one list for all calls, on purpose
    drawn.append(0)
    return len(drawn)


class NeverGrows(Sound):
    def grow(self, size: int, generator: torch.Generator) -> None:
        if not self.table.size:
            self.table.grow(size, generator)


class GrowsAfresh(Sound):
    def grow(self, size: int, generator: torch.Generator) -> None:
        self.table.grow(size, generator)
        self.table.weight.data[: self.table.size] = torch.randn(self.table.size, self.table.width, generator=generator)


class LearnsNothing(Sound):
    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        return {"total": 0 * super().compression_losses(batch, stage)["total"]}


class LeavesOneOut(Sound):
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": [self.head.weight], "lr": learning_rate}]


class TakesTheTable(Sound):
    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr": learning_rate}]


class ReadsAnotherLabel(Sound):
    def compression_losses(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        total = super().compression_losses(batch, stage)["total"]
        return {"total": total + batch.further_labels["cart"].mean() if batch.further_labels else total}


class LearnsLabelsUnasked(Sound):
    learns_labels = False


class SearchesInSecret(Sound):
    taught = True
    retriever = "found"

    def __init__(self, schema: Schema, settings: Any, teacher: Teacher) -> None:
        super().__init__(schema, settings)

    def _knowledge(self, batch: Batch) -> Knowledge:
        near = batch.neighbours.get("found")
        found_B = 0 if near is None else near.present_BK.sum(dim=1)[:, None, None]
        return {"values": self.table(batch) + found_B}


class ReadsHistoriesUnasked(Sound):
    def _knowledge(self, batch: Batch) -> Knowledge:
        length_B = sum((ids > 0).sum(dim=1) for ids in batch.histories.values())
        return {"values": self.table(batch) + torch.as_tensor(length_B).view(-1, 1, 1)}


class WantsAnotherLabel(Sound):
    def __init__(self, schema: Schema, settings: Any) -> None:
        super().__init__(schema, settings, labels=("cart", "click"))


def test_a_sound_base_passes() -> None:
    check_knowledge_base(Sound)


@pytest.mark.parametrize(
    ("base", "check"),
    [
        (DropsOut, use.it_is_frozen_while_it_is_used),
        (HasModes, use.it_is_frozen_while_it_is_used),
        (LearnsOnTheSly, use.it_is_frozen_while_it_is_used),
        (Peeks, use.a_part_depends_on_its_fields_alone),
        (NamesTooFewFields, use.a_part_depends_on_its_fields_alone),
        (LooksAround, use.the_rows_beside_one_do_not_matter),
        (ComesInOrder, use.rows_may_come_in_any_order),
        (ReadsIds, use.all_new_values_of_a_field_are_alike),
        (ReadsIds, compression.values_long_unseen_give_up_their_rows),
        (KeepsToItself, compression.what_was_saved_knows_the_same),
        (RollsDice, compression.the_seed_decides_every_draw),
        (NeverGrows, compression.values_that_came_get_rows_of_their_own),
        (GrowsAfresh, compression.growing_leaves_known_ids_alone),
        (LearnsNothing, compression.compression_lowers_the_loss_of_each_stage),
        (LearnsNothing, compression.a_compressed_base_knows_other_things_than_an_untrained_one),
        (LeavesOneOut, compression.every_dense_parameter_is_in_one_group_and_no_table_in_any),
        (TakesTheTable, compression.every_dense_parameter_is_in_one_group_and_no_table_in_any),
        (LearnsLabelsUnasked, compression.labels_count_if_and_only_if_it_says_so),
        (ReadsAnotherLabel, compression.labels_that_it_does_not_learn_leave_its_losses_alone),
        (ReadsHistoriesUnasked, use.histories_are_read_only_if_it_says_so),
        (SearchesInSecret, use.neighbours_count_if_and_only_if_it_searches),
    ],
)
def test_a_fault_is_found_by_the_check_that_is_for_it(base: type[KnowledgeBase], check: Callable[[Case], None]) -> None:
    with pytest.raises(AssertionError):
        check(Case(base=base, teacher=Average if base.taught else None))


def test_a_base_that_learns_a_label_which_the_log_lacks_says_so_in_one_line() -> None:
    case = Case(base=WantsAnotherLabel)
    compression.a_label_that_the_log_lacks_is_named(case)
    with pytest.raises(SettingError, match=r"^WantsAnotherLabel learns the label cart, but the log has click alone$"):
        case.make(schema=SCHEMA.__class__(fields=SCHEMA.fields, user=SCHEMA.user, item=SCHEMA.item))

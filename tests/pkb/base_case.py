"""A knowledge base to be checked, the rows that it compresses and is asked about, and how its answers are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from pkb.batch import MISSING, Batch, Schema
from pkb.knowledge import Knowledge, KnowledgeBase
from pkb.parameters import tables_of
from pkb.rok import Teacher
from pkb.step import Optimiser
from tests.pkb.backbones import check_backbone
from tests.pkb.backbones.check_backbone import IDS
from tests.pkb.neighbours import make_neighbours

SCHEMA = replace(check_backbone.SCHEMA, labels=("click", "cart"))
UNSEEN = 100 * IDS  # ids from here on are never given a row


@dataclass(frozen=True, kw_only=True)
class Case:
    """A base, and who teaches it; settings that are not named keep their defaults."""

    base: type[KnowledgeBase]
    settings: Mapping[str, Any] = field(default_factory=dict)
    teacher: type[Teacher] | None = None
    teaching: Mapping[str, Any] = field(default_factory=dict)  # settings of the teacher

    def make(self, *, seed: int = 0, schema: Schema = SCHEMA) -> KnowledgeBase:
        """Make a new base, which knows the ids below `IDS`."""
        torch.manual_seed(seed)
        cls: Any = self.base
        taught_by = [] if self.teacher is None else [self.teacher(schema, self.teacher.Settings(**self.teaching))]
        base: KnowledgeBase = cls(schema, cls.Settings(**self.settings), *taught_by)
        base.grow(IDS, torch.Generator().manual_seed(seed))
        return base

    def make_compressed(self, *, seed: int = 0) -> KnowledgeBase:
        """Make one that holds some rows, with its knowledge on the common scale."""
        base = self.make(seed=seed)
        compress(base, self.rows)
        base.standardise(self.queries)
        return base

    @property
    def rows(self) -> Batch:
        """Old rows, all of whose values the base has rows for."""
        return self.met(check_backbone.make_rows(64, schema=SCHEMA))

    @property
    def queries(self) -> Batch:
        """Rows to be told about: in every third one a value is new."""
        rows = check_backbone.make_rows(48, seed=1, schema=SCHEMA)
        some = torch.arange(0, len(rows), 3)
        rows.ids_BF[some, some % len(SCHEMA.fields)] = UNSEEN
        return self.met(rows)

    def met(self, rows: Batch) -> Batch:
        """Give rows a second label, and the neighbours that the base's teacher reads."""
        rows = replace(rows, further_labels={"cart": rows.label * (rows.row_id % 2)})
        if self.teacher is None or self.teacher.retriever is None:
            return rows
        return replace(rows, neighbours={self.teacher.retriever: make_neighbours(rows)})


def compress(base: KnowledgeBase, rows: Batch, *, steps: int = 5, stages: Sequence[str] | None = None) -> None:
    """Take the steps that the simulator takes; a base without stages has nothing to learn."""
    torch.manual_seed(3)
    optimiser = Optimiser(base, base.parameter_groups(3e-3), embedding_learning_rate=0.1)
    base.train()
    for stage in base.stages if stages is None else stages:
        for _ in range(steps):
            optimiser.step(base.compression_losses(rows, stage)["total"], len(rows))
    base.eval()


def losses_of(base: KnowledgeBase, rows: Batch, stage: str) -> dict[str, Tensor]:
    """Compute those of a stage without noise; what is drawn all the same is drawn alike."""
    torch.manual_seed(4)
    with torch.no_grad():
        return base.eval().compression_losses(rows, stage)


def dense_state(base: KnowledgeBase) -> dict[str, Tensor]:
    inside = tuple(f"{name}." for name in tables_of(base))
    return {name: v for name, v in base.state_dict().items() if not (inside and name.startswith(inside))}


def table_state(base: KnowledgeBase) -> dict[str, dict[str, Tensor]]:
    return {name: table.rows_in_use() for name, table in tables_of(base).items()}


def of_rows(known: Knowledge, rows: Tensor | slice) -> Knowledge:
    return {name: part[rows] for name, part in known.items()}


def assert_alike(known: Knowledge, other: Knowledge) -> None:
    assert known.keys() == other.keys()
    for name, part in known.items():  # standardised: in units of what varies
        assert torch.allclose(part, other[name], atol=1e-4, rtol=1e-4), f"{name} differs"


def assert_other(known: Knowledge, other: Knowledge) -> None:
    assert any(not torch.isclose(part, other[name]).all() for name, part in known.items()), "knowledge is the same"


def same_bits(one: Tensor, other: Tensor) -> bool:
    return one.numpy().tobytes() == other.numpy().tobytes()


def with_others(rows: Batch, by: int) -> Batch:
    """Replace every value of rows, histories and neighbours by another one of its own."""

    def other(ids: Tensor) -> Tensor:
        return torch.where(ids == MISSING, ids, ids + by)

    return replace(
        rows,
        ids_BF=other(rows.ids_BF),
        histories={name: other(ids) for name, ids in rows.histories.items()},
        neighbours={name: replace(near, ids_BKF=other(near.ids_BKF)) for name, near in rows.neighbours.items()},
    )

"""Where a model's knowledge comes from: a source answers for a base."""

from __future__ import annotations

from typing import Protocol

from pkb.batch import Batch
from pkb.knowledge import Knowledge, KnowledgeBase, Part


class Source(Protocol):
    """Answers, for each impression, what a base knows of it.

    `Live` asks the base itself. Another source may have its answers from elsewhere, as long as they are dated.
    """

    @property
    def parts(self) -> tuple[Part, ...]:
        """What it can answer."""

    @property
    def built_until(self) -> int | None:
        """The time until which the knowledge has looked, seconds; None before there is any."""

    def knowledge(self, batch: Batch) -> Knowledge | None:
        """Answer for each row, without a gradient; None before there is any knowledge."""

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge | None:
        """Answer with a gradient to what learns on with the backbone, if anything does."""


class Live:
    """Asks the base itself, from its first compression on."""

    def __init__(self, base: KnowledgeBase) -> None:
        self.base = base
        self.compressed_through = -1  # number of the latest period in it
        self.built_until: int | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.base.parts

    def knowledge(self, batch: Batch) -> Knowledge | None:
        return self.base.knowledge(batch) if self.compressed_through >= 0 else None

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge | None:
        return self.base.knowledge_with_gradient(batch) if self.compressed_through >= 0 else None

    def compressed(self, period: int, until: int) -> None:
        """Take note that the base holds this period, whose rows and labels end at `until`."""
        self.compressed_through = period
        self.learned(until)

    def learned(self, until: int) -> None:
        """Take note that parts of the base have learned on with the backbone, until this time."""
        self.built_until = until if self.built_until is None else max(until, self.built_until)

    def resume(self, compressed_through: int, built_until: int | None) -> None:
        """Go on where the stored base was."""
        self.compressed_through, self.built_until = compressed_through, built_until

"""What was built from a log, with the time until which it looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from pkb.errors import FutureError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Dated(Generic[T]):
    """A vocabulary, a statistic, an index, a knowledge base or a model, built from rows before `built_until`."""

    what: str  # for the message: "the model of finetune-0"
    value: T
    built_until: int | None  # seconds; None if it was built from nothing

    def at(self, time: int) -> T:
        """The artefact, for use at `time`; FutureError if it knows what comes later."""
        if self.built_until is not None and self.built_until > time:
            raise FutureError(self.what, self.built_until, time)
        return self.value

"""What every update policy offers: it says what a contender learns at the end of a period.

A policy never trains anything. It returns a lesson -- rows, an addition to the loss, whether to start afresh -- and
hears when the lesson is over. It is written once for all backbones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor

from pkb.backbones.base import ClickModel
from pkb.batch import Batch
from pkb.step import Addition

Rows = Callable[[range], Batch]  # what may be learned of the labels that arrived in these periods


class Learner(Protocol):
    """What a policy may see of who learns."""

    @property
    def model(self) -> ClickModel: ...

    @property
    def trained_through(self) -> int:
        """Number of the last period learned; -1 before any."""

    def place(self, batch: Batch) -> Batch:
        """Move the rows to where the model is."""

    def logits(self, batch: Batch, model: ClickModel | None = None) -> Tensor:
        """Score rows, [B], by its model or by another one of the same kind."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What is learned at the end of one period."""

    rows: Batch
    addition: Addition | None = None  # to the loss of each minibatch
    afresh: bool = False  # whether the model forgets all it has learned before


class Policy(ABC):
    """One policy of one contender; what it keeps between periods goes into the checkpoint."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default
    adds_to_loss: ClassVar[bool] = False  # whether its lessons need a model that takes optimiser steps
    holds_rows_by_place: ClassVar[bool] = False  # whether it needs table rows that never change their owner
    goes_on: ClassVar[bool] = True  # whether each lesson goes on from the model that the one before has left

    def __init__(self, settings: Any, seed: int) -> None:
        self.settings, self.seed = settings, seed

    @abstractmethod
    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson | None:
        """Say what to learn at the end of the window's last period; None is nothing."""

    def finish(self, learner: Learner, lesson: Lesson, window: range) -> None:  # noqa: B027  most keep nothing
        """Take note of what was learned, once it was."""

    def forget_model(self) -> None:  # noqa: B027  most keep nothing
        """Forget what is kept of the model, which starts afresh; rows that are kept stay."""

    def state(self) -> dict[str, Tensor]:
        """Give what must outlive the period, to the last bit."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take back what `state` gave; called if there is any."""
        assert not state, f"{type(self).__name__} keeps nothing"

    def bytes_beside(self, model: int) -> int:
        """Bound what `nbytes` will come to beside a model of `model` bytes."""
        return 0

    def nbytes(self) -> int:
        """Count the bytes of what the policy keeps beside the model."""
        return sum(t.numel() * t.element_size() for t in self.state().values())


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """Nothing to set."""

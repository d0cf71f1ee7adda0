"""What every update policy offers.

A policy sees periods and an arm's model, and is written once for all backbones. `rows(periods)` gives what may be
learned of the labels that arrived in these periods: no holdout rows, and nothing from beyond the period at hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from pkb.batch import Batch

if TYPE_CHECKING:
    from simulator.arms import Contender, Fit

Rows = Callable[[range], Batch]


class Policy(ABC):
    """One policy of one contender; what it keeps between periods goes into the checkpoint."""

    Settings: ClassVar[type[Any]]  # a frozen dataclass, every field with a default

    def __init__(self, settings: Any, seed: int) -> None:
        self.settings, self.seed = settings, seed

    @abstractmethod
    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        """Meet period number `period`; `window` is what a lesson spans, and ends with it."""

    def state(self) -> dict[str, Tensor]:
        """What must outlive the period, to the last bit."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`; called if there is any."""
        assert not state, f"{type(self).__name__} keeps nothing"

    def beside(self, model: int) -> int:
        """Bytes that `nbytes` will come to beside a model of `model` bytes; an upper bound."""
        return 0

    def nbytes(self) -> int:
        """Bytes of what the policy keeps beside the model."""
        return sum(t.numel() * t.element_size() for t in self.state().values())


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """No settings."""

"""Policies that only choose which rows to learn, and whether from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pkb.errors import SettingError
from simulator.policies.base import Nothing, Policy, Rows

if TYPE_CHECKING:
    from simulator.arms import Contender, Fit


class Frozen(Policy):
    """Takes the first lessons, then none."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        after: int = 1  # lessons that it takes

        def __post_init__(self) -> None:
            if self.after < 1:
                raise SettingError(f"policies.frozen.after={self.after}: must be at least 1")

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        if arm.trained_through < self.settings.after - 1:
            fit(rows(window))


class FineTune(Policy):
    """Goes on from the present weights with the rows of the window."""

    Settings = Nothing

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        fit(rows(window))


class RetrainWindow(Policy):
    """Starts afresh every period, on the rows of the latest ones."""

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        periods: int = 3

        def __post_init__(self) -> None:
            if self.periods < 1:
                raise SettingError(f"policies.retrain_window.periods={self.periods}: must be at least 1")

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        arm.start_afresh()
        fit(rows(range(max(0, period + 1 - self.settings.periods), period + 1)))


class RetrainAll(Policy):
    """Starts afresh every period, on all rows so far."""

    Settings = Nothing

    def learn(self, arm: Contender, period: int, window: range, rows: Rows, fit: Fit) -> None:
        arm.start_afresh()
        fit(rows(range(period + 1)))

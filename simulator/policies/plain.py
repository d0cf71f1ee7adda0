"""Policies that only choose which rows to learn, and whether from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pkb.errors import SettingError
from simulator.policies.base import Learner, Lesson, NoSettings, Policy, Rows


class Frozen(Policy):
    """Takes the first lessons, then none."""

    goes_on: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        after: int = 1  # lessons that it takes

        def __post_init__(self) -> None:
            if self.after < 1:
                raise SettingError(f"after={self.after}: must be at least 1")

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson | None:
        return Lesson(rows=rows(window)) if learner.trained_through < self.settings.after - 1 else None


class FineTune(Policy):
    """Goes on from the present weights with the rows of the window."""

    Settings = NoSettings

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson | None:
        return Lesson(rows=rows(window))


class RetrainWindow(Policy):
    """Starts afresh every period, on the rows of the latest ones."""

    goes_on: ClassVar[bool] = False

    @dataclass(frozen=True, kw_only=True)
    class Settings:
        periods: int = 3

        def __post_init__(self) -> None:
            if self.periods < 1:
                raise SettingError(f"periods={self.periods}: must be at least 1")

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson | None:
        return Lesson(rows=rows(range(max(0, window.stop - self.settings.periods), window.stop)), afresh=True)


class RetrainAll(Policy):
    """Starts afresh every period, on all rows so far."""

    Settings = NoSettings
    goes_on: ClassVar[bool] = False

    def lesson(self, learner: Learner, window: range, rows: Rows) -> Lesson | None:
        return Lesson(rows=rows(range(window.stop)), afresh=True)

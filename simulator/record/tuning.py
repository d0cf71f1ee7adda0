"""What every arm of a run was tuned to (`tuning.json`): each trial, as it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json

Values = dict[str, Any]  # settings by name, `train.learning_rate`: sections are those of a recipe


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One arm with some settings, played over the first periods; number 0 has the settings as they were given."""

    arm: str
    number: int
    values: Values  # of every setting that was tuned
    auc: float | None  # mean over the periods after the first, each predicted before it was learned
    reason: str | None  # why there is no such mean
    seconds: float  # on the wall


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """All trials that have ended."""

    periods: int  # first ones, played in every trial
    trials: int  # of every arm that has a setting to tune
    ended: list[Trial]

    def of(self, arm: str) -> list[Trial]:
        """Give an arm's trials in their order."""
        return sorted((trial for trial in self.ended if trial.arm == arm), key=lambda trial: trial.number)

    def chosen(self, arm: str) -> Trial:
        """Find an arm's trial with the highest AUC: the earliest of equal ones, the first if there is no AUC."""
        return max(self.of(arm), key=lambda trial: -1.0 if trial.auc is None else trial.auc)


def untuned(arm: str) -> str:
    """Name an arm as it is played a second time, with its settings as they were given."""
    return f"{arm}_default"


def write_tuning(run: RunFolder, tuning: Tuning) -> None:
    """Write `tuning.json`."""
    write_json(run.tuning, tuning)


def read_tuning(run: RunFolder) -> Tuning | None:
    """Read `tuning.json`; None where the run was not tuned."""
    return read_typed(run.tuning, Tuning) if run.tuning.exists() else None

"""What is measured, and how sure one wants to be."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.config.checks import at_least


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    holdout_periods: int = 0  # measure R on the latest N holdouts only; 0 is all
    bootstrap: int = 200  # resamples of users behind an interval
    predict_batch_size: int = 8192

    def __post_init__(self) -> None:
        at_least(self, "holdout_periods", 0)
        at_least(self, "bootstrap", 0)
        at_least(self, "predict_batch_size", 1)

"""What is measured, and how sure one wants to be."""

from __future__ import annotations

from dataclasses import dataclass

from pkb.errors import SettingError
from simulator.config.checks import at_least
from simulator.config.durations import seconds_of


@dataclass(frozen=True, kw_only=True)
class MeasureSettings:
    holdout_periods: int = 0  # measure R on the latest N holdouts only; 0 is all
    bootstrap: int = 200  # resamples of users behind an interval
    # 30m, 6h, ...: a period's model goes into service so long after the period's end, and until then the one before it
    # answers; what that costs is measured. 0m: nothing is
    staleness: str = "0m"
    predict_batch_size: int = 8192

    def __post_init__(self) -> None:
        at_least(self, "holdout_periods", 0)
        at_least(self, "bootstrap", 0)
        at_least(self, "predict_batch_size", 1)
        if seconds_of(self.staleness) is None:
            raise SettingError(f"staleness={self.staleness}: write a number and m, h or d, such as 6h")

    @property
    def staleness_seconds(self) -> int:
        return seconds_of(self.staleness) or 0

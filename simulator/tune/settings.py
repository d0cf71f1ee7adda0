"""Equal tuning: how many trials every arm gets, and on how many periods."""

from __future__ import annotations

from dataclasses import dataclass

from pkb.errors import SettingError
from simulator.config.checks import at_least


@dataclass(frozen=True, kw_only=True)
class TuneSettings:
    periods: int = 0  # first ones of the stream, which every arm is tuned on and no mean is over; 0: no tuning
    trials: int = 16  # of every arm, the first with its settings as they are
    against_default: bool = False  # play every arm once more as its settings are, to see what tuning is worth

    def __post_init__(self) -> None:
        if self.periods < 0 or self.periods == 1:
            raise SettingError(
                f"periods={self.periods}: must be 0 (no tuning), or at least 2: the first is predicted untrained"
            )
        at_least(self, "trials", 1)
        if self.against_default and not self.periods:
            raise SettingError("against_default=True: there is no tuning; set periods, too")

    def check_leaves_some(self, of: int) -> None:
        """Raise SettingError where of so many periods none would be left to report on."""
        if self.periods >= of:
            raise SettingError(f"tune.periods={self.periods}: must be below {of}, the number of the log's periods")

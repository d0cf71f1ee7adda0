"""Which log a run replays (`log.json`), so that it never goes on with another one.

A period of a log is told by a hash of its rows. A log whose first periods are those that the run knows has only grown
at its end, and the run goes on with what is new.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pkb.errors import RunError
from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class ReplayedPeriod:
    """What tells a period from one of another log."""

    start: int  # seconds
    end: int
    rows: int
    digest: str  # of its rows


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """One log."""

    name: str
    fingerprint: str  # of the raw files and the settings that shaped it
    rows: int
    periods: list[ReplayedPeriod]

    def __str__(self) -> str:
        return f"{self.name}-{self.fingerprint[:8]} ({self.rows:,} rows in {len(self.periods)} periods)"


def hold_to(run: RunFolder, log: Replayed, tell: Callable[[str], None]) -> None:
    """Note the log of a run, or make sure that it is the one noted or has only grown; RunError names both."""
    noted = read_typed(run.replayed, Replayed) if run.replayed.exists() else None
    if noted is None and run.begun():
        raise RunError(f"{run}: does not say which log it replayed; {_remedy(log)}")
    if noted is not None and (differing := _first_difference(noted, log)) is not None:
        raise RunError(f"{run}: replayed {noted}, and this is {log}: {differing}; {_remedy(log)}")
    if noted is not None and (more := len(log.periods) - len(noted.periods)):
        tell(f"{run}: the log has grown at its end by {more} period{'s' if more > 1 else ''}; the run goes on with it")
    if noted != log:
        write_json(run.replayed, log)


def _first_difference(noted: Replayed, log: Replayed) -> str | None:
    """Say how a log is no continuation of the one that was noted; None if it is."""
    for number, period in enumerate(noted.periods):
        if number == len(log.periods):
            return f"period {number} is gone"
        if log.periods[number] != period:
            return f"period {number} has other rows"
    return None


def _remedy(log: Replayed) -> str:
    return f"choose another name=..., or delete the run's folder to start over with {log.name}"

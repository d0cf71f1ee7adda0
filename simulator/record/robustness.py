"""Which findings of a run keep their sign in other runs of the same arms (`robustness.json`, in the first run)."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class Seen:
    """The mean prequential AUC of an arm minus that of its baseline, in one run."""

    difference: float | None  # None where one of the two has no mean there
    low: float | None  # of the 95 % interval
    high: float | None
    beyond_chance: bool

    @property
    def sign(self) -> int | None:
        return None if self.difference is None else (self.difference > 0) - (self.difference < 0)


@dataclass(frozen=True, kw_only=True)
class Steadiness:
    """One finding: what an arm differs by from its baseline, in every run, the first one first."""

    arm: str
    baseline: str
    seen: list[Seen]

    @property
    def turned(self) -> list[int]:
        """Number the runs in which the sign is another one, or there is none."""
        return [place for place, seen in enumerate(self.seen) if seen.sign != self.seen[0].sign]


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """All findings of the first run."""

    runs: list[str]
    differing: list[str]  # by run, what its settings are that the first run's are not, as one would type it
    findings: list[Steadiness]


def write_robustness(run: RunFolder, robustness: Robustness) -> None:
    """Write `robustness.json`."""
    write_json(run.robustness, robustness)


def read_robustness(run: RunFolder) -> Robustness | None:
    """Read `robustness.json`; None where the run was not compared so."""
    return read_typed(run.robustness, Robustness) if run.robustness.exists() else None

"""What a period was and what it cost each arm (`costs/period-00003.json`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.record.experiment import ArmAndSeed
from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class StageCosts:
    """What one stage cost: predict, retrieve, compress, learn, measure."""

    seconds: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class DenseBuild:
    """One period's part of an arm's own index."""

    start: int  # seconds; the rows of [start, end)
    end: int
    rows: int
    kind: str
    reason: str  # for the kind
    recall: float | None
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ArmCosts:
    """What one arm with one seed cost; bytes are as of the period's end."""

    arm: str
    seed: int
    stopped: str | None  # why it takes no further part
    reads: list[str]  # the retrievers whose neighbours its predictions read
    stages: dict[str, StageCosts] = field(default_factory=dict)  # of those that happened
    knowledge_bytes: int
    memory_bytes: dict[str, int]  # by part
    checkpoint_bytes: int
    dense_builds: list[DenseBuild]
    notes: dict[str, float]  # figures about its knowledge base

    @property
    def who(self) -> ArmAndSeed:
        return self.arm, self.seed


@dataclass(frozen=True, kw_only=True)
class PeriodCosts:
    """What one period was, and what it cost each arm."""

    period: int
    commit: str | None  # of the code that played it
    start: int  # seconds
    end: int
    rows: int
    positives: int
    new_user_share: float
    new_item_share: float
    gap_seconds: float  # waited for the rows
    wall_seconds: float
    arms: list[ArmCosts]


def write_costs(run: RunFolder, costs: PeriodCosts) -> None:
    """Write what a period cost."""
    file = run.costs(costs.period)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, costs)


def read_costs(run: RunFolder) -> list[PeriodCosts]:
    """Read what each committed period cost, in time order."""
    return [read_typed(file, PeriodCosts) for file in run.periods("costs")]


def stop_reasons(periods: Sequence[PeriodCosts]) -> dict[ArmAndSeed, str]:
    """Tell why arms were stopped, of those that were."""
    return {
        arm.who: f"stopped: {arm.stopped}"
        for period in reversed(periods)
        for arm in period.arms
        if arm.stopped is not None
    }

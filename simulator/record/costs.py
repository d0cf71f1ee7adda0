"""What a period was (`costs/period-00003/period.json`), and what it cost each contender (`<key>.json` beside it)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from simulator.record.experiment import ArmAndSeed, key_of
from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class StageCosts:
    """What one stage cost: predict, retrieve, compress, learn, measure."""

    seconds: float  # on the wall
    cpu_seconds: float  # of the worker; unlike those on the wall they hardly depend on what ran beside it
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
class Lesson:
    """How a period was learned."""

    rows: int
    batch_size: int
    passes: int


@dataclass(frozen=True, kw_only=True)
class ArmCosts:
    """What one arm with one seed cost in a period; bytes are as of the period's end. The book fills in the rest."""

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
    lesson: Lesson | None  # None: it learned nothing, or takes no steps
    commit: str | None = None  # of the code that played it
    gap_seconds: float = 0.0  # waited for the rows
    wall_seconds: float = 0.0  # from the end of the period before

    @property
    def who(self) -> ArmAndSeed:
        return self.arm, self.seed


@dataclass(frozen=True, kw_only=True)
class PeriodFacts:
    """What one period was, whoever played it."""

    period: int
    start: int  # seconds
    end: int
    rows: int
    positives: int
    new_user_share: float | None  # None of a period without rows, as a sub-domain may have
    new_item_share: float | None


@dataclass(frozen=True, kw_only=True)
class PeriodCosts(PeriodFacts):
    """What one period was, and what it cost each arm."""

    arms: list[ArmCosts]


def write_arm_costs(run: RunFolder, period: int, costs: ArmCosts) -> None:
    """Write what a period cost one contender."""
    file = run.costs(period, key_of(costs.who))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, costs)


def write_period_facts(run: RunFolder, facts: PeriodFacts) -> None:
    """Write what a period was, unless another contender has; all would write the same."""
    file = run.period_facts(facts.period)
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, facts)


def read_arm_costs(run: RunFolder, period: int, key: str) -> ArmCosts:
    """Read what a period cost one contender."""
    return read_typed(run.costs(period, key), ArmCosts)


def read_costs(run: RunFolder, keys: Iterable[str]) -> list[PeriodCosts]:
    """Read what each complete period cost each of these contenders, in time order."""
    keys = list(keys)
    return [
        PeriodCosts(
            **vars(read_typed(run.period_facts(period), PeriodFacts)),
            arms=[read_arm_costs(run, period, key) for key in keys],
        )
        for period in range(run.complete_through(keys) + 1)
    ]


def learned_from(periods: Sequence[PeriodCosts], arms: Iterable[str]) -> int:
    """Find the first period that any of these arms met after a lesson: no mean counts an earlier one.

    It is 1 where the first period's rows are learned at its end, and later where their labels come later.
    """
    named = set(arms)
    for period in periods:
        if any(arm.arm in named and "learn" in arm.stages and arm.stages["learn"].rows for arm in period.arms):
            return period.period + 1
    return len(periods)


def stop_reasons(periods: Sequence[PeriodCosts]) -> dict[ArmAndSeed, str]:
    """Tell why arms were stopped, of those that were."""
    return {
        arm.who: f"stopped: {arm.stopped}"
        for period in reversed(periods)
        for arm in period.arms
        if arm.stopped is not None
    }

"""What a load test saw (`loadtest.json`): every load, and what follows for each arm. Milliseconds, requests/s."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class Offered:
    """One load; a percentile is None where failed requests make it infinite, or too few were sent to tell it."""

    arm: str
    seed: int
    purpose: str  # search, equal
    repeat: int
    rate: float
    sent: int
    late: int  # beyond the bound, those that failed among them
    errors: dict[str, int]  # those that failed, by kind
    verdict: str  # whether p99 is within the bound, beyond it, or neither is certain
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    lag_p99_ms: float  # by how much the generator itself was late


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The mean of a number over repeats, with Student's 95 % interval; None where a repeat has none, or is alone."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class ArmUnderLoad:
    """What an arm sustains, and its latency at the rate at which all arms are compared."""

    arm: str
    seed: int
    sustained_by_repeat: list[float | None]  # the highest rate that keeps the bound; None: not even the lowest one did
    sustained: Spread
    p50_ms: Spread
    p99_ms: Spread
    p999_ms: float | None  # over all repeats together, as are those below
    max_ms: float | None
    sent: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class SelfCheck:
    """What the generator saw of a server that does nothing."""

    rate: float
    sent: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    lag_p99_ms: float


@dataclass(frozen=True, kw_only=True)
class LoadTest:
    """One load test of one run's arms, or of a URL."""

    target: str
    through: int | None  # period, the last one that the arms had played; None of a URL
    processes: int
    settings: dict[str, Any]
    invalid: list[str]  # why the numbers do not count; none where they do
    self_check: SelfCheck
    equal_rate: float | None  # at which arms are compared; None where an arm sustains no rate
    arms: list[ArmUnderLoad]
    loads: list[Offered] = field(default_factory=list)


def write_loadtest(run: RunFolder, test: LoadTest) -> None:
    """Write `loadtest.json`."""
    write_json(run.loadtest, test)


def read_loadtest(run: RunFolder) -> LoadTest | None:
    """Read `loadtest.json`; None where the run was not put under load."""
    return read_typed(run.loadtest, LoadTest) if run.loadtest.exists() else None

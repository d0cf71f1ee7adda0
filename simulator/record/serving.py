"""What was seen of served arms (`serving.json`): latency under load, and whether they serve what they predicted."""

from __future__ import annotations

from dataclasses import dataclass

from simulator.record.experiment import ArmAndSeed
from simulator.record.layout import RunFolder
from simulator.record.typed_json import read_typed, write_json


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One load: an arm, a rate of requests, a repeat. Milliseconds are None where undefined or infinite."""

    arm: str
    seed: int
    rate: float  # offered requests/s
    repeat: int
    sent: int
    completed: int
    errors: int
    errors_by_kind: dict[str, int]
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    sender_lag_p99_ms: float | None

    @property
    def who(self) -> ArmAndSeed:
        return self.arm, self.seed


@dataclass(frozen=True, kw_only=True)
class Check:
    """Served probabilities of one arm held to the stored ones."""

    arm: str
    seed: int
    rows: int
    max_difference: float | None  # None if a served probability is not finite
    share_beyond: float  # of rows that differ by more than the tolerance

    @property
    def who(self) -> ArmAndSeed:
        return self.arm, self.seed


@dataclass(frozen=True, kw_only=True)
class Serving:
    """All loads and checks, with the settings behind them."""

    measured: list[Measured]
    checks: list[Check]
    candidates: int  # in a request
    slo_ms: float
    timeout_s: float
    seconds: float  # of each load


def write_serving(run: RunFolder, serving: Serving) -> None:
    """Write `serving.json`."""
    write_json(run.serving, serving)


def read_serving(run: RunFolder) -> Serving | None:
    """Read `serving.json`; None where the run was not served."""
    return read_typed(run.serving, Serving) if run.serving.exists() else None

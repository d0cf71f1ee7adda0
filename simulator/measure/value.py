"""A measured number: its value or why there is none, its interval, and how much it was measured on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Value:
    """`value` is None where the metric is undefined, and `reason` then says why.

    `low` and `high` bound a 95 % interval, or are None where none was computed. `n` counts what the value is
    taken over: rows, users, requests or periods.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int
    reason: str | None = None


def undefined(reason: str, n: int = 0) -> Value:
    return Value(value=None, n=n, reason=reason)

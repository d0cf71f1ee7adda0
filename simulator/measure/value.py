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
    """Give a value that is none, for a reason."""
    return Value(value=None, n=n, reason=reason)


def one_class(clicks: float, rows: float) -> Value | None:
    """Give the undefined value of a metric that needs both classes, where the rows do not hold both."""
    if not rows:
        return undefined("no rows")
    if 0 < clicks < rows:
        return None
    return undefined(f"one class: {clicks:.0f} of {rows:.0f} rows are clicks", int(rows))

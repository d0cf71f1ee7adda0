"""Numbers as a reader sees them; a dash stands for what is undefined."""

from __future__ import annotations

from simulator.measure.value import Value

DASH = "–"


def fixed(value: float | None, digits: int = 4) -> str:
    return DASH if value is None else f"{value:.{digits}f}".replace("-", "−")


def signed(value: float | None, digits: int = 4) -> str:
    """Write the sign too, with a true minus; what rounds to zero has none."""
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def p_value(value: float | None) -> str:
    """Write three digits, or `< 0.001`: more would claim more than a bootstrap knows."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{100 * value:.{digits}f} %"


def signed_percent(value: float | None, digits: int = 2) -> str:
    return DASH if value is None else f"{signed(100 * value, digits)} %"


def share(value: Value) -> str:
    """Write a share with its interval: `61 % (52 to 70)`."""
    if value.value is None:
        return DASH
    whole = f"{_whole(100 * value.value)} %"
    if value.low is None or value.high is None:
        return f"{whole} (no interval)"
    return f"{whole} ({_whole(100 * value.low)} to {_whole(100 * value.high)})"


def _whole(number: float) -> str:
    return f"{round(number)}".replace("-", "−")  # an integer has no negative zero


def moved(lost: float) -> str:
    """Write a loss as what has happened: `fallen by 0.0123`, or `risen by 0.0100` where it is below zero."""
    return f"{'fallen' if lost >= 0 else 'risen'} by {abs(lost):.4f}"


def interval(value: Value, *, sign: bool = False) -> str:
    """Write the interval in brackets, with a space before them, or that there is none."""
    bounds = between(value, sign=sign)
    return f" (95 % interval {bounds})" if bounds else " (no interval)"


def between(value: Value, digits: int = 4, *, sign: bool = False) -> str:
    """Write the interval, `0.7081–0.7165` or `+0.0010…+0.0052`; empty where there is none."""
    if value.low is None or value.high is None:
        return ""
    if sign:
        return f"{signed(value.low, digits)}…{signed(value.high, digits)}"
    return f"{fixed(value.low, digits)}–{fixed(value.high, digits)}"


def count(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def megabytes(value: float | None) -> str:
    """Write bytes as a number of megabytes; what would round to none of them as kilobytes, with the unit."""
    if value is None:
        return DASH
    return f"{value / 1e3:.1f} kB" if 0 < value < 5e4 else f"{value / 1e6:.1f}"


def size(value: float | None) -> str:
    """Write bytes with their unit."""
    text = megabytes(value)
    return text if text.endswith("kB") else f"{text} MB"


def seconds(value: float) -> str:
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def listed(names: list[str]) -> str:
    """Join names: `a`, `a and b`, `a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def counted(number: int, what: str) -> str:
    """Write a number with its noun: `1 click`, `1,200 clicks`."""
    head, _, tail = what.partition(" ")
    return f"{number:,} {head}{'' if number == 1 else 's'}{f' {tail}' if tail else ''}"

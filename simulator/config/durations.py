"""Durations as settings write them."""

from __future__ import annotations

import re

SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def seconds_of(duration: str) -> int | None:
    """Seconds of 30m, 6h or 1d; None if it is not written so."""
    match = re.fullmatch(r"(0|[1-9]\d*)([mhd])", duration)
    return int(match[1]) * SECONDS[match[2]] if match else None

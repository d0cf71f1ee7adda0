"""Periods: half-open spans of time of one width, cut on a clock that may differ from UTC."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from pkb.errors import DataError, SettingError
from simulator.stream.staging import Span

SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


def width_seconds(text: str) -> int:
    """`30m`, `6h`, `1d` -> seconds."""
    match = re.fullmatch(r"([1-9]\d*)([mhd])", text)
    if match is None:
        raise SettingError(f"stream.period={text}: write a number and m, h or d, such as 30m, 6h or 1d")
    return int(match[1]) * SECONDS[match[2]]


def check_spans(spans: Sequence[Span], width: int, *, utc_offset_hours: int) -> None:
    """DataError unless there are two periods or more and none between the first and the last is empty."""

    def clock(seconds: int) -> str:
        zone = timezone(timedelta(hours=utc_offset_hours))
        return datetime.fromtimestamp(seconds, zone).isoformat(sep=" ", timespec="minutes")

    for one, following in itertools.pairwise(spans):
        if following.start != one.start + width:
            raise DataError(
                f"the period from {clock(one.start + width)} to {clock(one.start + 2 * width)} has no rows"
                f" (the next one begins {clock(following.start)}): set a wider stream.period, or leave out rows of a"
                " wrong time"
            )
    if len(spans) < 2:
        where = f"all rows lie between {clock(spans[0].start)} and {clock(spans[0].start + width)}"
        raise DataError(f"{where}, one period: a run needs two or more, set a narrower stream.period")

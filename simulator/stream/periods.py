"""Periods: half-open spans of time, cut by the clock, by the number of rows, or as the papers split a log.

A cut gives every second of the log a number, ascending with time; the seconds of one number are one period. It is
a dataclass of all that decides where it cuts, and has two members:

    number           SQL expression of a second's number, over `ts` and `before`, the kept rows of earlier seconds
    spans(counts)    the periods, given the kept rows of each number that has any; DataError if a run cannot use them
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pkb.errors import DataError, SettingError
from simulator.config.durations import seconds_of
from simulator.stream.raw import RawLog, text
from simulator.stream.settings import StreamSettings
from simulator.stream.staging import Count


@dataclass(frozen=True, kw_only=True)
class Span:
    """A half-open span of time [start, end), in seconds, and its kept rows."""

    start: int
    end: int
    rows: int
    positives: int


@dataclass(frozen=True, kw_only=True)
class ByTime:
    """Periods of one width, the first of which begins at a multiple of it on the stream's clock."""

    width: int  # seconds
    utc_offset_hours: int

    @property
    def number(self) -> str:
        return f"CAST(floor((ts + {self._offset}) / {self.width}) AS BIGINT)"

    def spans(self, counts: Sequence[Count]) -> list[Span]:
        """Each lasts until the next one that has rows; of a log that is mostly empty some times must be wrong."""
        empty = counts[-1].number - counts[0].number + 1 - len(counts)
        if empty > len(counts):
            before, behind = next(pair for pair in itertools.pairwise(counts) if pair[1].number > pair[0].number + 1)
            start, end = self._start(before.number + 1), self._start(before.number + 2)
            raise DataError(
                f"the period from {self._clock(start)} to {self._clock(end)} has no rows (the next one begins"
                f" {self._clock(self._start(behind.number))}), as {empty} of {empty + len(counts)} have none:"
                " set a wider stream.period, or leave out rows of a wrong time"
            )
        ends = [*(following.number for following in counts[1:]), counts[-1].number + 1]
        spans = [
            Span(start=self._start(c.number), end=self._start(end), rows=c.rows, positives=c.positives)
            for c, end in zip(counts, ends, strict=True)
        ]
        if len(spans) < 2:
            where = f"all rows lie between {self._clock(spans[0].start)} and {self._clock(spans[0].end)}"
            raise DataError(f"{where}, one period: a run needs two or more, set a narrower stream.period")
        return spans

    @property
    def _offset(self) -> int:
        return self.utc_offset_hours * 3_600

    def _start(self, number: int) -> int:
        return number * self.width - self._offset

    def _clock(self, seconds: int) -> str:
        return clock(seconds, self.utc_offset_hours)


@dataclass(frozen=True, kw_only=True)
class ByRows:
    """Periods of about `rows` rows: those of one second stay together, in the period of their first row."""

    rows: int

    @property
    def number(self) -> str:
        return f"before // {self.rows}"

    def spans(self, counts: Sequence[Count]) -> list[Span]:
        if len(counts) < 2:
            raise DataError(
                f"the log holds {counts[0].rows} rows, one period of stream.period={self.rows}rows: a run needs two or"
                " more, set fewer rows"
            )
        ends = [*(following.first for following in counts[1:]), counts[-1].last + 1]
        return [
            Span(start=c.first, end=end, rows=c.rows, positives=c.positives)
            for c, end in zip(counts, ends, strict=True)
        ]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Four periods: pool < train_from <= training < validation_from <= validation < test_from <= test."""

    train_from: int  # seconds, T0
    validation_from: int
    test_from: int  # T1
    utc_offset_hours: int

    @property
    def number(self) -> str:
        return " + ".join(f"(ts >= {t})::BIGINT" for t in (self.train_from, self.validation_from, self.test_from))

    def spans(self, counts: Sequence[Count]) -> list[Span]:
        found = {count.number: count for count in counts}
        for number, (name, when, remedy) in enumerate(self._parts()):
            if number not in found:
                span = f"{self._clock(counts[0].first)} to {self._clock(counts[-1].last)}"
                raise DataError(f"no rows for the {name}, {when}: the log goes from {span}; {remedy}")
        edges = [counts[0].first, self.train_from, self.validation_from, self.test_from, counts[-1].last + 1]
        return [
            Span(start=start, end=end, rows=count.rows, positives=count.positives)
            for count, (start, end) in zip(counts, itertools.pairwise(edges), strict=True)
        ]

    def _parts(self) -> list[tuple[str, str, str]]:
        """Name, time, and what to set if it is empty, of each part."""
        train, validation, test = map(self._clock, (self.train_from, self.validation_from, self.test_from))
        return [
            ("pool", f"before {train}", "set a later stream.split.train_from"),
            (
                "training",
                f"{train} to {validation}",
                "set an earlier stream.split.train_from or a smaller stream.split.validation_share",
            ),
            ("validation", f"{validation} to {test}", "set a larger stream.split.validation_share"),
            ("test", f"{test} or later", "set an earlier stream.split.test_from"),
        ]

    def _clock(self, seconds: int) -> str:
        return clock(seconds, self.utc_offset_hours)


Cut = ByTime | ByRows | Split


def skipped(cut: Cut, spans: Sequence[Span]) -> str:
    """What is to be told of periods without rows, or nothing."""
    long = [span for span in spans if isinstance(cut, ByTime) and span.end - span.start > cut.width]
    if not isinstance(cut, ByTime) or not long:
        return ""
    number = sum((span.end - span.start) // cut.width - 1 for span in long)
    first = clock(long[0].start + cut.width, cut.utc_offset_hours)
    return f"periods without rows are skipped: {number}, the first from {first}; the one before it lasts longer"


def cut_of(stream: StreamSettings) -> Cut:
    """How the log of these settings is cut; SettingError names the setting that cannot be read."""
    if stream.protocol == "split":
        train, validation, test = split_seconds(stream)
        return Split(
            train_from=train, validation_from=validation, test_from=test, utc_offset_hours=stream.utc_offset_hours
        )
    if match := re.fullmatch(r"([1-9]\d*)rows", stream.period):
        return ByRows(rows=int(match[1]))
    return ByTime(width=width_seconds(stream.period), utc_offset_hours=stream.utc_offset_hours)


def width_seconds(period: str) -> int:
    """`30m`, `6h`, `1d` -> seconds."""
    width = seconds_of(period)
    if not width:
        raise SettingError(
            f"stream.period={period}: write a number and m, h or d, such as 30m, 6h or 1d, or a number of rows such as"
            " 100000rows"
        )
    return width


def split_seconds(stream: StreamSettings) -> tuple[int, int, int]:
    """Where training, validation and test begin: T0, Tv = T1 - validation_share * (T1 - T0), and T1."""
    split = stream.split
    train, test = (_moment(stream, key) for key in ("train_from", "test_from"))
    if train >= test:
        raise SettingError(
            f"stream.split.train_from={split.train_from}: must be before stream.split.test_from={split.test_from}"
        )
    validation = test - round(split.validation_share * (test - train))
    if not train < validation < test:
        raise SettingError(
            f"stream.split.validation_share={split.validation_share}: must lie above 0 and below 1, and leave a second"
            " or more on either side"
        )
    return train, validation, test


def thinned(raw: RawLog, stream: StreamSettings) -> RawLog:
    """The log in which `split.target_share` of the rows behind the pool is kept, and the others are left out.

    A row is kept if a hash of its file, row and part, as a share of the largest one, is below `target_share`.
    """
    share = stream.split.target_share
    if stream.protocol != "split" or share == 1:
        return raw
    why = f"they lie at or after stream.split.train_from, where stream.split.target_share={share} keeps fewer"
    outside = f"""CASE
        WHEN ({raw.ts}) >= {split_seconds(stream)[0]}
            AND md5_number_lower(concat_ws(' ', 'target', _file, _row, _part)) >= {int(share * 2**64)}
        THEN {text(why)} END"""
    return dataclasses.replace(
        raw, left_out=outside if raw.left_out is None else f"coalesce({raw.left_out}, {outside})"
    )


def clock(seconds: int, utc_offset_hours: int) -> str:
    """How messages tell a time."""
    zone = timezone(timedelta(hours=utc_offset_hours))
    try:
        return datetime.fromtimestamp(seconds, zone).isoformat(sep=" ", timespec="minutes")
    except (OverflowError, ValueError):  # it has no years behind 9999
        return f"second {seconds}"


def _moment(stream: StreamSettings, key: str) -> int:
    """Seconds of an ISO date or date-time on the stream's clock."""
    written = getattr(stream.split, key)
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise SettingError(
            f"stream.split.{key}={written!r}: is no date; write one such as 2017-12-02, or 2017-12-02 16:00"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone(timedelta(hours=stream.utc_offset_hours)))
    return int(moment.timestamp())

"""Times of raw files: the SQL that reads them, and what a number looks like that is no time of its unit.

A text with an offset or a zone is that instant, one without is UTC; so is a timestamp of a Parquet file. The engine's
own clock is UTC, whatever that of the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}  # per second
FORMATS = {  # numbers that people write for dates, by the look of them
    "YYYYMMDD": "%Y%m%d",
    "YYMMDDHH": "%y%m%d%H",
    "DDMMYYYY": "%d%m%Y",
    "YYMMDD": "%y%m%d",
    "YYYYMM": "%Y%m",
    "YYYYMMDDHH": "%Y%m%d%H",
    "YYMMDDHHMM": "%y%m%d%H%M",
    "YYYYMMDDHHMM": "%Y%m%d%H%M",
    "YYMMDDHHMMSS": "%y%m%d%H%M%S",
    "YYYYMMDDHHMMSS": "%Y%m%d%H%M%S",
}
WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
DATED = (  # ten digits that are a date are seconds of a year in range, too: YYYYMMDDHH and YYMMDDHHMM
    r"(?:(?:19|20)\d\d|\d\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:[01]\d|2[0-3])(?:[0-5]\d)?"
)


@dataclass(frozen=True, kw_only=True)
class TimeRule:
    """How a table's times are read, and in which years they lie."""

    column: str  # its name, for messages
    unit: str
    format: str  # of strptime; empty where numbers are in `unit` and texts are dates
    first_year: int
    last_year: int

    @property
    def range(self) -> str:
        """SQL: from the first second to the last that is no mistake."""
        first, end = (
            datetime(self.first_year, 1, 1, tzinfo=UTC),
            datetime(self.last_year, 12, 31, 23, 59, 59, tzinfo=UTC),
        )
        return f"{int(first.timestamp())} AND {int(end.timestamp())}"

    def seconds(self, value: str) -> str:
        """Expression: whole seconds since 1970, null where the text `value` does not parse."""
        return f"coalesce({self._of_number(value)}, {seconds_of_timestamp(value)})"

    def _of_number(self, value: str) -> str:
        if self.format:
            parsed = rf"try_strptime(regexp_replace({value}, '^(\d+)\.0+$', '\1'), '{self.format}')"
            return f"epoch_us({parsed}) // 1000000"
        per_second = UNITS[self.unit]
        return f"""CASE WHEN contains({value}, '.')
            THEN TRY_CAST(floor(TRY_CAST({value} AS DOUBLE) / {per_second}) AS BIGINT)
            ELSE TRY_CAST({value} AS BIGINT) // {per_second} END"""

    def far(self, value: str, ts: str) -> str:
        """Expression: the text of a time that lies outside of all years in which a log can lie, or null."""
        return f"CASE WHEN {ts} NOT BETWEEN {self.range} THEN {value} END"

    def dated(self, value: str) -> str:
        """Expression: the text of a number of seconds that may be a date instead, or null."""
        if self.format or self.unit != "s":
            return "NULL"
        return f"CASE WHEN length({value}) = 10 AND regexp_full_match({value}, '{DATED}') THEN {value} END"

    def without_zone(self, value: str, ts: str) -> str:
        """Expression: the text of a date and time that does not say of which clock, or null."""
        if self.format:
            return "NULL" if "%z" in self.format.lower() else f"CASE WHEN {ts} IS NOT NULL THEN {value} END"
        return rf"""CASE WHEN {ts} IS NOT NULL AND regexp_matches({value}, '\d[-/]\d')
            AND NOT regexp_matches({value}, ':[^A-Za-z+-]*[A-Za-z+-]') THEN {value} END"""

    def number(self, example: str) -> float | None:
        """Seconds that a number means by `unit`; None if it is none, or a format reads it."""
        try:
            return None if self.format else float(example) / UNITS[self.unit]
        except ValueError:
            return None

    def remedy(self, examples: Sequence[str]) -> str:
        """Say what times of impossible years look like, and what to set."""
        digits = [example.removesuffix(".0") for example in examples]
        for look, form in FORMATS.items():
            if form != self.format and all(self._parses(each, look, form) for each in digits):
                return f"it looks like {look}: set stream.table.time_format={form!r}"
        for unit, per_second in UNITS.items():
            if unit != self.unit and all(self._in_range(each, per_second) for each in digits):
                return f"it looks like {WORDS[unit]}: set stream.table.time_unit={unit}"
        return (
            "set stream.table.time_unit, or stream.table.time_format where it is a date; if it is right, widen"
            f" stream.table.first_year={self.first_year} and last_year={self.last_year}"
        )

    def _parses(self, digits: str, look: str, form: str) -> bool:
        if len(digits) != len(look) or not digits.isdecimal():
            return False
        try:
            moment = datetime.strptime(digits, form)
        except ValueError:
            return False
        return self.first_year <= moment.year <= self.last_year

    def _in_range(self, digits: str, per_second: int) -> bool:
        try:
            year = datetime.fromtimestamp(float(digits) / per_second, UTC).year
        except (ValueError, OverflowError, OSError):
            return False
        return self.first_year <= year <= self.last_year


def whole_seconds(number: str, unit: str) -> str:
    """Seconds from an integer in `unit`."""
    return f"TRY_CAST({number} AS BIGINT) // {UNITS[unit]}"


def seconds_of_timestamp(value: str) -> str:
    """Seconds since 1970 from a timestamp, a date or its text; one without a zone is read as UTC."""
    return f"epoch_us(TRY_CAST({value} AS TIMESTAMPTZ)) // 1000000"


def seconds_of_day(digits: str) -> str:
    """Seconds since 1970 at the start of a day that eight digits tell (20151231), read as UTC."""
    return rf"""CASE WHEN regexp_full_match({digits}, '\d{{8}}')
        THEN epoch_us(try_strptime({digits}, '%Y%m%d')) // 1000000 END"""

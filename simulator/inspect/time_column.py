"""Which column is the time of a row, and how its values are to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.inspect.columns import Column, tokens_of
from simulator.inspect.sample import Sample
from simulator.stream.times import FORMATS, UNITS, WORDS, TimeRule

NAMES = {"time", "timestamp", "ts", "t", "date", "datetime", "hour", "day", "when", "at", "moment", "dt", "clock"}
OF_THE_ROW = {"impression", "impressed", "shown", "show", "event", "request", "served", "view", "log", "exposure"}
OF_ANOTHER = {  # what happened earlier or later than the row
    *("birth", "born", "release", "released", "publish", "published", "register", "registered", "signup", "joined"),
    *("next", "click", "clicked", "attributed", "conversion", "end", "expire", "update", "updated", "last", "first"),
    *("dwell", "read", "play", "stay", "watch", "duration", "upload", "since", "type", "zone", "weekday", "diff"),
}
TEXT_FORMATS = (
    *("%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M:%S %p"),
    *("%d/%b/%Y:%H:%M:%S %z", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%d/%m/%Y", "%m/%d/%Y"),
)
FINE = 100  # distinct values that the hours of a day or the days of a month do not have
MOST = 0.99  # of the values must be times
EARLIEST, EARLIEST_ASKED = 2000, 1990  # an earlier year is no mistake where a name says that it is a time


@dataclass(frozen=True, kw_only=True)
class Time:
    """A proposal for `stream.table.time` and what belongs to it."""

    column: Column
    unit: str = "s"
    format: str = ""
    first_year: int = EARLIEST
    why: str = ""
    doubt: str = ""

    def rule(self) -> TimeRule:
        return TimeRule(
            column=self.column.name, unit=self.unit, format=self.format, first_year=self.first_year, last_year=2100
        )


def times_of(sample: Sample, columns: Sequence[Column]) -> list[Time]:
    """The columns of times, the likeliest first; none where there is none, so that the order of rows must do."""
    found = [time for column in columns if (time := _read(sample, column)) is not None]
    named = [time for time in found if _is_named(time.column)]
    others = [] if named else [time for time in found if _rises(sample, time)]
    return sorted(named or others[:1], key=lambda time: _rank(time.column), reverse=True)


def _rank(column: Column) -> tuple[bool, bool, int]:
    """A time of the row before that of something else, a finer one before a coarser one."""
    return not column.tokens & OF_ANOTHER, bool(column.tokens & OF_THE_ROW), column.distinct


def _is_named(column: Column) -> bool:
    words = set(tokens_of(column.name))
    return column.is_time or bool(words & NAMES) or any(word.endswith(("time", "date", "stamp")) for word in words)


def _read(sample: Sample, column: Column) -> Time | None:
    if column.holds_lists or column.missing > 1 - MOST or column.distinct < 2:
        return None
    if any(kind == "bool" for kind in column.kinds):
        return None
    readings = list(_readings(column))
    end = _year(datetime.now(UTC).year + 2)
    shares = ", ".join(
        f"avg(coalesce(({time.rule().seconds('value')}) BETWEEN {_year(time.first_year)} AND {end}, false)::INT)"
        for time in readings
    )
    (found,) = sample.ask(f"""
        SELECT {shares} FROM (SELECT {column.key} AS value FROM few WHERE {column.key} <> '')""")
    for time, share in zip(readings, found, strict=True):
        if share is not None and share >= MOST:
            return time
    return _of_its_own(sample, column)


def _year(year: int) -> int:
    """The second at which it begins."""
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())


def _of_its_own(sample: Sample, column: Column) -> Time | None:
    """Seconds since the log began: numbers whose name says that they are times, and in whose order the rows are."""
    doubt = f"column {column.name!r}: its times are of no year, and are read as seconds since 1970; look at their unit"
    time = Time(column=column, first_year=1970, why="numbers that grow with the rows", doubt=doubt)
    grows = _is_named(column) and column.is_number and column.distinct > FINE and (column.low or 0) >= 0
    return time if grows and _rises(sample, time) else None


def _readings(column: Column) -> Iterator[Time]:
    """Ways to read the values, likelier ones first; dates written as digits come before seconds, which they may be."""
    if column.is_time:
        yield Time(column=column, why="a timestamp")
        return
    if not column.is_number:
        yield Time(column=column, why="texts of dates and times")
        for form in TEXT_FORMATS:
            other = form.replace("%d/%m", "%m/%d")
            doubt = ""
            if other != form and not any(re.match(r"(1[3-9]|[23]\d)/", value) for value in column.examples):
                doubt = f"column {column.name!r}: no day is above 12, so that {form} and {other} both read it; look"
            yield Time(column=column, format=form, why="texts of this form", doubt=doubt)
        return
    named = _is_named(column)
    for look, form in FORMATS.items():
        lengths = {len(value.partition(".")[0]) for value in column.examples}
        if lengths == {len(look)} and (named or len(look) >= 8):
            yield Time(column=column, format=form, why=f"numbers that are dates, {look}")
    for unit in UNITS:
        told = f"column {column.name!r}: its times are numbers of {WORDS[unit]}" if unit != "s" else ""
        why = f"numbers of {WORDS[unit]} since 1970"
        yield Time(column=column, unit=unit, why=why, doubt=told)
        if named:
            yield Time(column=column, unit=unit, why=why, doubt=told, first_year=EARLIEST_ASKED)


def _rises(sample: Sample, time: Time) -> bool:
    """Whether the rows are in its order, as those of a log mostly are."""
    ((share,),) = sample.ask(f"""
        SELECT avg((seconds >= before)::INT) FROM (
            SELECT seconds, lag(seconds) OVER (PARTITION BY _file ORDER BY _row) AS before
            FROM (SELECT _file, _row, {time.rule().seconds(time.column.key)} AS seconds FROM sample))""")
    return share is not None and share >= MOST and time.column.distinct > 10

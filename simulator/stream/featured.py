"""A log with the fields that `stream.features` adds: hour and weekday are raw values, numbers are computed later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pkb.batch import KINDS, Field, Schema
from pkb.errors import SettingError
from pkb.numbers import Number
from simulator.config.kinds import near
from simulator.stream.features import COUNTED, OF_LIST, Feature
from simulator.stream.raw import RESERVED, RawLog
from simulator.stream.settings import StreamSettings

DAY = 86_400
WEEK = 7 * DAY
THURSDAY = 4  # of ISO's numbers: 1970-01-01 was one


def tell_of_settings(stream: StreamSettings, tell: Callable[[str], None]) -> None:
    """Tell that rows have no times, what a place in a list gives away, and of windows that are too short to count."""
    if stream.by_row:
        tell("stream.table.time=row: the order of rows in the files, sorted by their names, stands for time")
    for feature in stream.derived:
        if feature.kind in OF_LIST:
            tell(
                f"stream.features.{feature.name}={feature.kind}: tells what the ranker of the time thought of a row: a"
                " model learns to repeat it instead of what users like, and a ranking of its own has no places yet"
            )
        if feature.kind in COUNTED and feature.window and feature.window == stream.label_delay_seconds:
            written = f"stream.features.{feature.name}={stream.features[feature.name]!r}"
            tell(
                f"{written}: counts the rows of one second, those shown just stream.label_delay={stream.label_delay}"
                " before, as no later label has arrived; write a longer window"
            )


def with_clock(raw: RawLog, stream: StreamSettings) -> RawLog:
    """The raw log with the features of the clock as further context fields.

    SettingError where the log has no field, no request, or another column of a feature's name.
    """
    clock = [feature for feature in stream.derived if not feature.is_number]
    schema = raw.schema
    added = [Field(name=feature.name, role="context") for feature in clock]
    for feature in stream.derived:
        if feature.name in RESERVED:
            raise _wrong(feature, stream)("the log has a column of its own by this name; choose another one")
        if feature.name in (*schema.names, *(h.name for h in schema.histories), *schema.labels):
            raise _wrong(feature, stream)("the log has a column of this name; choose another one")
    schema = _with(schema, added)
    for feature in stream.derived:
        _check(feature, raw, schema, _wrong(feature, stream))
    shift = clock_shift(stream)
    values = raw.values | {feature.name: _of_clock(feature.kind, f"(({raw.ts}) + {shift})") for feature in clock}
    columns = (*schema.names, *(h.name for h in schema.histories))
    return replace(raw, schema=schema, values={name: values[name] for name in columns})


def with_numbers(schema: Schema, stream: StreamSettings) -> Schema:
    """The schema with the features that are numbers."""
    number = Number(encoding=stream.numbers.encoding)
    added = [Field(name=f.name, role="context", number=number) for f in stream.derived if f.is_number]
    return _with(schema, added)


def clock_shift(stream: StreamSettings) -> int:
    """Seconds to the stream's clock, and a week more, so that the first hours of 1970 are not below 0."""
    return stream.utc_offset_hours * 3_600 + WEEK


def clock_texts(kind: str, ts: NDArray[np.int64], stream: StreamSettings) -> pa.Array:
    """What the log has in a field of the clock at these times (seconds), as texts."""
    seconds = ts + clock_shift(stream)
    hours, days = seconds % DAY // 3_600, (seconds // DAY + THURSDAY - 1) % 7 + 1
    return pa.array(hours if kind == "hour" else days).cast(pa.string())


def _with(schema: Schema, added: Sequence[Field]) -> Schema:
    """The schema with further fields, each behind those of its kind."""
    return replace(schema, fields=tuple(sorted([*schema.fields, *added], key=lambda f: KINDS.index(f.kind))))


def _of_clock(kind: str, seconds: str) -> str:
    """Expression: 0 to 23, or 1 (Monday) to 7 as EB-NeRD has it."""
    if kind == "hour":
        return f"{seconds} % {DAY} // 3600"
    return f"({seconds} // {DAY} + {THURSDAY - 1}) % 7 + 1"


def _check(feature: Feature, raw: RawLog, schema: Schema, wrong: Callable[[str], SettingError]) -> None:
    known = schema.names_of("category")
    if feature.kind in OF_LIST and raw.request is None:
        raise wrong("the log has no requests; name the column that is equal for rows shown together, or leave it out")
    for name in feature.key:
        if name not in known:
            meant = near(name, known)
            if any("," in field for field in known):
                meant = "; commas stand between fields, so rename a column that has one in its name"
            raise wrong(f"{name!r} is no categorical field; the log has {', '.join(known)}{meant}")


def _wrong(feature: Feature, stream: StreamSettings) -> Callable[[str], SettingError]:
    """Of what is wrong, the error that says so of the feature."""
    return lambda what: SettingError(f"stream.features.{feature.name}={stream.features[feature.name]!r}: {what}")

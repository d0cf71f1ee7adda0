"""`stream.features`: what a new field is, in one line of text.

    hour | weekday                                          of the row's time, on the stream's clock
    age(FIELD, ..) | since_last(FIELD, ..)                  seconds since the first and the latest earlier row
    impressions(FIELD, ..) | clicks(..) | click_rate(..)    of earlier rows, [over 30m | 1h | 7d | all]
    position | list_size                                    in the row's request

docs/data.md says which earlier rows count; `deriving.py` computes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pkb.errors import SettingError
from simulator.config.durations import seconds_of
from simulator.config.kinds import near

OF_CLOCK = ("hour", "weekday")
OF_LIST = ("position", "list_size")
OF_MOMENTS = ("age", "since_last")
COUNTED = ("impressions", "clicks", "click_rate")
KINDS = (*OF_CLOCK, *OF_MOMENTS, *COUNTED, *OF_LIST)
GROWING = ("age", "since_last", "impressions", "clicks")  # later rows have values that none of the first ones has


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A field that is computed from earlier rows, or from a row's time or place."""

    name: str
    kind: str  # one of KINDS
    key: tuple[str, ...] = ()  # fields; rows of equal values in all of them are counted together
    window: int | None = None  # seconds back from the row's time; None is all of the log

    @property
    def is_number(self) -> bool:
        return self.kind not in OF_CLOCK


def parsed(written: Mapping[str, str]) -> tuple[Feature, ...]:
    """The features of these lines, in their order; SettingError names the one that cannot be read."""
    return tuple(_feature(name, line) for name, line in written.items())


def need_time(features: Iterable[Feature]) -> bool:
    """Whether any of them is computed from a row's time."""
    return any(feature.kind not in OF_LIST for feature in features)


def _feature(name: str, line: str) -> Feature:
    def wrong(what: str) -> SettingError:
        return SettingError(f"features.{name}={line!r}: {what}")

    if not name.strip():
        raise wrong("has no name; write one before the colon")
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\)\s*)?(?:\bover\s+(\S+)\s*)?", line)
    if match is None:
        raise wrong("cannot be read; write hour, age(FIELD), clicks(FIELD, FIELD) over 1d or the like")
    kind, inside, over = match.groups()
    if kind not in KINDS:
        raise wrong(f"{kind!r} is not one of {', '.join(KINDS)}{near(kind, KINDS)}")
    key = tuple(part.strip() for part in inside.split(",")) if inside is not None else ()
    if kind in (*OF_CLOCK, *OF_LIST):
        if inside is not None or over is not None:
            raise wrong(f"{kind} takes no fields and no time; write {kind}")
    elif not key or "" in key:
        raise wrong(f"{kind} is of one or more fields; write {kind}(FIELD) or {kind}(FIELD, FIELD)")
    elif len(set(key)) < len(key):
        raise wrong("names a field twice; name each once")
    if over is not None and kind in OF_MOMENTS:
        raise wrong(f"{kind} is over all of the log; leave out 'over {over}'")
    window = None
    if over is not None and over != "all":
        window = seconds_of(over)
        if not window:
            raise wrong(f"over {over!r} is no time; write a number and m, h or d, such as over 1h, or over all")
    return Feature(name=name, kind=kind, key=key, window=window)

"""Columns of lists: histories of a field, sets of values, vectors, and impressions that are shown as lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.inspect import after
from simulator.inspect.columns import Column
from simulator.inspect.sample import Sample
from simulator.stream import joined

KNOWN = 0.2  # of a history's values must be values of its field in the sample
KNOWN_IF_NAMED = 0.01  # and so many where the name says that it is its history
TELLING = 20  # values that a field must have for it to be no chance that a list holds them
WORDS = {
    "list",
    "lists",
    "hist",
    "history",
    "seq",
    "sequence",
    "ids",
    "id",
    "past",
    "prev",
    "previous",
    "last",
    "recent",
}
CLICKED = {"clicked", "clicks", "click", "chosen", "selected", "purchased"}


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What becomes of columns of lists."""

    histories: dict[str, str] = field(default_factory=dict)
    separator: str = ""  # of those that are written as text
    values: list[str] = field(default_factory=list)  # sets of values that are no history: genres, tags
    vectors: dict[str, int] = field(default_factory=dict)  # lists of fractions, and their length
    explode: dict[str, str] | None = None  # a row is a list of impressions
    left_out: dict[str, str] = field(default_factory=dict)


def lists_of(
    sample: Sample, found: Sequence[Column], owners: Sequence[Column], fields: Sequence[Column], label: Column | None
) -> Lists:
    """Sort these columns of lists; `owners` are user and item, `fields` the other categories that lists may be of."""
    explode = None if label else _explode(sample, found)
    used = set() if explode is None else {*explode, *explode.values()}
    separators = [c.separator for c in found if c.separator not in ("", "written") and c.name not in used]
    separator = max(dict.fromkeys(separators), key=separators.count, default="")
    lists = Lists(explode=explode, separator=separator)
    for column in found:
        if column.name in used:
            continue
        if after.named(column):
            lists.left_out[column.name] = "its name says that it is known only after the click"
        elif column.is_list and column.sizes[0] == column.sizes[1] > 1 and column.numbers > column.whole:
            lists.vectors[column.name] = column.sizes[0]
        elif column.separator not in ("", "written", separator):
            lists.left_out[column.name] = f"is joined by {column.separator!r}, other lists by {separator!r}"
        elif of := _history_of(sample, column, [*owners, *fields], owners):
            if label and of is owners[-1] and after.holds_what_was_clicked(sample, _elements(column), of, label):
                lists.left_out[column.name] = f"holds {of.name} where it was clicked, so it is known only after it"
            else:
                lists.histories[column.name] = of.name
        else:
            lists.values.append(column.name)
    return lists


def _history_of(sample: Sample, column: Column, fields: Sequence[Column], owners: Sequence[Column]) -> Column | None:
    """The field whose values the lists hold."""
    stem = column.tokens - WORDS
    best, chosen = 0.0, None
    for other in fields:
        named = bool(stem) and stem == other.tokens - WORDS
        if not named and (other.distinct < TELLING or other not in owners[1:]):
            continue
        share = _share_known(sample, column, other)
        if share >= (KNOWN_IF_NAMED if named else KNOWN) and (named, share) > (best >= 1, best % 1):
            best, chosen = share + named, other
    return chosen


def _share_known(sample: Sample, column: Column, other: Column) -> float:
    ((share,),) = sample.ask(f"""
        SELECT avg((value IN (SELECT {other.key} FROM sample))::INT)
        FROM (SELECT unnest({_elements(column)}) AS value FROM few) WHERE value IS NOT NULL AND value <> ''""")
    return float(share or 0)


def _elements(column: Column) -> str:
    """Expression: the list."""
    separator = ";" if column.separator == "written" else column.separator
    return column.key if column.is_list else joined.split(column.key, separator, ())


def _explode(sample: Sample, found: Sequence[Column]) -> dict[str, str] | None:
    """Lists shown and the part of each that was clicked, or one list that tells both; None if there are none."""
    for column in found:
        if column.is_shown_and_clicked:
            return {column.name: "id-label"}
    best = None
    for shown in found:
        for clicked in found:
            if shown is clicked or not (shown.is_list and clicked.is_list) or not clicked.tokens & CLICKED:
                continue
            ((within, fewer),) = sample.ask(f"""
                SELECT avg(list_has_all({shown.key}, {clicked.key})::INT),
                    avg((len({shown.key}) > len({clicked.key}))::INT)
                FROM sample WHERE len({clicked.key}) > 0 AND len({shown.key}) > 0""")
            if within is not None and within >= 0.99 and fewer > 0.5:
                best = best or {shown.name: clicked.name}
    return best

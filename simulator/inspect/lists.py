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
WITHIN, HALF = 0.99, 0.5  # of the rows show what was clicked, and more than that
SHOWN, CLICKED_OF_SHOWN = "shown", "clicked"  # names of the item and the label that elements of lists give
CLICKED = {"clicked", "clicks", "click", "chosen", "selected", "purchased"}


@dataclass(frozen=True, kw_only=True)
class Explode:
    """A column of lists of what was shown together, and how what was clicked is told."""

    shown: Column
    clicked: Column | None  # a list of those of `shown`; None where each element says it, as N12-1
    item: str  # what to call the item and the label that elements give
    label: str

    @property
    def setting(self) -> dict[str, str]:
        return {self.shown.name: self.clicked.name if self.clicked else "id-label"}


@dataclass(frozen=True, kw_only=True)
class Lists:
    """What becomes of columns of lists."""

    histories: dict[str, str] = field(default_factory=dict)
    separator: str = ""  # of those that are written as text
    values: list[str] = field(default_factory=list)  # sets of values that are no history: genres, tags
    vectors: dict[str, int] = field(default_factory=dict)  # lists of fractions, and their length
    explode: Explode | None = None  # a row is a list of impressions
    left_out: dict[str, str] = field(default_factory=dict)


def lists_of(
    sample: Sample,
    found: Sequence[Column],
    item: Column | None,
    fields: Sequence[Column],
    label: Column | None,
    explode: Explode | None,
) -> Lists:
    """Sort these columns of lists: histories of `item`, of what is shown or of one of the `fields`, and others."""
    used = explode.setting if explode else {}
    found = [column for column in found if column.name not in {*used, *used.values()}]
    separators = [c.separator for c in found if c.separator not in ("", "written")]
    separator = max(dict.fromkeys(separators), key=separators.count, default="")
    lists = Lists(explode=explode, separator=separator)
    for column in found:
        if after.named(column):
            lists.left_out[column.name] = "its name says that it is known only after the click"
        elif column.is_list and column.sizes[0] == column.sizes[1] > 1 and column.numbers > column.whole:
            lists.vectors[column.name] = column.sizes[0]
        elif column.separator not in ("", "written", separator):
            lists.left_out[column.name] = f"is joined by {column.separator!r}, other lists by {separator!r}"
        elif item and label and after.holds_what_was_clicked(sample, _elements(column), item, label):
            lists.left_out[column.name] = f"holds {item.name} where it was clicked, so it is known only after it"
        elif of := _history_of(sample, column, item, fields, explode):
            lists.histories[column.name] = of
        else:
            lists.values.append(column.name)
    return lists


def _history_of(
    sample: Sample, column: Column, item: Column | None, fields: Sequence[Column], explode: Explode | None
) -> str:
    """The field whose values the lists hold; empty if there is none."""
    stem = column.tokens - WORDS
    of = {other.name: (other, f"SELECT {other.key} FROM sample") for other in fields}
    chosen, best = "", (False, 0.0)
    for name, (other, values) in of.items():
        named = bool(stem) and stem == other.tokens - WORDS
        if named or (other is item and other.distinct >= TELLING):
            share = _share_known(sample, column, values)
            if share >= (KNOWN_IF_NAMED if named else KNOWN) and (named, share) > best:
                chosen, best = name, (named, share)
    if not chosen and explode and _share_known(sample, column, _shown_ids(explode)) >= KNOWN:
        return explode.item
    return chosen


def _share_known(sample: Sample, column: Column, values: str) -> float:
    ((share,),) = sample.ask(f"""
        SELECT avg((value IN ({values}))::INT)
        FROM (SELECT unnest({_elements(column)}) AS value FROM few) WHERE value IS NOT NULL AND value <> ''""")
    return float(share or 0)


def _shown_ids(explode: Explode) -> str:
    """Query: the ids of what was shown."""
    if explode.clicked:
        return f"SELECT unnest({explode.shown.key}) FROM sample"
    elements = joined.split(explode.shown.key, " ", ())
    return f"SELECT regexp_replace(unnest({elements}), '-[01]$', '') FROM sample"


def _elements(column: Column) -> str:
    """Expression: the list."""
    separator = ";" if column.separator == "written" else column.separator
    return column.key if column.is_list else joined.split(column.key, separator, ())


def exploded(sample: Sample, columns: Sequence[Column]) -> Explode | None:
    """Lists shown and the part of each that was clicked, or one list that tells both; None if there are none."""
    names = {column.name for column in columns}
    item, label = (name + "_" * (name in names) for name in (SHOWN, CLICKED_OF_SHOWN))
    for column in columns:
        if column.is_shown_and_clicked:
            return Explode(shown=column, clicked=None, item=item, label=label)
    lists = [column for column in columns if column.is_list]
    for clicked in (column for column in lists if column.tokens & CLICKED):
        for shown in (column for column in lists if column is not clicked):
            ((within, longer),) = sample.ask(f"""
                SELECT avg(list_has_all({shown.key}, {clicked.key})::INT),
                    avg((len({shown.key}) > len({clicked.key}))::INT)
                FROM sample WHERE len({clicked.key}) > 0 AND len({shown.key}) > 0""")
            if within is not None and within >= WITHIN and longer > HALF:
                return Explode(shown=shown, clicked=clicked, item=item, label=label)
    return None

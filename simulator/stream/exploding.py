"""Lists shown together that stand in one row of a table: a row of the log for each element.

`explode: {impressions: id-label}` reads elements that hold id and label, joined by what stands between the two words;
the label stands behind the last joiner. `explode: {shown: clicked}` reads ids, and those of them that were clicked in
another column. A column is a list, or a text: joined by `list_separator`, by blanks where elements hold labels and no
separator stands there, or as Python, JSON or SQL write a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.stream import joined
from simulator.stream.raw import quoted, text
from simulator.stream.settings import TableSettings

ELEMENT, LABEL, REQUEST = "_element", "_clicked", "_request"  # columns of the relation: texts, and a number
ROWS = 2**40  # of a file, at most
_ONE = "_one"


@dataclass(frozen=True, kw_only=True)
class Exploding:
    """How one row becomes several."""

    shown: str  # column of elements
    joiner: str | None  # within an element that holds id and label
    clicked: str | None  # column of the ids that were clicked, where elements are ids

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.shown,) if self.clicked is None else (self.shown, self.clicked)

    def split(self, written: str, separator: str, missing: Sequence[str]) -> str:
        """Expression: the list that a text holds."""
        as_list = joined.split(written, separator, missing)
        if self.joiner is None:
            return as_list
        return f"""CASE WHEN {joined.is_written(written)} OR contains({written}, {text(separator)}) THEN {as_list}
            ELSE list_filter(string_split_regex({written}, '\\s+'), lambda one: one <> '') END"""

    def relation(self, rows: str, number: int, alias: dict[str, str]) -> str:
        """A row of `rows`, which are those of file `number`, for each element; one with a defect where there is none.

        Columns ELEMENT, LABEL and REQUEST, which is the raw row, come in place of those that are exploded.
        """
        shown = alias[self.shown]
        told = text(f"{self.shown}: ")
        if self.clicked is None:
            parts = f"string_split({_ONE}, {text(self.joiner or '')})"
            element = f"array_to_string({parts}[:-2], {text(self.joiner or '')})"
            said = f"lower({parts}[-1])"
            label = f"CASE {said} WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {said} END"
            without = text(f" is not id{self.joiner}label")
            defect = f"""WHEN len({parts}) < 2 THEN {told} || {quoted(_ONE)} || {without}
                WHEN {element} = '' THEN {told} || {quoted(_ONE)} || ' has no id'"""
        else:
            clicked = f"coalesce(list_filter({alias[self.clicked]}, lambda one: one IS NOT NULL), [])"
            element, label = _ONE, f"CASE WHEN list_contains({clicked}, {_ONE}) THEN '1' ELSE '0' END"
            unshown = text(f"{self.clicked}: holds what {self.shown} does not")
            defect = f"WHEN NOT list_has_all(_all, {clicked}) THEN {unshown}"
        exploded = ", ".join(alias[column] for column in self.columns)
        return f"""
            SELECT * EXCLUDE ({exploded}, _all, {_ONE}) REPLACE (CASE
                    WHEN _defect IS NOT NULL THEN _defect
                    WHEN len(_all) IS NULL OR len(_all) = 0 THEN {told} || 'nothing was shown'
                    WHEN {_ONE} IS NULL OR {_ONE} = '' THEN {told} || 'an element is missing'
                    {defect} END AS _defect),
                {element} AS {ELEMENT}, {label} AS {LABEL}, {number * ROWS} + _row AS {REQUEST}
            FROM (
                SELECT * EXCLUDE (_part), {shown} AS _all,
                    unnest(CASE WHEN len({shown}) > 0 THEN {shown} ELSE [NULL] END) AS {_ONE},
                    unnest(range(1, greatest(coalesce(len({shown}), 0), 1) + 1)) AS _part
                FROM ({rows}))"""


def exploding_of(table: TableSettings) -> Exploding | None:
    """What `explode` says; None if it says nothing."""
    if not table.explode:
        return None
    ((shown, how),) = table.explode.items()
    pattern = re.fullmatch(r"id(.+)label", how)
    return Exploding(shown=shown, joiner=pattern[1] if pattern else None, clicked=None if pattern else how)

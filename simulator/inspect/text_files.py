"""How a text file is written: what separates its values, whether they are quoted, and whether a line names them."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pkb.errors import DataError
from simulator.stream.packed import opened
from simulator.stream.seen import USUAL

SEPARATORS = {",": ",", "\t": r"\t", ";": ";", "|": "|", "\x01": r"\x01", "::": "::", " ": " "}  # and how to write it
LIKELY = {"\t": 2, "\x01": 2, " ": 0}  # 2 in no value, 0 in many: lists and times of a tabbed file hold as many blanks
LINES = 500  # are looked at
LONGEST = 4_000_000  # bytes of them together
AGREE = 0.9  # of the lines must have the same number of values
NAME = r"[^\W\d].*"  # what names a column: it begins with a letter
NUMBER = r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?)?"  # or nothing
_STAND_IN = "\ufdd0"


@dataclass(frozen=True, kw_only=True)
class Written:
    """The settings of `stream.table` that say how a text file is written."""

    separator: str = ","  # as it is written in a setting: \\t is a tab
    quoting: str = "minimal"
    columns: tuple[str, ...] = ()  # names that stand for those of a header line, where there is none
    names: tuple[str, ...] = ()  # of the columns, in either case

    @property
    def meant(self) -> str:
        """The separator itself."""
        return next(meant for meant, separator in SEPARATORS.items() if separator == self.separator)


def written(file: Path) -> Written:
    """How this file is written; DataError if nothing separates its lines into values."""
    lines = _lines(file)
    if not lines:
        raise DataError(f"{file}: is empty")
    separator, quoted = _separator(file, lines)
    rows = [_split(line, separator, quoted) for line in lines]
    first, rest = rows[0], [row for row in rows[1:] if len(row) == len(rows[0])]
    header = _is_header(first, rest)
    names = tuple(first if header else (f"column{number}" for number in range(1, len(first) + 1)))
    return Written(
        separator=SEPARATORS[separator],
        quoting="minimal" if quoted else "none",
        columns=() if header else names,
        names=names,
    )


def _lines(file: Path) -> list[str]:
    try:
        with opened(file) as packed, io.BufferedReader(packed) as stream:
            held = stream.read(LONGEST)
        text = held.decode("utf-8-sig", errors="strict" if len(held) < LONGEST else "ignore")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable as text: {str(error).splitlines()[0]}") from None
    if "\0" in text:
        raise DataError(f"{file}: holds zero bytes, so it is no text; Parquet files end in .parquet or .pq")
    lines = re.split(r"\r\n|\n|\r", text)
    return [line for line in (lines if len(held) < LONGEST else lines[:-1]) if line][:LINES]


def _separator(file: Path, lines: Sequence[str]) -> tuple[str, bool]:
    """What separates the values, and whether some are quoted: where most lines agree, on most columns."""
    best: tuple[float, int, int, str, bool] | None = None
    for separator in SEPARATORS:
        for quoted in (True, False):
            counts = Counter(len(row) for row in (_split(line, separator, quoted) for line in lines) if row)
            columns, agreeing = counts.most_common(1)[0] if counts else (1, 0)
            share = agreeing / len(lines)
            if columns > 1 and share >= AGREE:
                found = round(share, 2), LIKELY.get(separator, 1), columns
                if best is None or found > best[:3]:
                    best = *found, separator, quoted
                break  # quotes are characters like any other only where they are out of place as quotes
    if best is None:
        tried = ", ".join(SEPARATORS.values())
        raise DataError(f"{file}: no separator cuts its lines into the same number of values; tried {tried}")
    return best[3], best[4]


def _split(line: str, separator: str, quoted: bool) -> list[str]:
    """The values of a line; none where a quote is out of place."""
    if not quoted or '"' not in line:
        return line.split(separator)
    cut = line.replace(separator, _STAND_IN)
    if not re.fullmatch(rf'(?:(?:"(?:[^"]|"")*"|[^{_STAND_IN}"]*)(?:{_STAND_IN}|$))+', cut):
        return []
    values = next(csv.reader([cut], delimiter=_STAND_IN), [])
    return [value.replace(_STAND_IN, separator) for value in values]


def _is_header(first: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether the first line names columns: above most columns of numbers stands a name, or above all columns does.

    The first may be empty, as that of pandas' row numbers is. A name stands nowhere else in its column.
    """
    if len(set(first)) < len(first) or any(
        name == value for row in rest for name, value in zip(first, row, strict=True)
    ):
        return False
    named = [bool(re.fullmatch(NAME, name.strip())) and name not in USUAL for name in first]
    numbers = [bool(rest) and all(re.fullmatch(NUMBER, row[place]) for row in rest) for place in range(len(first))]
    above = [is_name for is_name, is_number in zip(named, numbers, strict=True) if is_number]
    if above:
        return sum(above) > len(above) / 2
    return all(named[1:] if first[0] == "" else named)

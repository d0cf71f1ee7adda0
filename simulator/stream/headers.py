"""What the files of a table have: columns, rows, and the domain that they are of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.stream import raw
from simulator.stream.packed import line_ends
from simulator.stream.settings import BY_ROW, StreamSettings, TableSettings


def is_parquet(file: Path) -> bool:
    return file.suffix.lower() in raw.PARQUET


def meant(written: str) -> str:
    r"""A separator as it is meant: `\t`, `\x01`, `\001` and `\u0001` stand for the characters that they name."""
    code = r"\\(?:(t)|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([0-3][0-7]{2}))"
    return re.sub(code, lambda m: "\t" if m[1] else chr(int(m[2] or m[3] or m[4], 8 if m[4] else 16)), written)


def names_of(file: Path, table: TableSettings) -> list[str]:
    """The columns of a file."""
    if is_parquet(file):
        names: list[str] = raw.parquet_schema(file, ()).names
        return names
    return table.columns or raw.csv_header(file, meant(table.separator), table.quoting != "none")


def lacking(domain_of: Mapping[Path, str], table: TableSettings, columns: Sequence[str]) -> dict[Path, frozenset[str]]:
    """Of each file, those of `columns` that its domain does not have: they read as missing there.

    A domain has what any of its files has, and then they all must. What no domain has is lacking nowhere: an error.
    """
    had: dict[str, set[str]] = {}
    for file, domain in domain_of.items():
        had.setdefault(domain, set()).update(names_of(file, table))
    anywhere = set().union(*had.values())
    return {file: frozenset(anywhere.intersection(columns) - had[domain]) for file, domain in domain_of.items()}


def with_places(relations: Sequence[str], files: Sequence[Path], stream: StreamSettings) -> list[str]:
    """The relations with `_place`: the number of rows before one, in its file and in the files before it, or more."""
    before, placed = 0, []
    for relation, file in zip(relations, files, strict=True):
        if BY_ROW in names_of(file, stream.table):
            raise DataError(
                f"{file}: has a column {BY_ROW!r}, but stream.table.time={BY_ROW} is the place of a row in the files;"
                " rename the column"
            )
        placed.append(f"SELECT *, {before} + _row - 1 AS _place FROM ({relation})")
        before += pq.read_metadata(file).num_rows if is_parquet(file) else line_ends(file) + 1
    return placed

"""Raw files that are written whole, and changed in one row or column."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """Lines of values."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    separator: str = ","
    header: bool = True
    quotes: bool = True  # whether the format knows quoted values
    victim: int  # index in rows

    @property
    def line(self) -> int:
        """The victim's line number."""
        return self.victim + 1 + self.header

    def lines(self) -> list[str]:
        rows = [self.columns, *self.rows] if self.header else list(self.rows)
        return [self.separator.join(map(self._cell, row)) for row in rows]

    def _cell(self, value: str) -> str:
        if self.quotes and (self.separator in value or '"' in value):
            return '"' + value.replace('"', '""') + '"'
        return value

    def write(self, folder: Path) -> None:
        (folder / self.name).write_text("".join(line + "\n" for line in self.lines()), newline="")

    def with_line(self, line: bytes) -> bytes:
        """The file's bytes with `line` in place of the victim's."""
        lines = [text.encode() for text in self.lines()]
        lines[self.line - 1] = line
        return b"".join(line + b"\n" for line in lines)

    def with_value(self, column: str, value: str) -> TextFile:
        row = list(self.rows[self.victim])
        row[self.columns.index(column)] = value
        return replace(self, rows=(*self.rows[: self.victim], tuple(row), *self.rows[self.victim + 1 :]))

    def without_victim(self) -> TextFile:
        return replace(self, rows=self.rows[: self.victim] + self.rows[self.victim + 1 :])

    def before_victim(self) -> TextFile:
        return replace(self, rows=self.rows[: self.victim])


@dataclass(frozen=True, kw_only=True)
class ParquetFile:
    name: str
    schema: pa.Schema
    rows: tuple[dict[str, Any], ...]
    victim: int

    @property
    def line(self) -> int:
        """The victim's row number."""
        return self.victim + 1

    def table(self) -> pa.Table:
        return pa.Table.from_pylist(list(self.rows), schema=self.schema)

    def write(self, folder: Path) -> None:
        pq.write_table(self.table(), folder / self.name)

    def with_values(self, **values: Any) -> ParquetFile:
        rows = list(self.rows)
        rows[self.victim] = rows[self.victim] | values
        return replace(self, rows=tuple(rows))

    def without_victim(self) -> ParquetFile:
        return replace(self, rows=self.rows[: self.victim] + self.rows[self.victim + 1 :])


RawFile = TextFile | ParquetFile


@dataclass(frozen=True, kw_only=True)
class GoodLog:
    """The raw files of a log, of which the first holds the impressions."""

    name: str
    source: str
    files: tuple[RawFile, ...]
    stream: dict[str, Any] = field(default_factory=dict)
    has_negatives: bool = False  # drawn by row number, so they differ where a line is gone
    user: str = "user_id"

    def text_file(self, name: str) -> TextFile:
        (file,) = (file for file in self.files if file.name == name)
        assert isinstance(file, TextFile)
        return file

    def parquet_file(self, name: str) -> ParquetFile:
        (file,) = (file for file in self.files if file.name == name)
        assert isinstance(file, ParquetFile)
        return file

    def having(self, changed: RawFile) -> GoodLog:
        return replace(self, files=tuple(changed if file.name == changed.name else file for file in self.files))

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in self.files:
            file.write(folder)

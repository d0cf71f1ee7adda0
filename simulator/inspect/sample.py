"""Rows of a log as texts, whatever its format: all of them if they are few, else a seeded sample of whole stretches.

A stretch is kept whole, so that rows shown together stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pkb.cores import allowed_cores
from pkb.errors import DataError
from simulator.inspect.files import Found, estimated_rows, is_parquet
from simulator.inspect.text_files import Written
from simulator.stream import raw
from simulator.stream.id_texts import as_text
from simulator.stream.raw import is_list, parquet_schema

STRETCH = 500  # rows
SEED = 2024
MEMORY = "1GB"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the files say of themselves: the columns that all of them have, and what cannot be a column of a log."""

    names: tuple[str, ...]
    kinds: dict[str, tuple[str, ...]]  # the types of each in Parquet files, each once; none in text
    lists: frozenset[str]
    left_out: dict[str, str]  # columns that are none of `names`, and why


class Sample:
    """The sample in an engine: table `sample`, with a column c0, c1, ... for each of `shape.names`, texts or lists.

    Each scan of the table gives its rows in one order, that of the files.
    """

    def __init__(self, engine: duckdb.DuckDBPyConnection, shape: Shape) -> None:
        self._engine = engine
        self.shape = shape
        ((self.rows,),) = self.ask("SELECT count(*) FROM sample")

    def key(self, name: str) -> str:
        """The column of the table."""
        return f"c{self.shape.names.index(name)}"

    def ask(self, query: str) -> list[Any]:
        return self._engine.execute(query).fetchall()

    def arrow(self, query: str) -> pa.Table:
        return self._engine.sql(query).to_arrow_table()


def shape_of(found: Found, written: Written | None) -> Shape:
    """The columns of the files; DataError if one cannot be read."""
    schemas: list[pa.Schema] = []
    of_files: list[Sequence[str]] = []
    for path in found.paths:
        if is_parquet(path):
            schemas.append(parquet_schema(path, ()))
            of_files.append(schemas[-1].names)
        else:
            assert written is not None
            of_files.append(written.names if written.columns else raw.csv_header(path, *_separated(written)))
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(name for names in of_files for name in names):
        lacking = [path for path, names in zip(found.paths, of_files, strict=True) if name not in names]
        if lacking:
            left_out[name] = f"{lacking[0].name} has no such column"
        elif any(list(names).count(name) > 1 for names in of_files):
            left_out[name] = "stands there twice; rename one"
        elif any(name != other and name.lower() == other.lower() for other in of_files[0]):
            left_out[name] = "differs from another column in capitals only; rename one"
        elif not name:
            left_out[name] = "has no name"
    names = [name for name in of_files[0] if name not in left_out]
    kinds = {name: tuple(dict.fromkeys(str(s.field(name).type) for s in schemas)) for name in names}
    lists = frozenset(name for name in names if any(is_list(s.field(name).type) for s in schemas))
    for name in list(names):
        of_type = [schema.field(name).type for schema in schemas]
        if any(pa.types.is_nested(kind.value_type if is_list(kind) else kind) for kind in of_type):
            left_out[name] = f"is {kinds[name][0]}; a row must hold one value, or a list of values"
        elif name in lists and not all(is_list(kind) for kind in of_type):
            left_out[name] = "is a list in some files and none in others"
    names = [name for name in names if name not in left_out]
    return Shape(names=tuple(names), kinds=kinds, lists=lists & set(names), left_out=left_out)


@contextmanager
def sampled(found: Found, written: Written | None, rows: int, folder: Path) -> Iterator[Sample]:
    """About so many rows of the files, for as long as the block lasts; the engine works in `folder`."""
    shape = shape_of(found, written)
    one_in = max(1, estimated_rows(found.paths) // rows)
    relation = raw.union(_relation(path, found, written, shape) for path in found.paths)
    engine = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": MEMORY,
            "temp_directory": str(folder / "spill"),
            "threads": str(allowed_cores()),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    try:
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute("SET enable_progress_bar = false")
        try:
            engine.execute(f"CREATE TABLE sample AS SELECT * FROM ({relation}) WHERE {is_sampled(one_in)}")
        except duckdb.Error as error:
            raise DataError(f"{found.root}: {str(error).splitlines()[0]}") from None
        yield Sample(engine, shape)
    finally:
        engine.close()


def is_sampled(one_in: int) -> str:
    """Expression: whether the stretch of `_file` and `_row` is in the sample; the first of each file always is."""
    if one_in == 1:
        return "true"
    stretch = f"(_row - 1) // {STRETCH}"
    return f"({stretch} = 0 OR md5_number_lower(concat_ws(' ', {SEED}, _file, {stretch})) % {one_in} = 0)"


def _relation(path: Path, found: Found, written: Written | None, shape: Shape) -> str:
    if is_parquet(path):
        schema = parquet_schema(path, ())

        def value(name: str) -> str:
            kind, quoted = schema.field(name).type, raw.name(name)
            if is_list(kind):
                return f"list_transform({quoted}, lambda one: {as_text('one', kind.value_type)})"
            return as_text(quoted, kind)

        columns = ", ".join(f"{value(name)} AS c{number}" for number, name in enumerate(shape.names))
        return raw.parquet(path, found.root, columns)
    assert written is not None
    separator, quoted = _separated(written)
    alias = {name: f"c{number}" for number, name in enumerate(shape.names)}
    rows = raw.separated(
        path, found.root, shape.names, separator=separator, header=written.columns or None, quoted=quoted, alias=alias
    )
    columns = ", ".join(alias.values())
    return f"SELECT _file, _row, {columns} FROM ({rows}) WHERE _defect IS NULL"


def _separated(written: Written) -> tuple[str, bool]:
    return written.meant, written.quoting != "none"

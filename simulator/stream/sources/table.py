"""Anybody's Parquet or CSV files, described by `stream.table`.

A file is Parquet if its name ends in .parquet or .pq. Any other is CSV with a header line; values may be
quoted but hold no line break. A history is a list column, or a text: joined by `list_separator`, or as Python, JSON
or SQL write a list.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pkb.batch import Field, History, Role, Schema
from pkb.errors import DataError, SettingError
from simulator.stream import joined as joined_lists
from simulator.stream import raw
from simulator.stream.numbers import as_text, require_exact
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings, TableSettings
from simulator.stream.times import UNITS, TimeRule

ABSENT = "holds no file that matches stream.table.files={files!r}: set both to where your log is"
SHAPED_BY: tuple[str, ...] = ("table",)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return raw.matching_files(stream.root, stream.table.files)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    table = stream.table
    schema = _schema(table)
    roles = [table.time, *schema.labels, *([table.request] if table.request else [])]
    columns = list(dict.fromkeys([*roles, *schema.names, *table.histories]))
    alias = {column: f"c{number}" for number, column in enumerate(columns)}
    relation = raw.union((_parquet if file.suffix in raw.PARQUET else _csv)(file, stream, alias) for file in files)
    rule = TimeRule(
        column=table.time,
        unit=table.time_unit,
        format=table.time_format,
        first_year=table.first_year,
        last_year=table.last_year,
    )
    return RawLog(
        source="table",
        schema=schema,
        root=Path(stream.root),
        relation=relation,
        time=alias[table.time],
        time_rule=rule,
        ts=rule.seconds(alias[table.time]),
        label=alias[table.label],
        further_labels={name: alias[name] for name in table.further_labels},
        request=alias[table.request] if table.request else None,
        values={column: alias[column] for column in [*schema.names, *table.histories]},
        defect="_defect",
        missing=("", *table.missing),
    )


def _schema(table: TableSettings) -> Schema:
    for key in ("time", "label", "user", "item"):
        if not getattr(table, key):
            raise SettingError(f"stream.table.{key}: is empty; name the column of your log that holds it")
    if table.time_unit not in UNITS:
        raise SettingError(f"stream.table.time_unit={table.time_unit}: is none of {', '.join(UNITS)}")
    if len(table.separator) != 1:
        raise SettingError(f"stream.table.separator={table.separator!r}: must be one character")
    roles: dict[Role, list[str]] = {
        "user": table.user,
        "item": table.item,
        "context": table.context,
        "scenario": table.scenario,
    }
    return Schema(
        fields=tuple(Field(name=name, role=role) for role, names in roles.items() for name in names),
        user=table.user[0],
        item=table.item[0],
        histories=tuple(History(name=name, field=field) for name, field in table.histories.items()),
        labels=(table.label, *table.further_labels),
        has_request=table.request is not None,
    )


def _parquet(file: Path, stream: StreamSettings, alias: dict[str, str]) -> str:
    table = stream.table
    schema = raw.parquet_schema(file, list(alias))
    labels = (table.label, *table.further_labels)
    require_exact(file, schema, [column for column in alias if column not in (*labels, table.time)])

    def value(column: str) -> str:
        kind, quoted = schema.field(column).type, raw.name(column)
        if pa.types.is_boolean(kind) and column in labels:
            return f"CAST(CAST({quoted} AS TINYINT) AS VARCHAR)"
        is_list = raw.is_list(kind) and column in table.histories
        inner = kind.value_type if is_list else kind
        if pa.types.is_nested(inner):
            holds = "a list of plain values" if column in table.histories else "one value"
            raise DataError(f"{file}: column {column!r} is {kind}, each of its rows must hold {holds}")
        if column in labels:
            return f"CAST({quoted} AS VARCHAR)"
        if is_list:
            return f"list_transform({quoted}, lambda one: {as_text('one', inner)})"
        return as_text(quoted, kind)

    selected = _selected(table, alias, {column: value(column) for column in alias}, schema)
    columns = ", ".join(alias.values())
    rows = raw.parquet(file, Path(stream.root), selected)
    return f"SELECT _file, _row, _part, {columns}, _defect FROM ({rows})"


def _csv(file: Path, stream: StreamSettings, alias: dict[str, str]) -> str:
    selected = _selected(stream.table, alias, {column: raw.name(column) for column in alias})
    rows = raw.separated(file, Path(stream.root), list(alias), separator=stream.table.separator)
    return f"SELECT _file, _row, _part, {selected} FROM ({rows})"


def _selected(
    table: TableSettings, alias: dict[str, str], values: dict[str, str], schema: pa.Schema | None = None
) -> str:
    """A text for each value, a list for each history, which a file may hold as a text, and what is wrong with these."""
    joined = [h for h in table.histories if schema is None or not raw.is_list(schema.field(h).type)]
    lists = {h: joined_lists.split(values[h], table.list_separator, table.missing) for h in joined}
    columns = [f"{(values | lists)[column]} AS {short}" for column, short in alias.items()]
    defects = [joined_lists.defect(h, values[h], table.list_separator) for h in joined]
    known = ["_defect"] if schema is None else []
    return ", ".join([*columns, f"coalesce({', '.join([*known, *defects, 'NULL'])}) AS _defect"])

"""Anybody's Parquet or CSV files, described by `stream.table`.

A file is Parquet if its name ends in .parquet or .pq. Any other is CSV with a header line; values may be
quoted but hold no line break. A history is a list column, or a text joined by `list_separator`.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from pkb.batch import Field, History, Role, Schema
from pkb.errors import DataError, SettingError
from simulator.stream import raw
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings, TableSettings

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
    time = alias[table.time]
    return RawLog(
        source="table",
        schema=schema,
        root=Path(stream.root),
        relation=relation,
        time=time,
        ts=f"coalesce({raw.whole_seconds(time, table.time_unit)}, {raw.seconds_of_timestamp(time)})",
        label=alias[table.label],
        further_labels={name: alias[name] for name in table.further_labels},
        request=alias[table.request] if table.request else None,
        values={column: alias[column] for column in [*schema.names, *table.histories]},
        defect="_defect",
    )


def _schema(table: TableSettings) -> Schema:
    for key in ("time", "label", "user", "item"):
        if not getattr(table, key):
            raise SettingError(f"stream.table.{key}: is empty; name the column of your log that holds it")
    if table.time_unit not in raw.UNITS:
        raise SettingError(f"stream.table.time_unit={table.time_unit}: is none of {', '.join(raw.UNITS)}")
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
    schema = raw.parquet_schema(file, list(alias))
    labels = (stream.table.label, *stream.table.further_labels)

    def value(column: str) -> str:
        kind, quoted = schema.field(column).type, raw.name(column)
        if pa.types.is_boolean(kind) and column in labels:
            return f"CAST(CAST({quoted} AS TINYINT) AS VARCHAR)"
        is_list = raw.is_list(kind) and column in stream.table.histories
        if pa.types.is_nested(kind.value_type if is_list else kind):
            holds = "a list of plain values" if column in stream.table.histories else "one value"
            raise DataError(f"{file}: column {column!r} is {kind}, each of its rows must hold {holds}")
        if column not in stream.table.histories:
            return f"CAST({quoted} AS VARCHAR)"
        if is_list:
            return f"CAST({quoted} AS VARCHAR[])"
        return raw.split_list(f"CAST({quoted} AS VARCHAR)", stream.table.list_separator)

    selected = ", ".join(f"{value(column)} AS {short}" for column, short in alias.items())
    return f"SELECT *, NULL AS _defect FROM ({raw.parquet(file, Path(stream.root), selected)})"


def _csv(file: Path, stream: StreamSettings, alias: dict[str, str]) -> str:
    table = stream.table

    def value(column: str) -> str:
        quoted = raw.name(column)
        return raw.split_list(quoted, table.list_separator) if column in table.histories else quoted

    selected = ", ".join(f"{value(column)} AS {short}" for column, short in alias.items())
    rows = raw.separated(file, Path(stream.root), list(alias), separator=table.separator)
    return f"SELECT _file, _row, _part, {selected}, _defect FROM ({rows})"

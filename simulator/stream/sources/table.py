"""Anybody's Parquet or CSV files, described by `stream.table`.

A file is Parquet if its name ends in .parquet or .pq. Any other is CSV with a header line, unless `columns` names its
columns, and may be packed (.gz, .zst); values may be quoted but hold no line break. Histories, lists and vectors are
list columns, or texts: joined by `list_separator`, or as Python, JSON or SQL write a list. Where there is no time, the
place of a row in its file, and of the file among the files in the order of their names, stands for it (`time: row`). A
numeric field is a column of numbers, booleans or texts of numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from pkb.batch import Field, History, Role, Schema
from pkb.errors import DataError, SettingError
from pkb.numbers import Number
from pkb.vectors import Vector
from simulator.stream import joined as joined_lists
from simulator.stream import raw
from simulator.stream.crossing import crossed, name_of_crossing, scenario_fields
from simulator.stream.exploding import ELEMENT, LABEL, REQUEST, exploding_of
from simulator.stream.headers import is_parquet, lacking, meant, with_places
from simulator.stream.id_texts import as_text, require_exact
from simulator.stream.matching import domains_of, matching_files
from simulator.stream.packed import refuse_packed
from simulator.stream.raw import RawLog
from simulator.stream.settings import BY_ROW, StreamSettings, TableSettings
from simulator.stream.times import UNITS, TimeRule

ABSENT = "holds no file that matches stream.table.files={files!r}: set both to where your log is"
SHAPED_BY: tuple[str, ...] = ("table",)
DOMAIN = "domain"  # field of the domain, where `files` names several
FIRST_ROW = 946_684_800  # the time of the first row of files without times, 2000-01-01: a row is a second


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching_files(stream)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    table = stream.table
    schema = _schema(stream)
    refuse_packed(files)
    by_row = table.time == BY_ROW
    times = [name for name in (table.time, table.label_time, table.weight) if name and not by_row]
    roles = [*times, *schema.labels, *([table.request] if table.request else [])]
    if table.weight:
        roles.append(table.weight)
    domain_of = domains_of(stream)
    added = {name_of_crossing(table), *([DOMAIN] if domain_of else [])}  # fields that are no column
    named = [name for name in schema.names if name not in added]
    columns = dict.fromkeys([*roles, *named, *table.histories])
    exploding = exploding_of(table)
    of_elements = {} if exploding is None else {schema.item: ELEMENT, table.label: LABEL}
    if exploding is not None:
        columns = dict.fromkeys([*(name for name in columns if name not in of_elements), *exploding.columns])
    alias = {column: f"c{number}" for number, column in enumerate(columns)}
    optional = [*schema.names, *table.histories, *table.further_labels]
    absent = lacking(domain_of, table, [column for column in optional if column in alias and column != schema.user])
    relations = []
    for file in files:
        here = {column: short for column, short in alias.items() if column not in absent.get(file, ())}
        rows = (_parquet if is_parquet(file) else _csv)(file, stream, here)
        of = [f"{raw.text(domain_of[file])} AS {DOMAIN}"] if domain_of else []
        relations.append(f"SELECT {', '.join(['*', *of])} FROM ({rows})")
    if exploding is not None:
        relations = [exploding.relation(rows, number, alias) for number, rows in enumerate(relations)]
    alias |= of_elements | crossed(table, alias) | ({DOMAIN: DOMAIN} if domain_of else {})
    request = alias[table.request] if table.request else REQUEST if exploding is not None else None
    if by_row:
        relations = with_places(relations, files, stream)
    relation = raw.union(relations)
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
        time="_place" if by_row else alias[table.time],
        time_rule=None if by_row else rule,
        ts=f"{FIRST_ROW} + _place" if by_row else rule.seconds(alias[table.time]),
        label=alias[table.label],
        weight=alias[table.weight] if table.weight else None,
        label_time=alias[table.label_time] if table.label_time else None,
        label_ts=rule.seconds(alias[table.label_time]) if table.label_time else None,
        further_labels={name: alias[name] for name in table.further_labels},
        request=request,
        values={column: alias[column] for column in [*schema.names, *table.histories]},
        defect="_defect",
        missing=("", *table.missing),
    )


def _schema(stream: StreamSettings) -> Schema:
    table = stream.table
    for key in ("time", "label", "user", "item"):
        if not getattr(table, key):
            more = {"time": ", or write row for a log without times", "user": "; sessions or devices may be users"}
            raise SettingError(
                f"stream.table.{key}: is empty; name the column of your log that holds it{more.get(key, '')}"
            )
    if table.time_unit not in UNITS:
        raise SettingError(f"stream.table.time_unit={table.time_unit}: is none of {', '.join(UNITS)}")
    for key in ("separator", "list_separator"):
        says = meant(getattr(table, key))
        if not says or set(says) & set("\r\n\0") or (key == "separator" and '"' in says):
            raise SettingError(f"stream.table.{key}={getattr(table, key)!r}: must be text without line ends and quotes")
    roles: dict[Role, list[str]] = {
        "user": table.user,
        "item": table.item,
        "context": table.context,
        "scenario": scenario_fields(table),
    }
    if isinstance(table.files, dict):
        held = {*(name for names in roles.values() for name in names), *table.numeric, *table.lists, *table.vectors}
        if DOMAIN in {*held, *table.histories, *table.further_labels, table.label}:
            raise SettingError(
                f"stream.table.files: names the domains of its files, which become the field {DOMAIN}; call the column "
                "of this name otherwise, or list the files"
            )
    others = [("lists", table.lists), ("numeric", table.numeric), ("vectors", list(table.vectors))]
    places = _places([*roles.items(), *others])
    _refuse_exploded(table, places)
    number = Number(encoding=stream.numbers.encoding)
    return Schema(
        fields=(
            *(Field(name=name, role=role) for role, names in roles.items() for name in names),
            *([Field(name=DOMAIN, role="context")] if isinstance(table.files, dict) else []),
            *(Field(name=name, role="context", pooling=stream.lists.pooling) for name in table.lists),
            *(Field(name=name, role="context", number=number) for name in table.numeric),
            *(Field(name=name, role="context", vector=Vector(length=n)) for name, n in table.vectors.items()),
        ),
        user=table.user[0],
        item=table.item[0],
        histories=tuple(History(name=name, field=field) for name, field in table.histories.items()),
        labels=(table.label, *table.further_labels),
        has_request=table.request is not None or bool(table.explode),
        has_label_time=table.label_time is not None,
        has_weight=table.weight is not None,
    )


def _places(named: Sequence[tuple[str, Sequence[str]]]) -> dict[str, str]:
    """The setting that names each field; SettingError if a field is named twice."""
    places: dict[str, str] = {}
    for key, columns in named:
        for name in columns:
            if name in places:
                where = "there twice" if places[name] == key else f"under stream.table.{places[name]}, too"
                raise SettingError(f"stream.table.{key}: {name} stands {where}; name it once, where it is to be read")
            places[name] = key
    return places


def _refuse_exploded(table: TableSettings, places: dict[str, str]) -> None:
    """SettingError if a column that is exploded stands for anything else than the item."""
    exploding = exploding_of(table)
    if exploding is None:
        return
    singles = ("label", "time", "label_time", "weight", "request")
    held = places | dict.fromkeys(table.further_labels, "further_labels") | dict.fromkeys(table.histories, "histories")
    held |= {getattr(table, key): key for key in singles}
    del held[table.item[0]]
    for column in exploding.columns:
        if held.get(column) == "label":
            raise SettingError(
                f"stream.table.label: {column} is a column of stream.table.explode; give the label of its elements"
                " another name, such as click"
            )
        if column in held:
            raise SettingError(
                f"stream.table.{held[column]}: {column} is a column of stream.table.explode, whose elements become"
                " rows, and has no other role; leave it out here"
            )


def _lists(table: TableSettings) -> dict[str, joined_lists.Split]:
    """The columns that hold lists, and how a text of each is split."""
    splits: dict[str, joined_lists.Split] = dict.fromkeys(
        [*table.histories, *table.lists, *table.vectors], joined_lists.split
    )
    if exploding := exploding_of(table):
        splits |= dict.fromkeys(exploding.columns, exploding.split)
    return splits


def _parquet(file: Path, stream: StreamSettings, alias: dict[str, str]) -> str:
    table = stream.table
    schema = raw.parquet_schema(file, list(alias))
    labels = (table.label, *table.further_labels)
    no_ids = (*labels, *table.numeric, *table.vectors, table.time, table.label_time, table.weight)
    require_exact(file, schema, [column for column in alias if column not in no_ids])

    def value(column: str) -> str:
        kind, quoted = schema.field(column).type, raw.name(column)
        if pa.types.is_boolean(kind) and column in (*labels, table.weight):
            return f"CAST(CAST({quoted} AS TINYINT) AS VARCHAR)"
        is_list = raw.is_list(kind) and column in _lists(table)
        inner = kind.value_type if is_list else kind
        if pa.types.is_nested(inner):
            holds = "a list of plain values" if column in _lists(table) else "one value"
            raise DataError(f"{file}: column {column!r} is {kind}, each of its rows must hold {holds}")
        if column in table.vectors and is_list and _is_number(file, column, inner):
            return quoted
        if column in table.numeric and _is_number(file, column, kind):
            return f"CAST({quoted} AS DOUBLE)"
        if column in labels:
            return f"CAST({quoted} AS VARCHAR)"
        if is_list:
            return f"list_transform({quoted}, lambda one: {as_text('one', inner)})"
        return as_text(quoted, kind)

    selected = _selected(table, alias, {column: value(column) for column in alias}, schema)
    columns = ", ".join(alias.values())
    rows = raw.parquet(file, Path(stream.root), selected)
    return f"SELECT _file, _row, _part, {columns}, _defect FROM ({rows})"


def _is_number(file: Path, column: str, kind: pa.DataType) -> bool:
    """Whether the column holds numbers or booleans, else texts; DataError if it holds anything else."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return True
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return False
    raise DataError(
        f"{file}: column {column!r} is {kind}, numeric and vectors of stream.table take numbers, booleans and texts"
    )


def _csv(file: Path, stream: StreamSettings, alias: dict[str, str]) -> str:
    table = stream.table

    def value(column: str) -> str:
        short = alias[column]
        if column in (table.label, *table.further_labels, table.weight):
            return f"CASE lower({short}) WHEN 'true' THEN '1' WHEN 'false' THEN '0' ELSE {short} END"
        return short

    selected = _selected(table, alias, {column: value(column) for column in alias})
    separator, quoted = meant(table.separator), table.quoting != "none"
    header = table.columns or raw.csv_header(file, separator, quoted)
    try:
        raw.require_columns(file, header, list(alias))
    except DataError as error:
        if set(header) & set(alias) or not header:
            raise
        remedy = "where there is no header line, name them in stream.table.columns; else look at stream.table.separator"
        raise DataError(f"{error}; {remedy}") from None
    rows = raw.separated(
        file,
        Path(stream.root),
        list(alias),
        separator=separator,
        header=table.columns or None,
        quoted=quoted,
        alias=alias,
    )
    return f"SELECT _file, _row, _part, {selected} FROM ({rows})"


def _selected(
    table: TableSettings, alias: dict[str, str], values: dict[str, str], schema: pa.Schema | None = None
) -> str:
    """A text for each value, a list for each column of lists, texts among them, and what is wrong with these."""
    separator = meant(table.list_separator)
    splits = _lists(table)
    here = [name for name in splits if name in alias]
    joined = [name for name in here if schema is None or not raw.is_list(schema.field(name).type)]
    lists = {name: splits[name](values[name], separator, table.missing) for name in joined}
    columns = [f"{(values | lists)[column]} AS {short}" for column, short in alias.items()]
    defects = [joined_lists.defect(h, values[h], separator) for h in joined]
    known = ["_defect"] if schema is None else []
    return ", ".join([*columns, f"coalesce({', '.join([*known, *defects, 'NULL'])}) AS _defect"])

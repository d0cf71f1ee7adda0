"""What a source says about its raw files, and the SQL that several sources share.

A source describes rows; `staging.py` reads, checks and sorts them. Every value is looked at as text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pkb.batch import Schema
from pkb.errors import DataError
from simulator.stream.packed import opened
from simulator.stream.times import TimeRule

PARQUET = (".parquet", ".pq")  # how the names of such files end
RESERVED = ("row_id", "ts", "label_ts", "request_id", "p_true", "row_weight")  # columns of the log itself
_STAND_IN = "\ufdd0"  # a code point that Unicode keeps out of texts


@dataclass(frozen=True, kw_only=True)
class RawLog:
    """Raw files as a relation, and one SQL expression over it for each thing that the log holds.

    The relation has a row per impression, with columns `_file` (name), `_row` (1-based line or row number
    in that file) and `_part` (place of the impression within that row). Expressions must not raise on bad
    input: they give null (`TRY_CAST`), and the row is set aside.
    """

    source: str
    schema: Schema
    root: Path  # folder that file names are relative to
    relation: str
    time: str  # as it stands, for messages
    ts: str  # in whole seconds, null where `time` does not parse
    label: str
    values: dict[str, str]  # of each field, and of each history (a list, oldest first); lists and vectors are lists
    label_time: str | None = None  # of a positive, when its label arrived, as it stands, for messages
    label_ts: str | None = None  # the same in whole seconds; None where labels have no times of their own
    further_labels: dict[str, str] = field(default_factory=dict)  # of each label behind the first: 0, 1 or missing
    request: str | None = None
    p_true: str | None = None
    weight: str | None = None
    defect: str = "NULL"  # what is wrong with the row, or null
    left_out: str | None = None  # why a row is no part of the log and not counted, though nothing is wrong with it
    missing: tuple[str, ...] = field(default=("",))  # texts that mean a missing value, beside null
    time_rule: TimeRule | None = None  # of a table, of which nobody knows what its values mean but who wrote settings
    files: tuple[Path, ...] = ()  # for messages

    def __post_init__(self) -> None:
        schema = self.schema
        columns = [*schema.names, *(h.name for h in schema.histories)]
        assert list(self.values) == columns, f"{list(self.values)} must be the schema's {columns}"
        assert list(self.further_labels) == list(schema.labels[1:])
        for name in [*columns, *schema.labels]:
            if name in RESERVED:
                raise DataError(f"column {name}: the log has a column of its own by this name; rename it")


def pooled_by(schema: Schema, pooling: str) -> Schema:
    """The schema, whose fields that are lists are pooled so."""
    fields = [f if f.pooling is None else replace(f, pooling=pooling) for f in schema.fields]
    return replace(schema, fields=tuple(fields))


def union(relations: Iterable[str]) -> str:
    return " UNION ALL BY NAME ".join(relations)  # files of two formats order them differently


def name(column: str) -> str:
    """A quoted identifier."""
    return '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Quoted strings, each once."""
    return ", ".join(map(text, dict.fromkeys(values)))


def path(file: Path) -> str:
    """A quoted file name in which no character is a wildcard."""
    return text("".join(f"[{c}]" if c in "*?[" else c for c in str(file)))


def shown(file: Path, root: Path) -> str:
    """How a file is called in rejects and messages; one that lies elsewhere, by its whole path."""
    return str(file.relative_to(root) if file.is_relative_to(root) else file)


def parquet(file: Path, root: Path, selected: str = "*") -> str:
    """Relation of a Parquet file: its columns, or what is `selected` of them, and the columns every relation has."""
    return (
        f"SELECT {selected}, {text(shown(file, root))} AS _file, file_row_number + 1 AS _row, 1 AS _part"
        f" FROM read_parquet({path(file)}, file_row_number=true, hive_partitioning=false)"
    )


def lines(file: Path, root: Path) -> str:
    """Relation of a text file: `line`, and the columns every relation has.

    The reader gets a delimiter that no text holds, so that a line of any form stays one row and row numbers
    are line numbers. Lines that are not UTF-8 land in the reader's table of rejects.
    """
    return (
        f"SELECT coalesce(line, '') AS line, {text(shown(file, root))} AS _file,"
        " row_number() OVER () AS _row, 1 AS _part"
        f" FROM read_csv({path(file)}, columns={{'line': 'VARCHAR'}}, delim='\x01\x02\x03\x04', quote='', escape='',"
        " header=false, auto_detect=false, store_rejects=true, max_line_size=16000000, hive_partitioning=false)"
    )


def separated(
    file: Path,
    root: Path,
    columns: Sequence[str],
    *,
    separator: str = ",",
    header: Sequence[str] | None = None,
    quoted: bool = True,
    alias: Mapping[str, str] | None = None,
) -> str:
    """Relation of a CSV file: `columns` as texts, `_defect`, and the columns every relation has.

    The file's first line names its columns unless `header` does. Values may be `quoted` but hold no line break. The
    relation calls a column by its `alias`, if it has one: names of anybody's may be those that every relation has, or
    differ in capitals only. DataError if one of `columns` is not there.
    """
    present = csv_header(file, separator, quoted) if header is None else header
    require_columns(file, present, columns)
    called = {column: column for column in columns} | dict(alias or {})
    selected = ", ".join(f"parts[{present.index(column) + 1}] AS {name(called[column])}" for column in columns)
    again = " AND ".join(f"parts[{present.index(column) + 1}] = {text(column)}" for column in columns)
    return f"""
        SELECT _file, _row, _part, {selected}, CASE
            WHEN _row > 1 AND {again} THEN 'the header again'
            WHEN parts IS NULL THEN 'a quote is out of place'
            WHEN len(parts) <> {len(present)} THEN '{len(present)} columns expected, ' || len(parts) || ' found'
        END AS _defect
        FROM (SELECT *, {split_csv("line", separator, quoted)} AS parts
              FROM ({lines(file, root)}) {"WHERE _row > 1" if header is None else ""})"""


def csv_header(file: Path, separator: str, quoted: bool = True) -> list[str]:
    """The names in the first line; DataError if it is not readable."""
    try:
        with opened(file) as stream:
            line = io.BufferedReader(stream).readline(16_000_000).partition(b"\r")[0]  # of old Macs
        if b"\0" in line:
            raise DataError(f"{file}: its header is not readable: it holds zero bytes, so it is no text in UTF-8")
        text = line.decode("utf-8-sig").removesuffix("\n")
        if not quoted:
            return text.split(separator)
        names = next(csv.reader([text.replace(separator, _STAND_IN)], delimiter=_STAND_IN), [])
        return [name.replace(_STAND_IN, separator) for name in names]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: its header is not readable: {error}") from None


def checked(relation: str, *defects: str) -> str:
    """The relation, its `_defect` being the first that is not null of its own and these expressions."""
    return f"SELECT * REPLACE (coalesce(_defect, {', '.join(defects)}) AS _defect) FROM ({relation})"


def unrepeated(relation: str, key: str) -> str:
    """The relation, in which a good row with the key of an earlier good one has a defect."""
    return f"""
        SELECT * REPLACE (CASE
            WHEN _defect IS NULL
                AND row_number() OVER (PARTITION BY _defect IS NULL, {name(key)} ORDER BY _file, _row) > 1
            THEN {text(key)} || ' ' || {quoted(name(key))} || ' is repeated'
            ELSE _defect END AS _defect)
        FROM ({relation})"""


def bad_rows(relation: str) -> str:
    """The rows of a joined relation that have a defect, to be set aside beside those of the log."""
    return f"SELECT _file, _row, _part, _defect FROM {relation} WHERE _defect IS NOT NULL"


def quoted(value: str) -> str:
    """Expression: a text as messages show it, in quotes, on one line and not too long."""
    return f"'''' || regexp_replace(left({value}, 40), '[[:cntrl:]]', '?', 'g') || ''''"


def not_among(value: str, allowed: Sequence[str]) -> str:
    """Expression: a defect of the text column `value`, null if it is one of `allowed`."""
    return f"""CASE WHEN {name(value)} NOT IN ({texts(allowed)})
        THEN {text(value)} || ' ' || {quoted(name(value))} || ' is none of {", ".join(allowed)}' END"""


def split_list(joined: str, separator: str) -> str:
    """A list from a text; an empty text is an empty list."""
    return f"CASE WHEN {joined} = '' THEN [] ELSE string_split({joined}, {text(separator)}) END"


def split_csv(line: str, separator: str, quoted: bool = True) -> str:
    """The values of a line in which some may be quoted; null if a quote is out of place.

    One character that no text holds stands in for a separator of several ones, which no class of characters excludes.
    """
    apart = f"string_split({line}, {text(separator)})"
    if not quoted:
        return apart
    cut = separator if len(separator) == 1 else _STAND_IN
    one, held = f"\\x{{{ord(cut):x}}}", "value"
    joined = f"{text(cut)} || {line}"
    if len(separator) > 1:
        joined = f"{text(cut)} || replace({line}, {text(separator)}, {text(cut)})"
        held = f"replace(value, {text(cut)}, {text(separator)})"
    value = f'"(?:[^"]|"")*"|[^{one}"]*'
    return f"""CASE
        WHEN NOT contains({line}, '"') THEN {apart}
        WHEN regexp_full_match({joined}, '(?:{one}(?:{value}))+') THEN list_transform(list_transform(
            regexp_extract_all({joined}, '{one}({value})', 1),
            lambda value: CASE WHEN starts_with(value, '"') THEN replace(value[2:-2], '""', '"') ELSE value END),
            lambda value: {held})
    END"""


def require_columns(file: Path, present: Sequence[str], needed: Sequence[str]) -> None:
    """DataError unless every one of `needed` stands once in `present`."""
    for column in needed:
        if column not in present:
            raise DataError(f"{file}: no column {column!r}; {_there_are(present)}")
        if present.count(column) > 1:
            raise DataError(f"{file}: column {column!r} stands there twice; rename or drop one")


def _there_are(columns: Sequence[str]) -> str:
    """The names on one line, which may be as long as a line of garbage."""
    names = "".join(c if c.isprintable() else "?" for c in ", ".join(columns))
    return f"there are {names if len(names) <= 1_000 else names[:1_000] + '...'}" if names else "the file is empty"


def parquet_schema(file: Path, needed: Sequence[str]) -> pa.Schema:
    """Names and types of the columns; DataError if one of `needed` is not there or cannot be told from another."""
    try:
        schema = pq.read_schema(file)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as Parquet: {str(error).splitlines()[0]}") from None
    require_columns(file, schema.names, needed)
    for column in schema.names:
        if column.lower() == "file_row_number":  # the reader's own name for it
            raise DataError(f"{file}: column {column!r} has a name that is taken; rename or drop it")
        if alike := [one for one in needed if one != column and one.lower() == column.lower()]:
            raise DataError(f"{file}: columns {alike[0]!r} and {column!r} differ in capitals only; rename or drop one")
    return schema


def is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def require_types(file: Path, schema: pa.Schema, wanted: Mapping[str, str]) -> None:
    """DataError unless the columns have these types, as `_type_name` calls them."""
    for column, name in wanted.items():
        kind = schema.field(column).type
        if _type_name(kind) != name:
            raise DataError(f"{file}: column {column!r} is {kind}, must be {name}")


def _type_name(kind: pa.DataType) -> str:
    if is_list(kind):
        return f"list of {_type_name(kind.value_type)}"
    if pa.types.is_integer(kind):
        return "integer"
    return "timestamp without zone" if pa.types.is_timestamp(kind) and kind.tz is None else str(kind)

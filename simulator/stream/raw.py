"""What a source says about its raw files, and the SQL that several sources share.

A source describes rows; `staging.py` reads, checks and sorts them. Every value is looked at as text.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from pkb.batch import Schema
from pkb.errors import DataError

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000}  # per second
RESERVED = ("row_id", "ts", "request_id", "p_true")  # columns of the log itself


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
    values: dict[str, str]  # of each field, and of each history (a list, oldest first)
    request: str | None = None
    p_true: str | None = None
    defect: str = "NULL"  # what is wrong with the row, or null
    left_out: str | None = None  # why a row is no part of the log and not counted, though nothing is wrong with it
    missing: tuple[str, ...] = field(default=("",))  # texts that mean a missing value, beside null

    def __post_init__(self) -> None:
        schema = self.schema
        columns = [*schema.names, *(h.name for h in schema.histories)]
        assert list(self.values) == columns, f"{list(self.values)} must be the schema's {columns}"
        for name in [*columns, *schema.labels]:
            if name in RESERVED:
                raise DataError(f"column {name}: the log has a column of its own by this name; rename it")


def union(relations: Iterable[str]) -> str:
    return " UNION ALL ".join(relations)


def name(column: str) -> str:
    """A quoted identifier."""
    return '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("'", "''") + "'"


def path(file: Path) -> str:
    """A quoted file name in which no character is a wildcard."""
    return text("".join(f"[{c}]" if c in "*?[" else c for c in str(file)))


def shown(file: Path, root: Path) -> str:
    """How a file is called in rejects and messages."""
    return str(file.relative_to(root))


def parquet(file: Path, root: Path) -> str:
    """Relation of a Parquet file: its columns, and the columns every relation has."""
    return (
        f"SELECT *, {text(shown(file, root))} AS _file, file_row_number + 1 AS _row, 1 AS _part"
        f" FROM read_parquet({path(file)}, file_row_number=true)"
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
        " header=false, auto_detect=false, store_rejects=true, max_line_size=16000000)"
    )


def separated(
    file: Path, root: Path, columns: Sequence[str], *, separator: str = ",", header: Sequence[str] | None = None
) -> str:
    """Relation of a CSV file: `columns` as texts, `_defect`, and the columns every relation has.

    The file's first line names its columns unless `header` does. Values may be quoted but hold no line break.
    DataError if one of `columns` is not there.
    """
    present = csv_header(file, separator) if header is None else header
    require_columns(file, present, columns)
    selected = ", ".join(f"parts[{present.index(column) + 1}] AS {name(column)}" for column in columns)
    return f"""
        SELECT _file, _row, _part, {selected}, CASE
            WHEN parts IS NULL THEN 'a quote is out of place'
            WHEN len(parts) <> {len(present)} THEN '{len(present)} columns expected, ' || len(parts) || ' found'
        END AS _defect
        FROM (SELECT *, {split_csv("line", separator)} AS parts
              FROM ({lines(file, root)}) {"WHERE _row > 1" if header is None else ""})"""


def csv_header(file: Path, separator: str) -> list[str]:
    """The names in the first line; DataError if it is not readable."""
    try:
        with file.open("rb") as stream:
            line = stream.readline(16_000_000).decode("utf-8-sig")
        return next(csv.reader([line], delimiter=separator), [])
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
            THEN {text(key)} || ' ''' || left({name(key)}, 40) || ''' is repeated'
            ELSE _defect END AS _defect)
        FROM ({relation})"""


def bad_rows(relation: str) -> str:
    """The rows of a joined relation that have a defect, to be set aside beside those of the log."""
    return f"SELECT _file, _row, _part, _defect FROM {relation} WHERE _defect IS NOT NULL"


def not_among(value: str, allowed: Sequence[str]) -> str:
    """Expression: a defect of the text column `value`, null if it is one of `allowed`."""
    return f"""CASE WHEN {name(value)} NOT IN ({", ".join(map(text, allowed))})
        THEN {text(value)} || ' ''' || left({name(value)}, 40) || ''' is none of {", ".join(allowed)}' END"""


def whole_seconds(number: str, unit: str) -> str:
    """Seconds from an integer in `unit`."""
    return f"TRY_CAST({number} AS BIGINT) // {UNITS[unit]}"


def seconds_of_timestamp(value: str) -> str:
    """Seconds since 1970 from a timestamp, a date or its text; one without a zone is read as UTC."""
    return f"epoch_us(TRY_CAST({value} AS TIMESTAMP)) // 1000000"


def seconds_of_day(digits: str) -> str:
    """Seconds since 1970 at the start of a day that eight digits tell (20151231), read as UTC."""
    return rf"""CASE WHEN regexp_full_match({digits}, '\d{{8}}')
        THEN epoch_us(try_strptime({digits}, '%Y%m%d')) // 1000000 END"""


def split_list(joined: str, separator: str) -> str:
    """A list from a text; an empty text is an empty list."""
    return f"CASE WHEN {joined} = '' THEN [] ELSE string_split({joined}, {text(separator)}) END"


def split_csv(line: str, separator: str) -> str:
    """The values of a line in which some may be quoted; null if a quote is out of place."""
    cut, joined = f"\\x{{{ord(separator):x}}}", f"{text(separator)} || {line}"
    value = f'"(?:[^"]|"")*"|[^{cut}"]*'
    return f"""CASE
        WHEN NOT contains({line}, '"') THEN string_split({line}, {text(separator)})
        WHEN regexp_full_match({joined}, '(?:{cut}(?:{value}))+') THEN list_transform(
            regexp_extract_all({joined}, '{cut}({value})', 1),
            lambda value: CASE WHEN starts_with(value, '"') THEN replace(value[2:-2], '""', '"') ELSE value END)
    END"""


def named_files(root: str, names: Sequence[str]) -> tuple[Path, ...]:
    """The files of these names in `root`, or none of them; DataError if some are there and one is not."""
    files = tuple(Path(root) / name for name in names) if root else ()
    absent = [file for file in files if not file.is_file()]
    if not absent or len(absent) == len(files):
        return () if absent else files
    raise DataError(f"{absent[0]}: no such file; this source is {', '.join(names)}")


def require_columns(file: Path, present: Sequence[str], needed: Sequence[str]) -> None:
    absent = [column for column in needed if column not in present]
    if absent:
        raise DataError(f"{file}: no column {absent[0]!r}; there are {', '.join(present)}")


def parquet_columns(file: Path) -> list[str]:
    try:
        return list(pq.read_schema(file).names)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: not readable as Parquet: {str(error).splitlines()[0]}") from None

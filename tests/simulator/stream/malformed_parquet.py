"""Damage to Parquet files: to their bytes, their columns, their types and their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.simulator.stream.malformed_cases import (
    Case,
    Ingested,
    Refused,
    as_a_broken_link,
    as_a_folder,
    rewriting,
    victim_set_aside,
)
from tests.simulator.stream.malformed_files import GoodLog, ParquetFile
from tests.simulator.stream.malformed_logs import GOOD, PARQUET

Change = Callable[[pa.Table], pa.Table]
NEEDED = {
    "a.parquet": "clicked",
    "behaviors_train.parquet": "article_ids_inview",
    "behaviors_val.parquet": "impression_time",
    "history_train.parquet": "article_id_fixed",
    "history_val.parquet": "impression_time_fixed",
}


OF_EVERY_FILE = {  # one reader reads all: the rest is tried with a table's
    *("empty", "cut at a third", "zero bytes in the data", "as_a_folder"),
    *("dropped column", "column twice", "columns in another order", "more columns"),
}


def cases() -> Iterator[Case]:
    for log, file in PARQUET:
        of_file = [*_unreadable(log, file), *_columns(log, file)]
        yield from (case for case in of_file if log.source == "table" or case.what in OF_EVERY_FILE)
    yield from _table_types()
    yield from _table_values()
    yield from _ebnerd_types()
    yield from _ebnerd_values()


def _of_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


def _of_table(change: Change) -> Callable[[Path], object]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def _cast(column: str, kind: pa.DataType) -> Change:
    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        return table.set_column(place, column, table.column(column).cast(kind))

    return change


def _set(column: str, values: pa.Array | pa.ChunkedArray) -> Change:
    return lambda table: table.set_column(table.schema.get_field_index(column), column, values)


def _unreadable(log: GoodLog, file: ParquetFile) -> Iterator[Case]:
    name = re.escape(file.name)
    not_parquet = Refused(says=rf"{name}: not readable as Parquet: ")
    damages: dict[str, Callable[[bytes], bytes]] = {
        "empty": lambda whole: b"",
        "cut at a third": lambda whole: whole[: len(whole) // 3],
        "last byte missing": lambda whole: whole[:-1],
        "footer missing": lambda whole: whole[:-8],
        "wrong magic at the end": lambda whole: whole[:-4] + b"PAR2",
        "encrypted footer": lambda whole: whole[:-4] + b"PARE",
        "footer longer than the file": lambda whole: whole[:-8] + b"\xff\xff\xff\x7fPAR1",
        "footer of no length": lambda whole: whole[:-8] + b"\0\0\0\0PAR1",
        "zero bytes in the footer": lambda whole: whole[:-200] + bytes(192) + whole[-8:],
        "zero bytes only": lambda whole: bytes(len(whole)),
        "text": lambda whole: b"user_id,item_id\n1,2\n",
    }
    for what, change in damages.items():
        yield Case(log=log, file=file.name, what=what, damage=_of_bytes(change), expected=not_parquet)
    for what, content in {
        "zero bytes in the data": lambda whole: whole[:4] + bytes(60) + whole[64:],
        "ones in the data": lambda whole: whole[:4] + b"\xff" * 60 + whole[64:],
    }.items():
        yield Case(log=log, file=file.name, what=what, damage=_of_bytes(content), expected=not_parquet)
    for damage in (as_a_folder, as_a_broken_link):
        expected = Refused(says=rf"{name}|holds no file")
        yield Case(log=log, file=file.name, what=damage.__name__, damage=damage, expected=expected)


def _columns(log: GoodLog, file: ParquetFile) -> Iterator[Case]:
    needed = NEEDED[file.name]
    no_column = Refused(says=rf"{re.escape(file.name)}: no column '{needed}'; there are ")
    same = Ingested(like=log)
    changes: dict[str, tuple[Change, Refused | Ingested]] = {
        "dropped column": (lambda table: table.drop_columns(needed), no_column),
        "renamed column": (
            lambda table: table.rename_columns([f"{n}_" if n == needed else n for n in table.column_names]),
            no_column,
        ),
        "renamed to capitals": (
            lambda table: table.rename_columns([n.upper() for n in table.column_names]),
            Refused(says=rf"{re.escape(file.name)}: no column '.*'; there are [A-Z_]*, "),
        ),
        "column twice": (
            lambda table: table.append_column(needed, table.column(needed)),
            Refused(says=rf"{re.escape(file.name)}: column '{needed}' stands there twice"),
        ),
        "a column that differs in capitals": (
            lambda table: table.add_column(0, needed.upper(), pa.array(["x"] * len(table))),
            Refused(says=rf"columns '{needed}' and '{needed.upper()}' differ in capitals only"),
        ),
        "columns in another order": (lambda table: table.select(table.column_names[::-1]), same),
        "more columns": (
            lambda table: table.append_column("more", pa.array([{"a": [1]}] * len(table))),
            same,
        ),
        "columns with names of the ingest's own": (
            lambda table: (
                table.append_column("_file", pa.array(["x"] * len(table)))
                .append_column("_row", pa.array([7] * len(table)))
                .append_column("filename", pa.array(["x"] * len(table)))
            ),
            same,
        ),
        "column with a name of the reader's own": (
            lambda table: table.append_column("file_row_number", pa.array([7] * len(table))),
            Refused(says="column 'file_row_number' has a name that is taken"),
        ),
    }
    for what, (change, expected) in changes.items():
        yield Case(log=log, file=file.name, what=what, damage=_of_table(change), expected=expected)
    yield Case(
        log=log, file=file.name, what="other compression and row groups", damage=_compressed("gzip"), expected=same
    )


def _compressed(codec: str) -> Callable[[Path], object]:
    return lambda path: pq.write_table(pq.read_table(path), path, compression=codec, row_group_size=2)


def _table_types() -> Iterator[Case]:
    """The source `table` takes columns of any type that holds the right values."""
    log = GOOD["table-parquet"]
    file = log.parquet_file("a.parquet")
    same = Ingested(like=log)
    count = len(file.rows)
    changes: dict[str, tuple[Change, Refused | Ingested]] = {
        "ids as text": (_cast("user_id", pa.string()), same),
        "ids in a dictionary": (_cast("country", pa.dictionary(pa.int32(), pa.string())), same),
        "labels as integers": (_cast("clicked", pa.int8()), same),
        "labels as text": (_cast("clicked", pa.string()), same),
        "labels as booleans": (_cast("clicked", pa.bool_()), same),
        "labels as decimals": (_cast("clicked", pa.decimal128(5, 2)), same),
        "times as text": (_cast("shown_at", pa.string()), same),
        "times as timestamps": (_cast("shown_at", pa.timestamp("s")), same),
        "times as zoned timestamps": (
            lambda t: _cast("shown_at", pa.timestamp("ns", "UTC"))(_cast("shown_at", pa.timestamp("s"))(t)),
            same,
        ),
        "times as unsigned integers": (_cast("shown_at", pa.uint64()), same),
        "lists of large size": (_cast("seen", pa.large_list(pa.int64())), same),
        "lists of fixed size": (_cast("seen", pa.list_(pa.int64(), 2)), same),
        "lists of text": (_cast("seen", pa.list_(pa.string())), same),
        "lists as joined text": (_set("seen", pa.array(["1;2"] * count)), same),
        "labels as lists": (_set("clicked", pa.array([[1]] * count)), Refused(says="column 'clicked' is list<")),
        "labels as structs": (
            _set("clicked", pa.array([{"a": 1}] * count)),
            Refused(says="column 'clicked' is struct<"),
        ),
        "labels as bytes": (_set("clicked", pa.array([b"\xff"] * count)), Refused(says="is not 0 or 1")),
        "labels of no type": (_set("clicked", pa.nulls(count)), Refused(says="no label")),
        "times as booleans": (_set("shown_at", pa.array([True] * count)), Refused(says="time 'true' does not parse")),
        "times as days": (
            _set("shown_at", pa.array([datetime(2022, 1, 3).date()] * count)),
            Refused(says="one period"),
        ),
        "times of no type": (_set("shown_at", pa.nulls(count)), Refused(says="no time")),
        "no rows": (lambda table: table.slice(0, 0), Refused(says="hold no rows")),
    }
    for what, (change, expected) in changes.items():
        yield Case(log=log, file=file.name, what=what, damage=_of_table(change), expected=expected)


def _table_values() -> Iterator[Case]:
    log = GOOD["table-parquet"]
    file = log.parquet_file("a.parquet")
    late = "is not in the years 1970 to 9999; look at the unit of time"
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "label nan": ({"clicked": float("nan")}, "label 'nan' is not 0 or 1"),
        "label inf": ({"clicked": float("inf")}, "label 'inf' is not 0 or 1"),
        "label 2": ({"clicked": 2.0}, "label '2.0' is not 0 or 1"),
        "label -1": ({"clicked": -1.0}, "label '-1.0' is not 0 or 1"),
        "label null": ({"clicked": None}, "no label"),
        "time null": ({"shown_at": None}, "no time"),
        "time negative": ({"shown_at": -1}, f"time '-1' {late}"),
        "time of 64 bits": ({"shown_at": 2**63 - 1}, f"time '{2**63 - 1}' {late}"),
        "time least": ({"shown_at": -(2**63)}, f"time '{-(2**63)}' {late}"),
        "request null": ({"view": None}, "no request"),
    }
    for what, (values, reason) in bad.items():
        expected = victim_set_aside(log, file, reason)
        yield Case(log=log, file=file.name, what=what, damage=rewriting(file.with_values(**values)), expected=expected)
    for what, number in {"negative": -7, "greatest": 2**63 - 1, "null": None}.items():
        expected = Ingested(like=log, victim_has=("user_id", None if number is None else str(number)))
        damage = rewriting(file.with_values(user_id=number))
        yield Case(log=log, file=file.name, what=f"user {what}", damage=damage, expected=expected)
    for what, seen, read in (
        ("null", None, []),
        ("empty", [], []),
        ("of nulls", [None, None], [None, None]),
        ("long", list(range(1, 1001)), None),
    ):
        like = log.having(file.with_values(seen=read if read is not None else seen))
        damage = rewriting(file.with_values(seen=seen))
        yield Case(log=log, file=file.name, what=f"list {what}", damage=damage, expected=Ingested(like=like))
    nested = _set("seen", pa.array([[[1], [2]]] * len(file.rows)))
    refused = Refused(says=r"a\.parquet: column 'seen' is .*list")
    yield Case(log=log, file=file.name, what="nested lists", damage=_of_table(nested), expected=refused)


def _ebnerd_types() -> Iterator[Case]:
    """Columns that times are compared with, or lists are cut from, must have their types."""
    log = GOOD["ebnerd"]
    same = Ingested(like=log)
    for file, column, what, change, expected in (
        ("behaviors_train", "impression_time", "integers", lambda t: _cast("impression_time", pa.int64())(t), None),
        ("behaviors_val", "impression_time", "text", lambda t: _cast("impression_time", pa.string())(t), None),
        ("behaviors_val", "impression_time", "nanoseconds", _cast("impression_time", pa.timestamp("ns")), same),
        ("behaviors_val", "impression_time", "zoned", _cast("impression_time", pa.timestamp("us", "UTC")), None),
        ("behaviors_train", "user_id", "text", _cast("user_id", pa.string()), None),
        ("history_train", "user_id", "text", _cast("user_id", pa.string()), None),
        ("history_val", "user_id", "64 bits", _cast("user_id", pa.int64()), same),
        ("behaviors_val", "impression_id", "text", _cast("impression_id", pa.string()), same),
        ("behaviors_train", "article_ids_inview", "one number", _set("article_ids_inview", pa.array([1] * 4)), None),
        ("behaviors_train", "article_ids_inview", "text", _set("article_ids_inview", pa.array(["[1]"] * 4)), None),
        ("behaviors_train", "article_ids_clicked", "texts", _cast("article_ids_clicked", pa.list_(pa.string())), None),
        ("behaviors_val", "article_ids_clicked", "one number", _set("article_ids_clicked", pa.array([1] * 4)), None),
        ("history_train", "article_id_fixed", "texts", _cast("article_id_fixed", pa.list_(pa.string())), None),
        ("history_train", "article_id_fixed", "one number", _set("article_id_fixed", pa.array([1] * 3)), None),
        ("history_val", "impression_time_fixed", "numbers", _set("impression_time_fixed", pa.array([[1]] * 3)), None),
        ("history_val", "impression_time_fixed", "one time", _set("impression_time_fixed", pa.array([1] * 3)), None),
    ):
        wanted = expected or Refused(says=rf"{file}\.parquet: column '{column}' is ")
        damage = _of_table(change)
        yield Case(log=log, file=f"{file}.parquet", what=f"{column} as {what}", damage=damage, expected=wanted)


def _ebnerd_values() -> Iterator[Case]:
    log = GOOD["ebnerd"]
    main = log.parquet_file("behaviors_val.parquet")
    twice, once = 2, 1  # rejects: one for each article shown
    for what, values, reason, count in (
        ("no time", {"impression_time": None}, "no time", twice),
        ("no request", {"impression_id": None}, "no request", twice),
        ("clicks null", {"article_ids_clicked": None}, "no label", twice),
        ("shown null", {"article_ids_inview": None}, "no article shown", once),
        ("shown empty", {"article_ids_inview": []}, "no article shown", once),
        ("shown twice nothing", {"article_ids_inview": [None, None]}, "no article shown", twice),
        ("clicked but not shown", {"article_ids_clicked": [10, 30]}, "a clicked article was not shown", twice),
    ):
        expected = victim_set_aside(log, main, *[reason] * count)
        damage = rewriting(main.with_values(**values))
        yield Case(log=log, file=main.name, what=what, damage=damage, expected=expected)
    for what, user in {"null": None, "greatest": 2**32 - 1}.items():
        changed = main.with_values(user_id=user)
        yield Case(
            log=log,
            file=main.name,
            what=f"user {what}",
            damage=rewriting(changed),
            expected=Ingested(like=log.having(changed)),
        )
    past = log.parquet_file("history_train.parquet")
    longer = "lists of different lengths"
    bad: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("more times than articles", {"article_id_fixed": [9]}, longer),
        ("more articles than times", {"article_id_fixed": [9, 5, 4]}, longer),
        ("times null", {"impression_time_fixed": None}, longer),
        ("articles null", {"article_id_fixed": None}, longer),
        ("a time null", {"impression_time_fixed": [None, datetime(2023, 5, 1)]}, "a time or an article is missing"),
        ("an article null", {"article_id_fixed": [None, 5]}, "a time or an article is missing"),
        ("user null", {"user_id": None}, "no user"),
    )
    for what, values, reason in bad:
        expected = victim_set_aside(log, past, reason)
        damage = rewriting(past.with_values(**values))
        yield Case(log=log, file=past.name, what=what, damage=damage, expected=expected)
    both = past.with_values(article_id_fixed=None, impression_time_fixed=None)
    like = log.having(past.with_values(article_id_fixed=[], impression_time_fixed=[]))
    yield Case(log=log, file=past.name, what="no lists", damage=rewriting(both), expected=Ingested(like=like))

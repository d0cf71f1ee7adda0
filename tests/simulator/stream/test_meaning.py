"""What an id is and what means missing: one text for an id or a stop, and nobody is not somebody."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.stream.holdout import holdout_mask
from simulator.stream.seen import USUAL
from tests.simulator.stream.raw_files import rejects, rows_of
from tests.simulator.stream.tables import clicks, log_of, write_csv

NUMBER: dict[str, Any] = {"user": lambda row: 100 + row % 7, "item": lambda row: 10 + row % 11}
FLOATS: dict[str, Any] = {
    "double": pa.float64(),
    "float": pa.float32(),
    "decimal": pa.decimal128(12, 0),
    "decimal with a point": pa.decimal128(12, 2),
    "text": pa.string(),
    "large text": pa.large_string(),
    "short": pa.int16(),
    "unsigned": pa.uint64(),
    "dictionary": pa.dictionary(pa.int32(), pa.int64()),
}


def write_parquet(file: Path, rows: list[dict[str, Any]], **kinds: pa.DataType) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows)
    for name, kind in kinds.items():
        column = table.column(name)
        if pa.types.is_decimal(kind):
            column = pa.chunked_array([pa.array([None if v is None else Decimal(v) for v in column.to_pylist()], kind)])
        else:
            column = column.dictionary_encode() if pa.types.is_dictionary(kind) else column.cast(kind)
        table = table.set_column(table.column_names.index(name), name, column)
    pq.write_table(table, file)


@pytest.mark.parametrize("kind", FLOATS)
def test_an_id_is_one_id_whatever_the_type_of_its_column_in_each_file(kind: str, tmp_path: Path) -> None:
    rows = clicks(**NUMBER)
    write_parquet(tmp_path / "raw" / "1.parquet", rows[:40], user=pa.int64())
    later = [row | {"user": None} if row["click"] and row["user"] == 101 else row for row in rows[40:]]
    write_parquet(tmp_path / "raw" / "2.parquet", later, user=FLOATS[kind], item=FLOATS[kind])
    read = rows_of(log_of(tmp_path, files="*.parquet"))
    expected = [*rows[:40], *later]
    assert [row["user"] for row in read] == [None if r["user"] is None else str(r["user"]) for r in expected]
    assert [row["item"] for row in read] == [str(row["item"]) for row in expected]


def test_requests_and_lists_of_floats_are_those_of_integers(tmp_path: Path) -> None:
    rows = clicks(**NUMBER, view=lambda row: row // 5, past=lambda row: [10 + row % 11, None, 12])
    lists = pa.list_(pa.float64())
    write_parquet(tmp_path / "raw" / "1.parquet", rows[:60])
    write_parquet(tmp_path / "raw" / "2.parquet", rows[60:], view=pa.float64(), past=lists)
    read = rows_of(log_of(tmp_path, files="*.parquet", request="view", histories={"past": "item"}))
    assert [row["request_id"] for row in read] == [row["view"] for row in rows]
    assert [row["past"] for row in read] == [[str(10 + row % 11), None, "12"] for row in range(120)]


def test_a_float_that_is_no_number_is_missing_and_one_with_a_fraction_stays(tmp_path: Path) -> None:
    values = [float("nan"), 1.5, -0.0, 2.0]
    write_parquet(tmp_path / "raw" / "1.parquet", clicks(device=lambda row: values[row % 4]))
    read = rows_of(log_of(tmp_path, files="*.parquet"))
    assert [row["device"] for row in read[:4]] == [None, "1.5", "0", "2"]


@pytest.mark.parametrize(
    ("kind", "base"), [(pa.float64(), 1_700_000_000_000_000_000), (pa.float64(), 2**53 + 4), (pa.float32(), 2**24 + 4)]
)
@pytest.mark.parametrize("column", ["user", "item", "view", "past"])
def test_ids_beyond_what_a_float_can_tell_apart_stop_with_file_and_column(
    column: str, kind: pa.DataType, base: int, tmp_path: Path
) -> None:
    many: dict[str, Any] = {
        **{name: lambda row: base + row for name in ("user", "item", "view")},
        "past": lambda row: [base + row],
    }
    rows = clicks(**many)
    write_parquet(tmp_path / "raw" / "1.parquet", rows[:60])
    table = pa.Table.from_pylist(rows[60:])
    place = table.column_names.index(column)
    floats = table.column(column).cast(pa.list_(kind) if column == "past" else kind, safe=False)
    pq.write_table(table.set_column(place, column, floats), tmp_path / "raw" / "2.parquet")
    said = rf"2\.parquet: column '{column}' holds \d+ as a float, which tells no ids above [\d,]+ apart"
    with pytest.raises(DataError, match=said):
        log_of(tmp_path, files="*.parquet", request="view", histories={"past": "item"})


def test_large_ids_as_integers_stay_apart(tmp_path: Path) -> None:
    rows = clicks(user=lambda row: 1_700_000_000_000_000_000 + row)
    write_parquet(tmp_path / "raw" / "1.parquet", rows)
    assert len({row["user"] for row in rows_of(log_of(tmp_path, files="*.parquet"))}) == 120


@pytest.mark.parametrize("column", ["user", "item", "device"])
def test_a_number_with_and_without_a_point_in_text_stops_and_names_both_files(column: str, tmp_path: Path) -> None:
    rows = clicks(**NUMBER, device=lambda row: row % 3)
    write_csv(tmp_path / "raw" / "1.csv", rows[:40])
    write_csv(tmp_path / "raw" / "2.csv", [row | {column: f"{row[column]}.0"} for row in rows[40:]])
    said = rf"column '{column}': '\d+' in 1\.csv, row \d+ and '\d+\.0' in 2\.csv, row \d+ would be two ids"
    with pytest.raises(DataError, match=said):
        log_of(tmp_path)
    assert not list((tmp_path / "data").iterdir())


def test_a_list_of_numbers_with_a_point_stops_where_the_field_has_none(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "1.csv", clicks(**NUMBER, past=lambda row: "10.0;11.0"))
    with pytest.raises(DataError, match=r"column 'item': '1\d' in 1\.csv, row \d+ and '1\d\.0' in 1\.csv, row 2"):
        log_of(tmp_path, histories={"past": "item"})


@pytest.mark.parametrize("value", ["1.7e+18", "1.700000000000001e+18", "1.7E18", "1700000000000001024.0", "2e+19"])
def test_ids_that_were_rounded_when_they_were_written_stop(value: str, tmp_path: Path) -> None:
    write_csv(
        tmp_path / "raw" / "1.csv", clicks(user=lambda row: value if row == 50 else 1_700_000_000_000_000_000 + row)
    )
    with pytest.raises(DataError, match=r"column 'user': '.*' in 1\.csv, row 52 is a number that was rounded"):
        log_of(tmp_path)


@pytest.mark.parametrize("value", ["1e5", "12345e67", "1.0.0", "v1.0", "1.25", "007", "1_000", "ab12.0"])
def test_texts_that_only_look_like_numbers_are_values(value: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "1.csv", clicks(device=lambda row: value if row % 2 else "tv"))
    assert {row["device"] for row in rows_of(log_of(tmp_path))} == {value, "tv"}


def _some_missing(text: str) -> list[dict[str, Any]]:
    return clicks(
        user=lambda row: text if row % 3 == 0 else f"u{row % 7}",
        item=lambda row: text if row % 4 == 0 else f"i{row % 11}",
        past=lambda row: text if row % 5 == 0 else f"i1;{text};i2",
    )


@pytest.mark.parametrize("text", ["\\N", "NULL", "nan", "None", "NA", "<NA>", "-", "?", "#N/A", "(null)", "NaT", "nil"])
def test_a_usual_text_for_missing_is_told_with_its_share_until_settings_name_it(text: str, tmp_path: Path) -> None:
    assert text in USUAL
    write_csv(tmp_path / "raw" / "a.csv", _some_missing(text))
    told: list[str] = []
    log_of(tmp_path, told, histories={"past": "item"})
    means = "like any other; if it means that there is none, name it in stream.table.missing"
    assert told[1] == f"column 'user': '{text}' is 33.3% of its values, {means}"
    share = 29.2 if text == "(null)" else 34.7  # a list of this text alone is a written list, of nothing
    assert told[0] == f"column 'item': '{text}' is {share}% of its values, {means}"

    told.clear()
    rows = rows_of(log_of(tmp_path, told, histories={"past": "item"}, missing=[text]))
    assert told == []
    assert [row["user"] for row in rows] == [None if row % 3 == 0 else f"u{row % 7}" for row in range(120)]
    assert [row["item"] for row in rows] == [None if row % 4 == 0 else f"i{row % 11}" for row in range(120)]
    assert [row["past"] for row in rows] == [[] if row % 5 == 0 else ["i1", None, "i2"] for row in range(120)]


def test_several_texts_may_mean_missing_and_nothing_always_does(tmp_path: Path) -> None:
    texts = ["\\N", "unknown", "-1", ""]
    write_csv(tmp_path / "raw" / "a.csv", clicks(user=lambda row: texts[row % 4] if row % 2 else f"u{row}"))
    users = [row["user"] for row in rows_of(log_of(tmp_path, missing=["\\N", "unknown", "-1"]))]
    assert users == [None if row % 2 else f"u{row}" for row in range(120)]


def test_a_request_that_means_missing_is_none(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "a.csv", clicks(600, view=lambda row: "NULL" if row == 3 else row // 5))
    log = log_of(tmp_path, request="view", missing=["NULL"])
    assert rejects(log) == [("a.csv", 5, "no request")]


@pytest.mark.parametrize("kind", ["context", "numeric", "lists", "vectors"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_field_without_any_value_is_told(kind: str, ending: str, tmp_path: Path) -> None:
    rows = clicks()
    write_csv(tmp_path / "raw" / "a.csv", [row | {"x": ""} for row in rows])
    listed = {"lists": pa.list_(pa.int64()), "vectors": pa.list_(pa.float32())}
    table = pa.Table.from_pylist(rows).append_column("x", pa.nulls(len(rows), listed.get(kind, pa.float64())))
    pq.write_table(table, tmp_path / "raw" / "a.parquet")
    told: list[str] = []
    named: Any = {"x": 3} if kind == "vectors" else ["x"]
    log_of(tmp_path, told, files=f"a.{ending}", **{kind: named})
    assert [line for line in told if "no row has a value" in line] == [
        "column 'x': no row has a value there; look at how it is written, or leave it out"
    ]


def test_a_user_with_a_large_part_of_the_rows_is_told(tmp_path: Path) -> None:
    rows = clicks(6_000, user=lambda row: "guest" if row % 3 == 0 else f"u{row % 997}")
    write_csv(tmp_path / "raw" / "a.csv", rows)
    told: list[str] = []
    log_of(tmp_path, told)
    assert told == [
        "column 'user': 'guest' has 33% of the rows; if it means that nobody is known, name it in stream.table.missing"
    ]
    told.clear()
    log_of(tmp_path, told, missing=["guest"])
    assert told == []


SENTINELS = ("-1", "0", "unknown", "null")


@pytest.mark.parametrize("others", ["integers", "texts", "negative integers"])
@pytest.mark.parametrize("sentinel", SENTINELS)
@pytest.mark.parametrize("rows", [900, 6_000])
def test_a_request_that_is_no_list_is_told_and_its_rows_are_held_out_one_by_one(
    sentinel: str, others: str, rows: int, tmp_path: Path
) -> None:
    def view(row: int) -> str:
        if row % 5 < 3:
            return sentinel
        number = 1_000 + row // 20
        return {"integers": f"{number}", "texts": f"v{number}", "negative integers": f"{-number}"}[others]

    write_csv(tmp_path / "raw" / "a.csv", clicks(rows, view=view))
    told: list[str] = []
    log = log_of(tmp_path, told, request="view")
    count = rows * 3 // 5
    assert told == [
        f"request '{sentinel}' has {count} rows (60.0%), more than are shown together: each of these rows is a request"
        " of its own, and held out by itself"
    ]
    requests = [row["request_id"] for row in rows_of(log)]
    sizes = Counter(requests)
    assert sorted(Counter(sizes.values()).items()) == [(1, count), (8, rows // 20)]
    texts = [view(row) for row in range(rows)]
    assert len({(text, number) for text, number in zip(texts, requests, strict=True) if text != sentinel}) == rows // 20
    for period in log.periods:
        held = holdout_mask(log.read(period), 0.1).double()
        assert 0.02 < held.mean() < 0.25


@pytest.mark.parametrize("days", [3, 12])
def test_a_request_that_is_a_day_is_told_and_every_period_has_a_holdout(days: int, tmp_path: Path) -> None:
    rows = days * 400
    write_csv(tmp_path / "raw" / "a.csv", clicks(rows, days, view=lambda row: f"2022-01-{3 + row // 400:02}"))
    told: list[str] = []
    log = log_of(tmp_path, told, request="view")
    assert told[0].startswith(f"{days} requests, such as '2022-01-")
    assert all(0.03 < holdout_mask(log.read(p), 0.1).double().mean() < 0.2 for p in log.periods)


def test_lists_that_are_shown_together_stay_together(tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "a.csv", clicks(6_000, view=lambda row: row // 100))
    told: list[str] = []
    log = log_of(tmp_path, told, request="view")
    assert told == []
    assert Counter(Counter(row["request_id"] for row in rows_of(log)).values()) == {100: 60}


Written = Callable[[list[str]], str]
WRITTEN: dict[str, tuple[str, Written]] = {
    "joined": (";", ";".join),
    "joined with blanks": (",", ", ".join),
    "a separator at the end": (";", lambda past: "".join(f"{item};" for item in past)),
    "blanks": (" ", " ".join),
    "two characters": ("::", "::".join),
    "Python numbers": (",", lambda past: str([int(item) for item in past])),
    "Python numbers, another separator": (";", lambda past: str([int(item) for item in past])),
    "Python texts": (",", str),
    "JSON": (",", json.dumps),
    "JSON without blanks": ("|", lambda past: json.dumps(past, separators=(",", ":"))),
    "a tuple": (",", lambda past: str(tuple(int(item) for item in past))),
    "a set of SQL": (",", lambda past: "{" + ",".join(past) + "}"),
    "blanks around it": (";", lambda past: f"  [ {', '.join(past)} ]  "),
    "without quotes": (",", lambda past: f"[{', '.join(past)}]"),
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_list_that_is_written_as_text_is_that_list(name: str, kind: str, tmp_path: Path) -> None:
    separator, form = WRITTEN[name]
    pasts = [[str(10 + (row + k) % 11) for k in range(row % 4)] for row in range(120)]
    rows = clicks(item=lambda row: 10 + row % 11, past=lambda row: form(pasts[row]))
    file = tmp_path / "raw" / f"a.{kind}"
    write_csv(file, rows) if kind == "csv" else write_parquet(file, rows)
    told: list[str] = []
    log = log_of(tmp_path, told, files=f"*.{kind}", histories={"past": "item"}, list_separator=separator)
    assert [row["past"] for row in rows_of(log)] == pasts
    assert told == []


def test_elements_of_written_lists_may_hold_blanks_commas_and_nothing(tmp_path: Path) -> None:
    past = """["a b", 'c,d', "it's", None, null, '', x]"""
    write_csv(tmp_path / "raw" / "a.csv", clicks(past=lambda row: past))
    rows = rows_of(log_of(tmp_path, histories={"past": "item"}))
    assert rows[0]["past"] == ["a b", "c,d", "it's", None, None, None, "x"]


@pytest.mark.parametrize(
    "text", ["[1 2 3]", "[1, 2", "[[1, 2], [3]]", "[1, 2] [3]", "['a', 'b]", '{"a": 1}', "[1 2 ... 9]"]
)
def test_what_begins_like_a_list_and_is_none_is_refused_with_an_example(text: str, tmp_path: Path) -> None:
    write_csv(tmp_path / "raw" / "a.csv", clicks(past=lambda row: text))
    with pytest.raises(DataError, match=r"past '.*' is no list; write 1;2;3 .*, \[1, 2, 3\] or \['a', 'b'\]"):
        log_of(tmp_path, histories={"past": "item"})


def test_lists_of_which_hardly_a_value_is_ever_shown_are_told(tmp_path: Path) -> None:
    rows = clicks(1_200, past=lambda row: "i1|i2" if row % 300 else "i1")
    write_csv(tmp_path / "raw" / "a.csv", rows)
    told: list[str] = []
    log_of(tmp_path, told, histories={"past": "item"})
    assert told == [
        "history 'past': 4 of 1200 values are ever shown as 'item'; look at stream.table.list_separator, and at how"
        " lists and values are written"
    ]
    assert np.all([row["past"] for row in rows])

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError, SettingError
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, Asked, ingested, rejects, rows_of, write_lines

TABLE: dict[str, Any] = {
    "files": "*.csv",
    "time": "shown_at",
    "label": "clicked",
    "user": ["user_id", "country"],
    "item": ["item_id"],
    "context": ["device"],
    "histories": {"seen": "item_id"},
}
HEADER = "item_id,user_id,country,device,shown_at,clicked,seen,view"


def log_of(folder: Path, **table: Any) -> Log:
    stream = StreamSettings(
        source="table",
        root=str(folder),
        data=str(folder / "data"),
        table=TableSettings(**(TABLE | table)),
    )
    return ingested(Asked(stream, IngestSettings(max_reject_share=0.8)))


def test_a_csv_file_is_read_by_the_names_and_roles_of_its_columns(tmp_path: Path) -> None:
    lines = [
        HEADER,
        'i1,u1,DK,"phone, old",2022-01-03 08:00:00,1,i2;i3,v9',
        f'i2,u2,,"the ""big"" one",{MONDAY + DAY},0,,v2',
    ]
    write_lines(tmp_path / "a.csv", lines)
    log = log_of(tmp_path, request="view")
    assert log.manifest.name == tmp_path.name  # the folder of its files
    assert log.folder.name.startswith(f"{tmp_path.name}-")
    assert log.schema.labels == ("clicked",)
    assert rows_of(log) == [
        {
            "row_id": 0,
            "ts": MONDAY + 8 * 3_600,
            "request_id": 0,
            "user_id": "u1",
            "country": "DK",
            "item_id": "i1",
            "device": "phone, old",
            "seen": ["i2", "i3"],
            "clicked": 1,
        },
        {
            "row_id": 1,
            "ts": MONDAY + DAY,
            "request_id": 1,
            "user_id": "u2",
            "country": None,
            "item_id": "i2",
            "device": 'the "big" one',
            "seen": [],
            "clicked": 0,
        },
    ]


def test_further_labels_are_columns_that_are_0_or_1_or_unknown(tmp_path: Path) -> None:
    lines = [
        f"{HEADER},cart,bought",
        f"i1,u1,DK,tv,{MONDAY},1,,1,1,1.0",
        f"i1,u1,DK,tv,{MONDAY},1,,1,maybe,0",
        f"i1,u1,DK,tv,{MONDAY},1,,1,1,",
        f"i2,u1,DK,tv,{MONDAY + DAY},1,,1,1,0",
    ]
    write_lines(tmp_path / "a.csv", lines)
    log = log_of(tmp_path, further_labels=["cart", "bought"])
    assert log.schema.labels == ("clicked", "cart", "bought")
    assert [(row["clicked"], row["cart"], row["bought"]) for row in rows_of(log)] == [
        (1, 1, 1),
        (1, 1, None),
        (1, 1, 0),
    ]
    assert rejects(log) == [("a.csv", 3, "label cart 'maybe' is not 0 or 1")]


def test_further_labels_of_a_parquet_file_may_be_boolean(tmp_path: Path) -> None:
    days = [MONDAY, MONDAY + DAY]
    columns = {"user_id": [1, 2], "item_id": [3, 4], "shown_at": days, "clicked": [1, 1], "bought": [None, False]}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    roles = {"user": ["user_id"], "context": [], "histories": {}, "files": "*.parquet"}
    rows = rows_of(log_of(tmp_path, further_labels=["bought"], **roles))
    assert [row["bought"] for row in rows] == [None, 0]


def test_a_column_cannot_be_a_label_and_a_field(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [HEADER])
    with pytest.raises(DataError, match="column device is named twice"):
        log_of(tmp_path, further_labels=["device"])


def test_files_may_order_their_columns_differently(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [HEADER, f"i1,u1,DK,tv,{MONDAY},1,,1"])
    write_lines(tmp_path / "b.csv", [f"more,{HEADER}", f"x,i2,u1,DK,tv,{MONDAY + DAY},1,,1"])
    assert [row["item_id"] for row in rows_of(log_of(tmp_path))] == ["i1", "i2"]


def test_a_parquet_file_keeps_its_lists_numbers_and_timestamps(tmp_path: Path) -> None:
    noon = datetime.fromtimestamp(MONDAY + DAY // 2, UTC)
    table = pa.table(
        {
            "user_id": [7, 8],
            "country": pa.array(["DK", None]).dictionary_encode(),
            "item_id": pa.array([2**62, 5], pa.int64()),
            "device": [1.5, 2.0],
            "seen": [[5, None], None],
            "clicked": [True, False],
            "shown_at": [noon, datetime.fromtimestamp(MONDAY + DAY, UTC)],
            "view": [-3, 2**40],
        }
    )
    (tmp_path / "day=1").mkdir()
    pq.write_table(table, tmp_path / "day=1" / "a.parquet")
    rows = rows_of(log_of(tmp_path, files="**/*.parquet", request="view"))
    assert [row["ts"] for row in rows] == [MONDAY + DAY // 2, MONDAY + DAY]
    assert [row["request_id"] for row in rows] == [-3, 2**40]
    assert [row["item_id"] for row in rows] == [str(2**62), "5"]
    assert [row["seen"] for row in rows] == [["5", None], []]
    assert [row["clicked"] for row in rows] == [1, 0]


@pytest.mark.parametrize(("unit", "scale"), [("s", 1), ("ms", 1_000), ("us", 1_000_000)])
def test_integer_times_are_in_the_unit_of_the_setting(tmp_path: Path, unit: str, scale: int) -> None:
    lines = [f"i1,u1,DK,tv,{(MONDAY + day * DAY) * scale},1,,1" for day in range(2)]
    write_lines(tmp_path / "a.csv", [HEADER, *lines])
    assert [row["ts"] for row in rows_of(log_of(tmp_path, time_unit=unit))] == [MONDAY, MONDAY + DAY]


def test_requests_that_are_no_integers_are_numbered_in_order_of_first_appearance(tmp_path: Path) -> None:
    views = ["b", "b", "a", "007", "7", "a", "b"]
    lines = [f"i1,u1,DK,tv,{MONDAY + number * DAY // 4},1,,{view}" for number, view in enumerate(views)]
    write_lines(tmp_path / "a.csv", [HEADER, *reversed(lines)])
    rows = rows_of(log_of(tmp_path, request="view", files="a.csv"))
    assert [row["request_id"] for row in rows] == [0, 0, 1, 2, 3, 1, 0]


def test_bad_lines_are_set_aside_with_their_line_numbers(tmp_path: Path) -> None:
    lines = [
        HEADER,
        f"i1,u1,DK,tv,{MONDAY},1,,1",
        f'i1,u1,"DK,tv,{MONDAY},1,,1',
        f"i1,u1,DK,tv,{MONDAY},1,,1,1",
        f"i1,u1,DK,tv,{MONDAY},1.0,,",
        "i1,u1,DK,tv,yesterday,1,,1",
        f"i1,u1,DK,tv,{MONDAY + DAY},0.5,,1",
        f"i1,u1,DK,tv,{MONDAY + DAY},0,,1",
    ]
    (tmp_path / "a.csv").write_bytes("\r\n".join(lines).encode())
    assert rejects(log_of(tmp_path, request="view")) == [
        ("a.csv", 3, "a quote is out of place"),
        ("a.csv", 4, "8 columns expected, 9 found"),
        ("a.csv", 5, "no request"),
        ("a.csv", 6, "time 'yesterday' does not parse"),
        ("a.csv", 7, "label '0.5' is not 0 or 1"),
    ]


def test_a_missing_column_is_named_with_the_file_and_those_there_are(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", [HEADER, f"i1,u1,DK,tv,{MONDAY},1,,1"])
    with pytest.raises(DataError, match=r"a\.csv: no column 'price'; there are item_id, user_id, country"):
        log_of(tmp_path, context=["price"])


@pytest.mark.parametrize("key", ["time", "label", "user", "item"])
def test_a_role_that_is_needed_must_be_set(tmp_path: Path, key: str) -> None:
    write_lines(tmp_path / "a.csv", [HEADER])
    with pytest.raises(SettingError, match=rf"stream\.table\.{key}: is empty"):
        log_of(tmp_path, **{key: [] if key in ("user", "item") else ""})


def test_a_field_cannot_have_the_name_of_a_column_of_the_log_itself(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.csv", ["row_id,user_id,t,clicked", f"1,1,{MONDAY},1"])
    with pytest.raises(DataError, match="row_id: the log has a column of its own by this name"):
        log_of(tmp_path, user=["user_id"], item=["row_id"], context=[], histories={}, time="t")


@pytest.mark.parametrize("called", ["_file", "_row", "_ROW", "_part", "_defect", "Item_ID", "c0", "line"])
def test_a_csv_column_may_have_a_name_that_the_reader_uses_or_differ_in_capitals(tmp_path: Path, called: str) -> None:
    days = range(2)
    lines = [f"i{day},u1,DK,phone,{MONDAY + day * DAY},1,,x{day}" for day in days]
    write_lines(tmp_path / "a.csv", [HEADER.replace("view", called), *lines])
    log = log_of(tmp_path, context=["device", called])
    assert [(row["item_id"], row[called]) for row in rows_of(log)] == [(f"i{day}", f"x{day}") for day in days]


def test_names_and_values_are_never_taken_for_sql(tmp_path: Path) -> None:
    evil = "x'; DROP TABLE staged; --"
    write_lines(
        tmp_path / f"{evil}.csv",
        [f'"{evil}",user_id,t,clicked', f"{evil},1,{MONDAY},1", f"{evil},1,{MONDAY + DAY},1"],
    )
    rows = rows_of(log_of(tmp_path, user=["user_id"], item=[evil], context=[], histories={}, time="t"))
    assert [row[evil] for row in rows] == [evil, evil]


@pytest.mark.parametrize(
    ("separator", "between"),
    [
        *(("\t", "\t"), (r"\t", "\t"), ("|", "|"), (";", ";"), (" ", " "), ("a", "a"), (".", "."), ("\\", "\\")),
        *(("::", "::"), ("||", "||"), (r"\t\t", "\t\t"), (", ", ", "), ("<sep>", "<sep>"), ("ö", "ö"), ("^|^", "^|^")),
        *((r"\x01", "\x01"), (r"\001", "\x01"), (r"\u0001", "\x01"), ("'", "'"), ("$$", "$$"), ("[]", "[]")),
    ],
)
def test_a_separator_is_any_text_and_values_may_be_quoted_around_it(
    tmp_path: Path, separator: str, between: str
) -> None:
    rows = [["Z", "1", str(MONDAY), "0", f'"{between}U ""W"" {between}"'], ["Z", "2", str(MONDAY + DAY), "1", "V"]]
    write_lines(tmp_path / "a.csv", [between.join(row) for row in [["I", "N", "T", "L", "D"], *rows]])
    roles = {"user": ["N"], "item": ["I"], "context": ["D"], "time": "T", "label": "L", "histories": {}}
    log = log_of(tmp_path, separator=separator, **roles)
    assert [(row["N"], row["D"]) for row in rows_of(log)] == [("1", f'{between}U "W" {between}'), ("2", "V")]


@pytest.mark.parametrize("separator", ["", "\n", "\r", "a\nb", '"', 'a"b', r"\x00"])
@pytest.mark.parametrize("key", ["separator", "list_separator"])
def test_what_cannot_separate_values_is_refused(tmp_path: Path, key: str, separator: str) -> None:
    if key == "list_separator" and '"' in separator:
        return
    write_lines(tmp_path / "a.csv", [HEADER])
    with pytest.raises(SettingError, match=rf"stream\.table\.{key}="):
        log_of(tmp_path, **{key: separator})


@pytest.mark.parametrize("separator", ["\t", "::", ","])
@pytest.mark.parametrize(
    "text", ['27" screen', '"unclosed', 'said "yes"', 'a "b', '"', '""', '"x"', '[{"Label": "x"}]', "plain", "it's"]
)
def test_without_quoting_a_quote_is_a_character_like_any_other(tmp_path: Path, separator: str, text: str) -> None:
    lines = [("i1", "u1", str(MONDAY + day * DAY), str(day), text) for day in range(2)]
    write_lines(
        tmp_path / "a.csv", [separator.join(row) for row in [("item", "user", "t", "click", 'a "note'), *lines]]
    )
    roles = {"user": ["user"], "item": ["item"], "context": ['a "note'], "time": "t", "label": "click", "histories": {}}
    log = log_of(tmp_path, separator=separator, quoting="none", **roles)
    assert log.manifest.rows_rejected == 0
    assert [row['a "note'] for row in rows_of(log)] == [text, text]


@pytest.mark.parametrize("first", ["", "\ufeff"])
def test_a_file_without_a_header_gets_the_names_of_its_columns_from_the_settings(tmp_path: Path, first: str) -> None:
    lines = [f"{first}u1;i1;{MONDAY};0", f"u2;i1;{MONDAY + DAY};1", "u3;i1", f"u1;i2;{MONDAY + DAY};1"]
    write_lines(tmp_path / "a.csv", lines)
    roles = {"user": ["who"], "item": ["what"], "context": [], "time": "when", "label": "clicked", "histories": {}}
    log = log_of(tmp_path, separator=";", columns=["who", "what", "when", "clicked"], **roles)
    assert [(row["who"], row["what"]) for row in rows_of(log)] == [("u1", "i1"), ("u2", "i1"), ("u1", "i2")]
    assert rejects(log) == [("a.csv", 3, "4 columns expected, 2 found")]
    with pytest.raises(DataError, match=r"no column 'price'; there are who, what, when, clicked"):
        log_of(tmp_path, separator=";", columns=["who", "what", "when", "clicked"], **(roles | {"context": ["price"]}))


@pytest.mark.parametrize(
    ("yes", "no"), [("true", "false"), ("True", "False"), ("TRUE", "FALSE"), ("1", "0"), ("1.0", "0.0")]
)
def test_a_label_in_text_is_a_number_or_a_truth_value(tmp_path: Path, yes: str, no: str) -> None:
    lines = [f"i1,u1,DK,tv,{MONDAY + day * DAY},{(no, yes)[day % 2]},,{(yes, no)[day % 2]}" for day in range(4)]
    write_lines(tmp_path / "a.csv", [HEADER, *lines])
    rows = rows_of(log_of(tmp_path, further_labels=["view"]))
    assert [(row["clicked"], row["view"]) for row in rows] == [(0, 1), (1, 0), (0, 1), (1, 0)]


def by_row(folder: Path, period: str = "3rows", **stream: Any) -> Log:
    roles = {"user": ["user_id"], "item": ["item_id"], "context": [], "histories": {}, "time": "row", "files": "*"}
    settings = StreamSettings(
        source="table",
        root=str(folder / "raw"),
        data=str(folder / "data"),
        period=period,
        table=TableSettings(**(TABLE | roles)),
        **stream,
    )
    return ingested(Asked(settings, IngestSettings(max_reject_share=0.8)))


def test_without_times_the_order_of_rows_and_of_file_names_stands_for_them(tmp_path: Path) -> None:
    head = "item_id,user_id,clicked"
    write_lines(tmp_path / "raw" / "b.csv", [head, *(f"b{n},u,{n % 2}" for n in range(4))])
    write_lines(tmp_path / "raw" / "a.csv", [head, "a0,u,0", "a1,u,maybe", "a2,u,1", "a3,u,0"])
    table = pa.table({"item_id": ["c0", "c1"], "user_id": ["u", "u"], "clicked": [1, 0]})
    pq.write_table(table, tmp_path / "raw" / "c.parquet")
    log = by_row(tmp_path)
    assert [row["item_id"] for row in rows_of(log)] == ["a0", "a2", "a3", "b0", "b1", "b2", "b3", "c0", "c1"]
    assert [period.rows for period in log.periods] == [3, 3, 3]
    assert rejects(log) == [("a.csv", 3, "label 'maybe' is not 0 or 1")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_rows_of_files_follow_one_another_whatever_ends_their_lines(tmp_path: Path, end: str) -> None:
    (tmp_path / "raw").mkdir()
    for name in "ab":
        lines = ["item_id,user_id,clicked", *(f"{name}{n},u,{n % 2}" for n in range(3))]
        (tmp_path / "raw" / f"{name}.csv").write_bytes((end or "\n").join(lines).encode() + end.encode())
    assert [row["item_id"] for row in rows_of(by_row(tmp_path))] == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.mark.parametrize(
    "asked", [{"period": "1d"}, {"period": "12h"}, {"protocol": "split"}, {"label_delay": "1h"}], ids=str
)
def test_without_times_nothing_can_be_cut_by_them(tmp_path: Path, asked: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=r"table\.time=row"):
        by_row(tmp_path, **asked)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_column_named_row_is_not_taken_for_the_order_of_rows(tmp_path: Path, ending: str) -> None:
    (tmp_path / "raw").mkdir()
    table = pa.table({"item_id": ["c0"], "user_id": ["u"], "clicked": [1], "row": [5]})
    if ending == ".csv":
        write_lines(tmp_path / "raw" / "a.csv", ["item_id,user_id,clicked,row", "c0,u,1,5"])
    else:
        pq.write_table(table, tmp_path / "raw" / "a.parquet")
    with pytest.raises(DataError, match=rf"a{ending}: has a column 'row'.*rename the column"):
        by_row(tmp_path)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import SettingError
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY, Asked, ingested, rejects, rows_of, write_lines

MIND: dict[str, Any] = {
    "files": "*.tsv",
    "separator": "\t",
    "columns": ["id", "who", "when", "history", "impressions"],
    "time": "when",
    "label": "click",
    "user": ["who"],
    "item": ["news"],
    "histories": {"history": "news"},
    "list_separator": " ",
    "explode": {"impressions": "id-label"},
}
SHOWN: dict[str, Any] = {
    "files": "*.parquet",
    "time": "when",
    "label": "click",
    "user": ["who"],
    "item": ["article"],
    "explode": {"shown": "clicked"},
}


def log_of(folder: Path, table: dict[str, Any], **more: Any) -> Log:
    stream = StreamSettings(
        source="table", root=str(folder), data=str(folder / "data"), table=TableSettings(**(table | more))
    )
    return ingested(Asked(stream, IngestSettings(max_reject_share=0.9)))


def told(log: Log, item: str, *more: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in ("request_id", item, "click", *more)) for row in rows_of(log)]


def test_each_element_of_a_list_with_labels_is_a_row_of_one_request(tmp_path: Path) -> None:
    """As MIND writes it; an id may hold the joiner, and labels may be truth values."""
    lines = [
        f"1\tu1\t{MONDAY}\tN1 N2\tN55689-1 N-35-729-0",
        f"2\tu2\t{MONDAY + DAY}\t\tN1-False",
    ]
    write_lines(tmp_path / "a.tsv", lines)
    log = log_of(tmp_path, MIND)
    assert log.schema.has_request
    assert told(log, "news", "history") == [
        (1, "N55689", 1, ["N1", "N2"]),
        (1, "N-35-729", 0, ["N1", "N2"]),
        (2, "N1", 0, []),
    ]


@pytest.mark.parametrize("separator", [";", " "])
def test_elements_with_labels_are_apart_by_blanks_or_the_separator(tmp_path: Path, separator: str) -> None:
    texts = ["N1-1 N2-0", "N1-1  N2-0 ", "['N1-1', 'N2-0']", f"N1-1{separator}N2-0"]
    lines = [f"{n}\tu\t{MONDAY + n * DAY}\t\t{text}" for n, text in enumerate(texts)]
    write_lines(tmp_path / "a.tsv", lines)
    rows = told(log_of(tmp_path, MIND, list_separator=separator), "news")
    assert [row[1:] for row in rows] == [("N1", 1), ("N2", 0)] * len(texts)


def test_requests_of_two_files_are_told_apart_unless_a_column_names_them(tmp_path: Path) -> None:
    for day, file in enumerate(["a.tsv", "b.tsv"]):
        write_lines(tmp_path / file, [f"7\tu\t{MONDAY + day * DAY}\t\tN1-1;N2-0"])
    own = told(log_of(tmp_path, MIND), "news")
    assert len({request for request, *_ in own}) == 2
    named = told(log_of(tmp_path, MIND, request="id"), "news")
    assert {request for request, *_ in named} == {7}


def test_elements_that_are_none_are_set_aside_with_what_is_wrong(tmp_path: Path) -> None:
    texts = ["N1-1 N2 -0 N3-2 N4-", "", "N5-0"]
    write_lines(
        tmp_path / "a.tsv",
        [*(f"{n}\tu\t{MONDAY + n * DAY}\t\t{text}" for n, text in enumerate(texts)), f"4\tu\t{MONDAY}\t\tN6-1\tmore"],
    )
    log = log_of(tmp_path, MIND)
    assert [row[1:] for row in told(log, "news")] == [("N1", 1), ("N5", 0)]
    assert rejects(log) == [
        ("a.tsv", 1, "impressions: 'N2' is not id-label"),
        ("a.tsv", 1, "impressions: '-0' has no id"),
        ("a.tsv", 1, "label '2' is not 0 or 1"),
        ("a.tsv", 1, "no label"),
        ("a.tsv", 2, "impressions: nothing was shown"),
        ("a.tsv", 4, "5 columns expected, 6 found"),
    ]
    assert log.manifest.rows_in == 8


def parquet(file: Path, shown: Any, clicked: Any) -> None:
    days = [MONDAY + day * DAY for day in range(len(shown))]
    pq.write_table(pa.table({"who": ["u"] * len(days), "when": days, "shown": shown, "clicked": clicked}), file)


def test_lists_of_shown_and_clicked_ids_are_rows_in_the_order_shown(tmp_path: Path) -> None:
    """As EB-NeRD has it: several clicks, one, none, and an id that is shown twice."""
    parquet(tmp_path / "a.parquet", [[3, 1, 2], [1, 1], [4]], pa.array([[2, 3], [1], None], pa.list_(pa.int64())))
    rows = told(log_of(tmp_path, SHOWN), "article")
    assert rows == [(1, "3", 1), (1, "1", 0), (1, "2", 1), (2, "1", 1), (2, "1", 1), (3, "4", 0)]


@pytest.mark.parametrize("clicked", [["2", "1", ""], [2, 1, None], ["[2]", "1;", "[]"]])
def test_clicked_ids_may_be_one_value_or_a_text(tmp_path: Path, clicked: list[Any]) -> None:
    parquet(tmp_path / "a.parquet", ["1;2", "1", "[4]"], clicked)
    rows = told(log_of(tmp_path, SHOWN), "article")
    assert rows == [(1, "1", 0), (1, "2", 1), (2, "1", 1), (3, "4", 0)]


def test_a_click_on_what_was_not_shown_sets_its_list_aside(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", [[1, 2], [1, None], [], [1], [2]], [[3], [1], [1], [1], []])
    log = log_of(tmp_path, SHOWN)
    assert told(log, "article") == [(2, "1", 1), (4, "1", 1), (5, "2", 0)]
    assert [(row, why) for _, row, why in rejects(log)] == [
        (1, "clicked: holds what shown does not"),
        (1, "clicked: holds what shown does not"),
        (2, "shown: an element is missing"),
        (3, "shown: nothing was shown"),
    ]


def test_rows_without_times_explode_too(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.tsv", [f"{n}\tu\tx\t\tN{n}-1 N0-0" for n in range(4)])
    stream = StreamSettings(
        source="table",
        root=str(tmp_path),
        data=str(tmp_path / "data"),
        period="4rows",
        table=TableSettings(**(MIND | {"time": "row"})),
    )
    log = ingested(Asked(stream, IngestSettings()))
    assert [period.rows for period in log.periods] == [4, 4]


@pytest.mark.parametrize("explode", [{"a": "id-label", "b": "c"}, {"a": ""}])
def test_one_column_explodes(explode: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=r"explode=.*must be one column"):
        TableSettings(explode=explode)


@pytest.mark.parametrize("how", ["label-id", "label:id"])
def test_the_label_stands_behind_the_id(how: str) -> None:
    with pytest.raises(SettingError, match=rf"explode\.x={how}: the label stands behind the id; write id{how[5]}label"):
        TableSettings(explode={"x": how})


@pytest.mark.parametrize(
    ("role", "more"),
    [
        ("label", {"label": "clicked"}),
        ("label", {"label": "shown"}),
        ("user", {"user": ["who", "shown"]}),
        ("lists", {"lists": ["clicked"]}),
        ("histories", {"histories": {"shown": "article"}}),
        ("request", {"request": "shown"}),
    ],
)
def test_a_column_that_explodes_has_no_other_role(tmp_path: Path, role: str, more: dict[str, Any]) -> None:
    table = pa.table({"who": ["u"], "when": [MONDAY], "shown": [[1, 2]], "clicked": [[2]]})
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SettingError, match=rf"stream\.table\.{role}: .* is a column of stream\.table\.explode"):
        log_of(tmp_path, SHOWN, **more)


def test_the_item_may_be_called_like_the_column_that_explodes(tmp_path: Path) -> None:
    table = pa.table({"who": ["u", "u"], "when": [MONDAY, MONDAY + DAY], "shown": [[1, 2], [3]], "clicked": [[2], []]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert [row[1:] for row in told(log_of(tmp_path, SHOWN, item=["shown"]), "shown")] == [("1", 0), ("2", 1), ("3", 0)]

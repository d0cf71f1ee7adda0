from __future__ import annotations

from pathlib import Path

from simulator.stream.sources.eleme import COLUMNS, LISTS
from tests.simulator.stream.raw_files import DAY, MONDAY, eleme_line, ingested, rows_of, settings_for, write_lines


def test_there_are_39_columns_17_fields_and_8_histories_of_their_values(tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "D1_0.csv", [eleme_line(MONDAY), eleme_line(MONDAY + DAY)])
    schema = ingested(settings_for(tmp_path, source="eleme")).schema
    assert len(COLUMNS) == 39
    assert len(schema.fields) == 17
    assert len(schema.histories) == 8
    assert {history.name for history in schema.histories} < set(LISTS)
    assert (schema.user, schema.item) == ("user_id", "item_id")
    roles = [field.role for field in schema.fields]
    assert roles == ["user"] * 4 + ["item"] * 9 + ["context", "scenario", "context", "context"]
    assert schema.scenario == "time_type"


def test_missing_codes_are_missing_and_lists_keep_their_latest_entries(tmp_path: Path) -> None:
    lists = dict.fromkeys(LISTS, "1;2;3;4") | {"item_id_list": "a;-1;b;c", "hours_list": "9;10;11;-99"}
    empty = dict.fromkeys(LISTS, "")
    lines = [
        eleme_line(MONDAY, user_id="u", item_id="c", gender="-99", brand_id="-1", geohash12="", label="1", **lists),
        eleme_line(MONDAY + DAY, item_id="a", **empty),
    ]
    write_lines(tmp_path / "raw" / "D1_0.csv", lines)
    first, second = rows_of(ingested(settings_for(tmp_path, source="eleme", history_length=3)))
    assert (first["user_id"], first["item_id"], first["click"]) == ("u", "c", 1)
    assert (first["gender"], first["brand_id"], first["geohash12"]) == (None, None, None)
    assert first["item_id_list"] == [None, "b", "c"]
    assert first["hours_list"] == ["10", "11", None]
    assert second["item_id"] == "a"
    assert second["item_id_list"] == []


def test_a_value_has_the_same_id_in_a_field_and_in_its_history(tmp_path: Path) -> None:
    lines = [eleme_line(MONDAY, item_id="a", item_id_list="b;c"), eleme_line(MONDAY + DAY, item_id="b")]
    write_lines(tmp_path / "raw" / "D1_0.csv", lines)
    log = ingested(settings_for(tmp_path, source="eleme"))
    yesterday, today = (log.read(period, histories=True) for period in log.periods)
    assert today.ids_BF[0, log.schema.item_column] == yesterday.histories["item_id_list"][0, 0]


def test_rows_are_sorted_by_time_then_file_then_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "raw" / "D2_0.csv", [eleme_line(MONDAY + DAY, user_id="e"), eleme_line(MONDAY, user_id="d")])
    first = [eleme_line(MONDAY + 5, user_id="b"), eleme_line(MONDAY, user_id="c"), eleme_line(MONDAY - 1, user_id="a")]
    write_lines(tmp_path / "raw" / "D1_0.csv", first)
    rows = rows_of(ingested(settings_for(tmp_path, source="eleme")))
    assert [row["user_id"] for row in rows] == ["a", "c", "d", "b", "e"]


def test_the_unit_of_time_is_a_setting(tmp_path: Path) -> None:
    lines = [eleme_line(MONDAY * 1_000 + 999), eleme_line((MONDAY + DAY) * 1_000)]
    write_lines(tmp_path / "raw" / "D1_0.csv", lines)
    rows = rows_of(ingested(settings_for(tmp_path, source="eleme", time_unit="ms")))
    assert [row["ts"] for row in rows] == [MONDAY, MONDAY + DAY]

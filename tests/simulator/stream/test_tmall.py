from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from simulator.settings import load
from simulator.stream.periods import split_seconds
from tests.simulator.stream.raw_files import ingested, rejects, rows_of, settings_for, write_lines

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
LOG = "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type"
INFO = "user_id,age_range,gender"


def write(folder: Path, log: list[str], info: list[str]) -> None:
    write_lines(folder / "raw" / "user_log_format1.csv", [LOG, *log])
    write_lines(folder / "raw" / "user_info_format1.csv", [INFO, *info])


def midnight(month: int, day: int) -> int:
    return int(datetime(2014, month, day, tzinfo=UTC).timestamp())


def test_an_action_is_a_click_on_its_day_and_its_negative_shows_another_item(tmp_path: Path) -> None:
    log = ["1,10,100,7,,0829,0", "2,11,101,7,70,829,2", "1,12,102,8,80,830,3"]
    write(tmp_path, log, ["1,3,1", "2,,2"])
    rows = rows_of(ingested(settings_for(tmp_path, source="tmall")))
    assert [row["ts"] for row in rows] == [midnight(8, 29)] * 4 + [midnight(8, 30)] * 2
    assert [row["click"] for row in rows] == [1, 0] * 3
    item = ("item_id", "cat_id", "seller_id", "brand_id")
    shown = [tuple(row[name] for name in item) for row in rows]
    assert shown[::2] == [("10", "100", "7", None), ("11", "101", "7", "70"), ("12", "102", "8", "80")]
    assert set(shown[1::2]) <= set(shown[::2])
    assert all(one != other for one, other in zip(shown[::2], shown[1::2], strict=True))
    user = [(row["user_id"], row["age_range"], row["gender"], row["action_type"]) for row in rows]
    assert user[::2] == user[1::2] == [("1", "3", "1", "0"), ("2", None, "2", "2"), ("1", "3", "1", "3")]


def test_further_labels_tell_the_action_in_positives_alone(tmp_path: Path) -> None:
    write(tmp_path, [f"1,{item},100,7,70,{829 + item % 2},{item}" for item in range(4)], ["1,3,1"])
    log = ingested(settings_for(tmp_path, source="tmall"))
    assert log.schema.labels == ("click", "cart", "buy", "favourite")
    labels = {(row["action_type"], *(row[name] for name in log.schema.labels)) for row in rows_of(log)}
    negatives = {(action, 0, 0, 0, 0) for action in "0123"}
    assert labels == negatives | {("0", 1, 0, 0, 0), ("1", 1, 1, 0, 0), ("2", 1, 0, 1, 0), ("3", 1, 0, 0, 1)}


def test_the_split_of_the_config_is_rims_and_its_validation_is_a_day() -> None:
    split = split_seconds(load(CONFIGS / "split_tmall.yaml").stream)
    assert split == (midnight(11, 1), midnight(11, 10), midnight(11, 11))


def test_in_a_split_each_of_the_four_spans_has_a_negative_for_each_action(tmp_path: Path) -> None:
    days = ["1030", "1031", "1101", "1109", "1110", "1111", "1112"]
    write(tmp_path, [f"1,{item},100,7,70,{day},0" for item, day in enumerate(days)], ["1,3,1"])
    stream = load(CONFIGS / "split_tmall.yaml", ["stream.split.target_share=1"]).stream
    log = ingested(settings_for(tmp_path, source="tmall", protocol="split", split=stream.split))
    assert [(period.rows, period.positives) for period in log.periods] == [(4, 2), (4, 2), (2, 1), (4, 2)]
    assert {row["item_id"] for row in rows_of(log) if not row["click"]} == {"0", "1"}


def test_bad_days_actions_and_users_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    log = [
        "1,10,100,7,70,1231,0",
        "1,10,100,7,70,1301,0",
        "1,10,100,7,70,0230,0",
        "1,10,100,7,70,1,0",
        "1,10,100,7,70,11111,0",
        "1,10,100,7,70,,0",
        "1,10,100,7,70,1111,4",
        "1,10,100,70,1111,0",
        "9,11,100,7,70,1230,1",
    ]
    write(tmp_path, log, ["1,3,1", "1,4,0", "2"])
    parsed = ingested(settings_for(tmp_path, source="tmall", max_reject_share=0.9))
    assert rejects(parsed) == [
        ("user_info_format1.csv", 3, "user_id '1' is repeated"),
        ("user_info_format1.csv", 4, "3 columns expected, 1 found"),
        ("user_log_format1.csv", 3, "time '1301' does not parse"),
        ("user_log_format1.csv", 4, "time '0230' does not parse"),
        ("user_log_format1.csv", 5, "time '1' does not parse"),
        ("user_log_format1.csv", 6, "time '11111' does not parse"),
        ("user_log_format1.csv", 7, "no time"),
        ("user_log_format1.csv", 8, "action_type '4' is none of 0, 1, 2, 3"),
        ("user_log_format1.csv", 9, "7 columns expected, 6 found"),
    ]
    assert [row["age_range"] for row in rows_of(parsed)] == [None, None, "3", "3"]

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from simulator.settings import load
from simulator.stream.periods import split_seconds
from tests.simulator.stream.raw_files import ingested, rejects, rows_of, settings_for, write_lines

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
HEADER = "use_ID,sel_ID,ite_ID,cat_ID,act_ID,time"


def write(folder: Path, lines: list[str]) -> None:
    write_lines(folder / "raw" / "ijcai2016_taobao.csv", [HEADER, *lines])


def test_an_action_is_a_click_on_its_day_and_its_negative_shows_another_item(tmp_path: Path) -> None:
    write(tmp_path, ["1,7,10,100,0,20150701", "2,8,11,101,1,20150702"])
    rows = rows_of(ingested(settings_for(tmp_path, source="alipay")))
    assert [row["ts"] for row in rows[1:3]] == [int(datetime(2015, 7, day, tzinfo=UTC).timestamp()) for day in (1, 2)]
    names = ("use_ID", "sel_ID", "ite_ID", "cat_ID", "act_ID", "click")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("1", "7", "10", "100", "0", 1),
        ("1", "8", "11", "101", "0", 0),
        ("2", "8", "11", "101", "1", 1),
        ("2", "7", "10", "100", "1", 0),
    ]


def test_a_further_label_tells_a_purchase_in_positives_alone(tmp_path: Path) -> None:
    write(tmp_path, ["1,7,10,100,0,20150701", "2,8,11,101,1,20150702"])
    log = ingested(settings_for(tmp_path, source="alipay"))
    assert log.schema.labels == ("click", "buy")
    assert [(row["click"], row["buy"]) for row in rows_of(log)] == [(1, 0), (0, 0), (1, 1), (0, 0)]


def test_the_split_of_the_config_is_rims_and_its_validation_is_a_day() -> None:
    split = split_seconds(load(CONFIGS / "split_alipay.yaml").stream)
    assert split == tuple(int(datetime(2015, 11, day, tzinfo=UTC).timestamp()) for day in (20, 24, 25))


def test_bad_days_and_actions_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    good = ["1,7,10,100,0,20150701", "2,8,11,101,1,20150702"]
    bad = ["1,7,10,100,0,20151131", "1,7,10,100,0,2015-11-30", "1,7,10,100,0,", "1,7,10,100,2,20151130", "1,7"]
    write(tmp_path, [*good, *bad])
    log = ingested(settings_for(tmp_path, source="alipay", max_reject_share=0.9))
    reasons = [
        "time '20151131' does not parse",
        "time '2015-11-30' does not parse",
        "no time",
        "act_ID '2' is none of 0, 1",
        "6 columns expected, 2 found",
    ]
    assert rejects(log) == [("ijcai2016_taobao.csv", row, reason) for row, reason in enumerate(reasons, 4)]
    assert (log.manifest.rows_in, log.manifest.rows_kept) == (9, 4)


def test_lines_that_are_no_text_are_set_aside_without_touching_the_rows_around_them(tmp_path: Path) -> None:
    good = [b"1,7,10,100,0,20150701", b"2,8,11,101,1,20150702"]
    (tmp_path / "raw").mkdir()
    file = tmp_path / "raw" / "ijcai2016_taobao.csv"
    file.write_bytes(b"\n".join([HEADER.encode(), good[0], b"\xff,7,10,100,0,20150701", good[1], b"1,7"]))
    log = ingested(settings_for(tmp_path, source="alipay", max_reject_share=0.9))
    assert rejects(log) == [(file.name, 3, "not UTF-8"), (file.name, 5, "6 columns expected, 2 found")]
    assert [row["use_ID"] for row in rows_of(log)] == ["1", "1", "2", "2"]


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_values(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    lines = ["\ufeff" + HEADER, "1,7,10,100,0,20150701", "2,8,11,101,1,20150702", ""]
    (tmp_path / "raw" / "ijcai2016_taobao.csv").write_bytes("\r\n".join(lines).encode())
    log = ingested(settings_for(tmp_path, source="alipay"))
    assert (log.manifest.rows_kept, log.manifest.rows_rejected) == (4, 0)

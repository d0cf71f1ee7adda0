from __future__ import annotations

from pathlib import Path

import pytest

from simulator.stream.sources.taobao import END, START
from tests.simulator.stream.raw_files import DAY, ingested, rejects, rows_of, settings_for, write_lines

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "taobao"


def write(folder: Path, lines: list[str]) -> None:
    write_lines(folder / "raw" / "UserBehavior.csv", lines)


def test_every_behaviour_is_a_click_followed_by_a_negative_that_keeps_all_but_the_item(tmp_path: Path) -> None:
    write(tmp_path, [f"1,7,70,pv,{START}", f"2,8,80,buy,{START + 60}", f"1,9,90,cart,{START + DAY}"])
    log = ingested(settings_for(tmp_path, source="taobao", utc_offset_hours=8))
    assert [period.rows for period in log.periods] == [4, 2]
    assert not log.schema.has_request
    rows = rows_of(log)
    assert [(r["user_id"], r["behavior"], r["click"]) for r in rows] == [
        *(("1", "pv", 1), ("1", "pv", 0)),
        *(("2", "buy", 1), ("2", "buy", 0)),
        *(("1", "cart", 1), ("1", "cart", 0)),
    ]
    assert {(r["item_id"], r["category_id"]) for r in rows} == {("7", "70"), ("8", "80"), ("9", "90")}


def test_rows_outside_the_official_days_or_malformed_are_set_aside_and_get_no_negative(tmp_path: Path) -> None:
    outside = "is not in 2017-11-25 to 2017-12-03, UTC+8"
    bad = {
        2: (f"1,7,70,pv,{START - 1}", f"time '{START - 1}' {outside}"),
        3: (f"1,7,70,pv,{END}", f"time '{END}' {outside}"),
        4: (f"1,7,70,click,{START}", "behavior 'click' is none of pv, cart, fav, buy"),
        5: (f"1,7,70,{START}", "5 columns expected, 4 found"),
        6: ("1,7,70,pv,noon", "time 'noon' does not parse"),
        7: ("1,7,70,pv,", "no time"),
    }
    good = [f"1,7,70,pv,{START}", f"1,8,80,pv,{END - 1}"]
    write(tmp_path, [good[0], *(line for line, _ in bad.values()), good[1], f"1,9,80,pv,{START + DAY}"])
    log = ingested(settings_for(tmp_path, source="taobao", period="5d", utc_offset_hours=8, max_reject_share=0.9))
    assert rejects(log) == [("UserBehavior.csv", row, reason) for row, (_, reason) in bad.items()]
    assert (log.manifest.rows_in, log.manifest.rows_kept) == (12, 6)


def test_the_real_lines_hold_one_row_of_a_wrong_day_and_get_one_negative_each(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"UserBehavior.csv is not at {SHARED}")
    log = ingested(settings_for(tmp_path, source="taobao", root=str(SHARED), utc_offset_hours=8))
    manifest = log.manifest
    assert (manifest.rows_in, manifest.rows_kept, manifest.rows_rejected) == (9_999, 9_998, 1)
    assert [period.rows for period in log.periods] == [936, 924, 822, 1152, 1040, 1174, 1170, 1314, 1466]
    assert all(2 * period.positives == period.rows for period in log.periods)
    ((_, _, reason),) = rejects(log)
    assert reason.startswith("time '1505")
    rows = rows_of(log)
    catalogue = {(row["item_id"], row["category_id"]) for row in rows if row["click"]}
    for positive, negative in zip(rows[::2], rows[1::2], strict=True):
        assert (positive["click"], negative["click"]) == (1, 0)
        assert (negative["item_id"], negative["category_id"]) in catalogue
        assert negative["item_id"] != positive["item_id"]

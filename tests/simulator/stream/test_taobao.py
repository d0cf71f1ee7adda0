from __future__ import annotations

from pathlib import Path

import pytest

from simulator.settings import load
from simulator.stream.periods import split_seconds
from simulator.stream.sources.taobao import END, START
from tests.simulator.stream.raw_files import DAY, ingested, rejects, rows_of, settings_for, write_lines

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
SHARED = CONFIGS.parent / ".." / "shared" / "data" / "taobao"


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


def test_further_labels_tell_the_behaviour_in_positives_alone(tmp_path: Path) -> None:
    behaviors = ["pv", "cart", "fav", "buy"]
    write(tmp_path, [f"1,{item},70,{name},{START + item * DAY}" for item, name in enumerate(behaviors)])
    log = ingested(settings_for(tmp_path, source="taobao", utc_offset_hours=8))
    assert log.schema.labels == ("click", "cart", "fav", "buy")
    labels = [tuple(row[name] for name in log.schema.labels) for row in rows_of(log)]
    assert labels[::2] == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0), (1, 0, 0, 1)]
    assert set(labels[1::2]) == {(0, 0, 0, 0)}


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


def test_the_split_of_the_config_is_rims() -> None:
    """Its config.ini has 1512144000 and 1512230400."""
    train_from, validation_from, test_from = split_seconds(load(CONFIGS / "split_taobao.yaml").stream)
    assert (train_from, test_from) == (1_512_144_000, 1_512_230_400)
    assert test_from - validation_from == DAY // 10


def test_in_a_split_of_the_real_lines_users_see_again_what_they_saw_in_the_pool(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"UserBehavior.csv is not at {SHARED}")
    split = load(CONFIGS / "split_taobao.yaml", ["stream.split.target_share=1"]).stream.split
    log = ingested(
        settings_for(tmp_path, source="taobao", root=str(SHARED), utc_offset_hours=8, protocol="split", split=split)
    )
    pool, *targets = log.periods
    assert len(targets) == 3
    assert log.manifest.rows_in == 9_999
    rows = rows_of(log)
    seen: dict[str, set[str]] = {}
    for row in rows[: pool.rows : 2]:
        seen.setdefault(row["user_id"], set()).add(row["item_id"])
    catalogue = set[str]().union(*seen.values())
    again = []
    for positive, negative in zip(rows[::2], rows[1::2], strict=True):
        assert (positive["click"], negative["click"]) == (1, 0)
        assert negative["item_id"] in catalogue - {positive["item_id"]}
        others = seen.get(positive["user_id"], set()) - {positive["item_id"]}
        if positive["row_id"] >= pool.rows and others:
            again.append(negative["item_id"] in others)
    assert len(again) > 1_000
    assert 0.45 < sum(again) / len(again) < 0.6

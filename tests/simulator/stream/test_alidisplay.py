from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import DataError
from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from tests.simulator.stream.raw_files import DAY, ingested, rejects, rows_of, settings_for, write_lines

MORNING = 1_494_000_000  # 2017-05-06 00:00, UTC+8
SAMPLE = "user,time_stamp,adgroup_id,pid,nonclk,clk"
PROFILE = (
    "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
    "new_user_class_level "  # with the blank that the genuine header ends in
)
AD = "adgroup_id,cate_id,campaign_id,customer,brand,price"
PROFILES = ["234,0,5,2,5,,3,0,3", "235,1,6,1,4,2,3,1,"]
ADS = ["1,6406,83237,1,95471,170.0", "2,6407,83238,2,NULL,9.5"]


def write(
    folder: Path,
    sample: list[str],
    *,
    profiles: list[str] = PROFILES,
    ads: list[str] = ADS,
    behaviors: list[str] | None = None,
) -> None:
    write_lines(folder / "raw" / "raw_sample.csv", [SAMPLE, *sample])
    write_lines(folder / "raw" / "user_profile.csv", [PROFILE, *profiles])
    write_lines(folder / "raw" / "ad_feature.csv", [AD, *ads])
    if behaviors is not None:
        write_lines(folder / "raw" / "behavior_log.csv", ["user,time_stamp,btag,cate,brand", *behaviors])


def log_of(folder: Path, **settings: float) -> Log:
    return ingested(settings_for(folder, source="alidisplay", utc_offset_hours=8, **settings))


def test_an_impression_has_its_users_profile_and_its_ads_features(tmp_path: Path) -> None:
    write(tmp_path, [f"234,{MORNING},1,430548_1007,1,0", f"235,{MORNING + DAY},2,430539_1007,0,1"])
    log = log_of(tmp_path)
    assert len(log.schema.fields) == 12
    assert log.schema.histories == ()
    first, second = rows_of(log)
    assert first == {
        "row_id": 0,
        "ts": MORNING,
        **{"userid": "234", "cms_segid": "0", "cms_group_id": "5", "final_gender_code": "2", "age_level": "5"},
        **{"shopping_level": "3", "occupation": "0"},
        **{"adgroup_id": "1", "cate_id": "6406", "campaign_id": "83237", "customer": "1"},
        "pid": "430548_1007",
        "click": 0,
    }
    assert (second["userid"], second["adgroup_id"], second["click"]) == ("235", "2", 1)


def test_histories_hold_the_latest_behaviours_strictly_before_the_impression(tmp_path: Path) -> None:
    later = MORNING + DAY
    behaviors = [
        f"234,{MORNING},cart,30,300",
        f"234,{MORNING - 2},pv,10,NULL",
        f"235,{MORNING - 1},pv,90,900",
        f"234,{MORNING - 1},pv,20,200",
        f"234,{later - 1},buy,40,400",
        f"999,{MORNING - 1},pv,1,1",
    ]
    sample = [f"234,{later},1,a,1,0", f"234,{MORNING},2,a,1,0", f"234,{MORNING},1,a,1,0", f"235,{MORNING - 1},1,a,1,0"]
    write(tmp_path, sample, behaviors=behaviors)
    rows = rows_of(log_of(tmp_path))
    assert [(row["ts"], row["cate_list"], row["brand_list"]) for row in rows] == [
        (MORNING - 1, [], []),
        (MORNING, ["10", "20"], [None, "200"]),
        (MORNING, ["10", "20"], [None, "200"]),
        (later, ["10", "20", "30", "40"], [None, "200", "300", "400"]),
    ]
    assert [row["brand"] for row in rows] == ["95471", None, "95471", "95471"]
    rows = rows_of(log_of(tmp_path, history_length=3))
    assert rows[-1]["cate_list"] == ["20", "30", "40"]


def test_rows_without_a_profile_or_an_ad_are_left_out_and_told_in_one_line_each(tmp_path: Path) -> None:
    good = [f"234,{MORNING},1,a,1,0", f"235,{MORNING + DAY},2,a,1,0"]
    write(tmp_path, [*good, f"7,{MORNING},1,a,1,0", f"7,{MORNING},3,a,1,0", f"234,{MORNING},3,a,1,0"])
    notices: list[str] = []
    log = ingest(*settings_for(tmp_path, source="alidisplay", utc_offset_hours=8), notices.append)
    assert notices == [
        "1 raw rows are left out: their ad has no row in ad_feature.csv",
        "2 raw rows are left out: their user has no row in user_profile.csv",
    ]
    assert (log.manifest.rows_in, log.manifest.rows_kept) == (2, 2)


@pytest.mark.parametrize("unpacked", [[], ["user_profile.csv", "ad_feature.csv"]])
def test_files_that_are_still_packed_are_named(tmp_path: Path, unpacked: list[str]) -> None:
    for name in ["raw_sample.csv.tar.gz", *unpacked]:
        write_lines(tmp_path / "raw" / name, ["x"])
    with pytest.raises(DataError, match=r"raw_sample\.csv: no such file; .* unpack raw_sample\.csv\.tar\.gz there"):
        log_of(tmp_path)


@pytest.mark.parametrize("with_behaviors", [False, True])
def test_bad_rows_of_every_file_are_set_aside_with_file_row_and_reason(tmp_path: Path, with_behaviors: bool) -> None:
    write(
        tmp_path,
        [
            f"234,{MORNING},1,a,1,0",
            f"234,{MORNING},1,a,0",
            "234,today,1,a,1,0",
            f"7,{MORNING},1,a,1,yes",
            f"234,{MORNING + DAY},2,a,0,1",
        ],
        profiles=[*PROFILES, "234,9,9,9,9,9,9,9,9", "236,0"],
        ads=[*ADS, "3,6406,83237,1,95471"],
        behaviors=[f"234,{MORNING - 5},pv,10,100", f"234,{MORNING - 4},pv,10", "234,,pv,10,100"]
        if with_behaviors
        else None,
    )
    log = log_of(tmp_path, max_reject_share=0.9)
    bad_behaviors = [
        ("behavior_log.csv", 3, "5 columns expected, 4 found"),
        ("behavior_log.csv", 4, "time '' does not parse"),
    ]
    assert rejects(log) == [
        ("ad_feature.csv", 4, "6 columns expected, 5 found"),
        *(bad_behaviors if with_behaviors else []),
        ("raw_sample.csv", 3, "6 columns expected, 5 found"),
        ("raw_sample.csv", 4, "time 'today' does not parse"),
        ("raw_sample.csv", 5, "label 'yes' is not 0 or 1"),
        ("user_profile.csv", 4, "userid '234' is repeated"),
        ("user_profile.csv", 5, "9 columns expected, 2 found"),
    ]
    rows = rows_of(log)
    assert [row["cms_segid"] for row in rows] == ["0", "0"]
    if with_behaviors:
        assert [row["cate_list"] for row in rows] == [["10"], ["10"]]

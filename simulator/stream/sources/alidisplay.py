"""Ali Display (Tianchi 56): raw_sample.csv, user_profile.csv, ad_feature.csv and, if there, behavior_log.csv.

A row is an impression of raw_sample with its user's profile and its ad's features; one without either is no
part of the log, as in the published experiments. EDK has 12 fields without listing them: taken here are the
columns that are never missing, so pvalue_level, new_user_class_level and price are left out.

With behavior_log.csv, `cate_list` and `brand_list` hold the categories and brands of the user's latest
behaviours of any kind, strictly before the impression; the ad's brand is then a field too, as the brands of a
history are values of a field.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, History, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings

FILES = ("raw_sample.csv", "user_profile.csv", "ad_feature.csv")
BEHAVIORS = "behavior_log.csv"
ABSENT = f"holds none of {', '.join(FILES)}: get the data at https://tianchi.aliyun.com/dataset/56"
SHAPED_BY: tuple[str, ...] = ()

SAMPLE = ("user", "time_stamp", "adgroup_id", "pid", "clk")
PROFILE = (
    *("userid", "cms_segid", "cms_group_id", "final_gender_code", "age_level", "shopping_level"),
    "occupation",
)
AD = ("adgroup_id", "cate_id", "campaign_id", "customer")
HISTORIES = {"cate_list": "cate_id", "brand_list": "brand"}


def schema(*, behaviors: bool) -> Schema:
    """The 12 fields; with behaviours also the brand and two histories."""
    return Schema(
        fields=(
            *(Field(name=name, role="user") for name in PROFILE),
            *(Field(name=name, role="item") for name in (*AD, *(("brand",) if behaviors else ()))),
            Field(name="pid", role="scenario"),
        ),
        user="userid",
        item="adgroup_id",
        histories=tuple(History(name=name, field=field) for name, field in HISTORIES.items()) if behaviors else (),
    )


def find(stream: StreamSettings) -> tuple[Path, ...]:
    files = matching.named_files(stream.root, FILES)
    return (*files, *matching.optional_file(stream.root, BEHAVIORS)) if files else ()


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    root = Path(stream.root)
    sample, profile, ad = (
        raw.separated(file, root, columns)
        for file, columns in zip(files, (SAMPLE, PROFILE, (*AD, "brand")), strict=False)
    )
    tables = f"""
        sample AS MATERIALIZED (SELECT *, {times.whole_seconds("time_stamp", "s")} AS _ts FROM ({sample})),
        profile AS MATERIALIZED ({raw.unrepeated(profile, "userid")}),
        ad AS MATERIALIZED ({raw.unrepeated(ad, "adgroup_id")})"""
    impressions = """
        SELECT sample.*, profile.* EXCLUDE (_file, _row, _part, _defect),
            ad.* EXCLUDE (_file, _row, _part, _defect, adgroup_id),
            CASE WHEN userid IS NULL THEN 'their user has no row in user_profile.csv'
                WHEN ad.adgroup_id IS NULL THEN 'their ad has no row in ad_feature.csv' END AS _left_out
        FROM sample
        LEFT JOIN profile ON sample."user" = userid AND profile._defect IS NULL
        LEFT JOIN ad ON sample.adgroup_id = ad.adgroup_id AND ad._defect IS NULL"""
    bad = [raw.bad_rows("profile"), raw.bad_rows("ad")]
    with_behaviors = len(files) > len(FILES)
    if with_behaviors:
        tables += f", earlier AS MATERIALIZED ({_earlier(files[-1], root, stream.history_length)})"
        impressions = f"""
            SELECT * FROM ({impressions})
            LEFT JOIN (SELECT _row, behaviors FROM earlier WHERE _defect IS NULL) USING (_row)"""
        bad.append(raw.bad_rows("earlier"))
    described = schema(behaviors=with_behaviors)
    lists = {
        "cate_list": "list_transform(behaviors, lambda behavior: behavior.cate)",
        "brand_list": "list_transform(behaviors, lambda behavior: behavior.brand)",
    }
    return RawLog(
        source="alidisplay",
        schema=described,
        root=root,
        relation=f"WITH {tables} {' UNION ALL BY NAME '.join([impressions, *bad])}",
        time="time_stamp",
        ts="_ts",
        label="clk",
        values={name: name for name in described.names} | (lists if with_behaviors else {}),
        defect="_defect",
        left_out="_left_out",
        missing=("", "NULL"),
    )


def _earlier(file: Path, root: Path, length: int) -> str:
    """The latest `length` behaviours before each row of `sample`, oldest first; and bad rows of the file.

    One sort by user and time over both, without a list that grows with the file: lists do not spill to disk.
    """
    rows = raw.separated(file, root, ("user", "time_stamp", "cate", "brand"))
    timed = f"SELECT *, {times.whole_seconds('time_stamp', 's')} AS _ts FROM ({rows})"
    no_time = f"CASE WHEN _ts IS NULL THEN 'time ' || {raw.quoted('time_stamp')} || ' does not parse' END"
    latest = ", ".join(f"lag(behavior, {back} IGNORE NULLS) OVER past" for back in range(length, 0, -1))
    return f"""
        SELECT _file, _row, _part, _defect, list_filter(latest, lambda one: one IS NOT NULL) AS behaviors FROM (
            SELECT *, [{latest}] AS latest FROM (
                SELECT _file, _row, _part, _defect, "user", _ts, NULL AS behavior FROM sample
                WHERE _defect IS NULL AND _ts IS NOT NULL
                UNION ALL
                SELECT _file, _row, _part, _defect, "user", _ts,
                    CASE WHEN _defect IS NULL THEN {{'cate': cate, 'brand': brand}} END
                FROM ({raw.checked(timed, no_time)}))
            WINDOW past AS (PARTITION BY "user" ORDER BY _ts, behavior IS NOT NULL, _row))
        WHERE behavior IS NULL"""

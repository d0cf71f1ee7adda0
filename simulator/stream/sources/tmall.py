"""Tmall (IJCAI-15): user_log_format1.csv, and user_info_format1.csv with each user's age range and gender.

Every row of the log is a click, whatever the action, and gets a negative as in RIM (`negatives.py`), which
replaces item, category, seller and brand and keeps the action. Further labels tell the actions beyond a click.
Times are days, written mmdd; the year, which the files do not tell, is taken as 2014. Days are read as UTC, so that
periods begin with them.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.sources.negatives import behaviour_labels, pool_end, with_negatives

FILES = ("user_log_format1.csv", "user_info_format1.csv")
ABSENT = f"holds none of {', '.join(FILES)}: get the data at https://tianchi.aliyun.com/dataset/42"
SHAPED_BY: tuple[str, ...] = ()

YEAR = 2014
USER = ("user_id", "age_range", "gender")
ITEM = ("item_id", "cat_id", "seller_id", "brand_id")
FURTHER_LABELS = {"cart": "1", "buy": "2", "favourite": "3"}
ACTIONS = ("0", *FURTHER_LABELS.values())  # 0 is a click

SCHEMA = Schema(
    fields=(
        *(Field(name=name, role="user") for name in USER),
        *(Field(name=name, role="item") for name in ITEM),
        Field(name="action_type", role="context"),
    ),
    user="user_id",
    item="item_id",
    labels=("click", *FURTHER_LABELS),
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    root = Path(stream.root)
    rows = raw.separated(files[0], root, ("user_id", *ITEM, "time_stamp", "action_type"))
    day = f"{YEAR} || CASE WHEN len(time_stamp) = 3 THEN '0' || time_stamp ELSE time_stamp END"
    timed = f"SELECT *, {times.seconds_of_day(day)} AS _ts FROM ({rows})"
    clicks = with_negatives(
        raw.checked(timed, raw.not_among("action_type", ACTIONS)),
        user="user_id",
        item=ITEM,
        pool_until=pool_end(stream),
    )
    return RawLog(
        source="tmall",
        schema=SCHEMA,
        root=root,
        relation=f"""
            WITH info AS MATERIALIZED ({raw.unrepeated(raw.separated(files[1], root, USER), "user_id")})
            SELECT clicks.*, age_range, gender FROM ({clicks}) AS clicks
            LEFT JOIN (SELECT user_id, age_range, gender FROM info WHERE _defect IS NULL) USING (user_id)
            UNION ALL BY NAME {raw.bad_rows("info")}""",
        time="time_stamp",
        ts="_ts",
        label="_label",
        further_labels=behaviour_labels("action_type", FURTHER_LABELS),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
    )

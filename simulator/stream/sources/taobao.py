"""Taobao UserBehavior: UserBehavior.csv, without a header: user, item, category, behaviour, Unix seconds.

Every row is a click, whatever the behaviour, and gets a negative as in RIM (`negatives.py`), which replaces item
and category and keeps the behaviour. Further labels tell the behaviours beyond viewing. The official span is nine
days, cut in UTC+8; some rows lie outside it.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.sources.negatives import behaviour_labels, pool_end, with_negatives

FILES = ("UserBehavior.csv",)
ABSENT = f"holds no {FILES[0]}: get the data at https://tianchi.aliyun.com/dataset/649"
SHAPED_BY: tuple[str, ...] = ()

COLUMNS = ("user_id", "item_id", "category_id", "behavior", "timestamp")
ITEM = ("item_id", "category_id")
FURTHER_LABELS = {name: name for name in ("cart", "fav", "buy")}
BEHAVIORS = ("pv", *FURTHER_LABELS)
BEIJING = timezone(timedelta(hours=8))
START, END = (int(datetime(2017, month, day, tzinfo=BEIJING).timestamp()) for month, day in ((11, 25), (12, 4)))

SCHEMA = Schema(
    fields=(
        Field(name="user_id", role="user"),
        *(Field(name=name, role="item") for name in ITEM),
        Field(name="behavior", role="context"),
    ),
    user="user_id",
    item="item_id",
    labels=("click", *FURTHER_LABELS),
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    rows = raw.separated(files[0], Path(stream.root), COLUMNS, header=COLUMNS)
    outside = f"""CASE WHEN _ts < {START} OR _ts >= {END}
        THEN 'time ' || {raw.quoted("timestamp")} || ' is not in 2017-11-25 to 2017-12-03, UTC+8' END"""
    timed = f"SELECT *, {times.whole_seconds('timestamp', 's')} AS _ts FROM ({rows})"
    return RawLog(
        source="taobao",
        schema=SCHEMA,
        root=Path(stream.root),
        relation=with_negatives(
            raw.checked(timed, raw.not_among("behavior", BEHAVIORS), outside),
            user="user_id",
            item=ITEM,
            pool_until=pool_end(stream),
        ),
        time="timestamp",
        ts="_ts",
        label="_label",
        further_labels=behaviour_labels("behavior", FURTHER_LABELS),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
    )

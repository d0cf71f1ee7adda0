"""Alipay (IJCAI-16): ijcai2016_taobao.csv (use_ID, sel_ID, ite_ID, cat_ID, act_ID, time).

Every row is a click, whatever the action, and gets a negative as in RIM (`negatives.py`), which replaces seller,
item and category and keeps the action. A further label tells a purchase. Times are days, written YYYYMMDD, and are
read as UTC, so that periods begin with them.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.sources.negatives import behaviour_labels, pool_end, with_negatives

FILES = ("ijcai2016_taobao.csv",)
ABSENT = f"holds no {FILES[0]}: get the data at https://tianchi.aliyun.com/dataset/53"
SHAPED_BY: tuple[str, ...] = ()

ITEM = ("sel_ID", "ite_ID", "cat_ID")
FURTHER_LABELS = {"buy": "1"}
ACTIONS = ("0", *FURTHER_LABELS.values())  # 0 is a click

SCHEMA = Schema(
    fields=(
        Field(name="use_ID", role="user"),
        *(Field(name=name, role="item") for name in ITEM),
        Field(name="act_ID", role="context"),
    ),
    user="use_ID",
    item="ite_ID",
    labels=("click", *FURTHER_LABELS),
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    rows = raw.separated(files[0], Path(stream.root), ("use_ID", *ITEM, "act_ID", "time"))
    timed = f"SELECT *, {times.seconds_of_day('time')} AS _ts FROM ({rows})"
    return RawLog(
        source="alipay",
        schema=SCHEMA,
        root=Path(stream.root),
        relation=with_negatives(
            raw.checked(timed, raw.not_among("act_ID", ACTIONS)),
            user="use_ID",
            item=ITEM,
            pool_until=pool_end(stream),
        ),
        time="time",
        ts="_ts",
        label="_label",
        further_labels=behaviour_labels("act_ID", FURTHER_LABELS),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
    )

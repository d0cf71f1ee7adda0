"""Small good raw logs of every source, made to be damaged: one row of each file, the victim, takes the damage.

A victim may go without taking anything else with it: it has a user (or a key) of its own, other rows show the
same item, and both days have other rows, some of them before it in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from simulator.stream.settings import TableSettings
from simulator.stream.sources import eleme
from simulator.stream.sources.taobao import START
from tests.simulator.stream.malformed_files import GoodLog, ParquetFile, TextFile
from tests.simulator.stream.raw_files import DAY, MONDAY, eleme_line
from tests.simulator.stream.test_iaac import COLUMNS as IAAC_COLUMNS
from tests.simulator.stream.test_iaac import line as iaac_line

VICTIM = "900"  # its user, or its key


def _text(
    name: str, columns: str | Sequence[str], rows: Sequence[Sequence[object]], victim: int, **form: Any
) -> TextFile:
    names = tuple(columns.split(",") if isinstance(columns, str) else columns)
    values = tuple(tuple(map(str, row)) for row in rows)
    assert all(len(row) == len(names) for row in values)
    return TextFile(name=name, columns=names, rows=values, victim=victim, **form)


def _alidisplay() -> GoodLog:
    start = 1_494_000_000
    profiles = [(user, 0, 5, 2, 5, "", 3, 0, 3) for user in (1, 2, VICTIM, 3)]
    return GoodLog(
        name="alidisplay",
        source="alidisplay",
        user="userid",
        stream={"utc_offset_hours": 8},
        files=(
            _text(
                "raw_sample.csv",
                "user,time_stamp,adgroup_id,pid,nonclk,clk",
                [
                    (1, start, 10, "p1", 1, 0),
                    (2, start + DAY, 20, "p1", 0, 1),
                    (VICTIM, start + 60, 10, VICTIM, 0, 1),
                    (2, start + 120, 30, "p2", 1, 0),
                    (1, start + DAY + 60, 10, "p2", 0, 1),
                ],
                victim=2,
            ),
            _text(
                "user_profile.csv",
                "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,occupation,"
                "new_user_class_level ",
                profiles,
                victim=2,
            ),
            _text(
                "ad_feature.csv",
                "adgroup_id,cate_id,campaign_id,customer,brand,price",
                [(10, 1, 1, 1, 7, 170.0), (20, 2, 1, 1, "NULL", 9.5), (30, 3, 1, 1, 8, 9.5), (40, 4, 1, 1, 8, 9.5)],
                victim=2,
            ),
            _text(
                "behavior_log.csv",
                "user,time_stamp,btag,cate,brand",
                [
                    (1, start - 60, "pv", 1, 7),
                    (2, start - 50, "cart", 2, "NULL"),
                    (1, start - 40, "buy", VICTIM, 8),
                    (1, start + 40, "pv", 3, 9),
                ],
                victim=2,
            ),
        ),
    )


def _alipay() -> GoodLog:
    rows = [
        (1, 7, 10, 100, 0, 20150701),
        (2, 8, 11, 101, 1, 20150702),
        (VICTIM, 7, 10, 100, 0, 20150701),
        (1, 9, 12, 102, 0, 20150702),
    ]
    file = _text("ijcai2016_taobao.csv", "use_ID,sel_ID,ite_ID,cat_ID,act_ID,time", rows, victim=2)
    return GoodLog(name="alipay", source="alipay", user="use_ID", files=(file,), has_negatives=True)


def _eleme() -> GoodLog:
    users = {"1": MONDAY, "2": MONDAY + DAY, VICTIM: MONDAY + 60, "3": MONDAY + DAY + 60}
    rows = [eleme_line(time, user_id=user, label=str(int(user) % 2)).split(",") for user, time in users.items()]
    file = _text("D1_0.csv", eleme.COLUMNS, rows, victim=2, header=False, quotes=False)
    return GoodLog(name="eleme", source="eleme", files=(file,))


def _iaac() -> GoodLog:
    start = 1_537_200_000
    users = {"1": start, "2": start + DAY, VICTIM: start + 60, "3": start + DAY + 60}
    rows = [iaac_line(int(user), time, user_id=user).split(" ") for user, time in users.items()]
    file = _text("round1_ijcai_18_train_20180301.txt", IAAC_COLUMNS, rows, victim=2, separator=" ")
    return GoodLog(name="iaac", source="iaac", stream={"utc_offset_hours": 8}, files=(file,))


def _marketbias() -> GoodLog:
    days = {"1": "1999-06-13", "2": "1999-06-14 10:30:00", VICTIM: "1999-06-13", "3": "1999-06-14"}
    rows = [
        (number, user, 3.0 + number % 2, day, "Female", "Headphones", "Koss", 1999, "", 0)
        for number, (user, day) in enumerate(days.items())
    ]
    columns = "item_id,user_id,rating,timestamp,model_attr,category,brand,year,user_attr,split"
    file = _text("df_electronics.csv", columns, rows, victim=2)
    return GoodLog(name="marketbias", source="marketbias", files=(file,))


def _movielens() -> GoodLog:
    users = {"1": MONDAY, "2": MONDAY + DAY, VICTIM: MONDAY + 60, "3": MONDAY + DAY + 60}
    rated = [(user, 31 + number % 2, 3.5 + number % 2, time) for number, (user, time) in enumerate(users.items())]
    rated[-1] = ("3", 900, 5, MONDAY + DAY + 60)
    movies = [
        (31, "Net, The (1995)", "Crime|Drama"),
        (32, "Twelve (1995)", "(no genres listed)"),
        (VICTIM, 'The "Big" One', "War"),
        (33, "Toy Story", "Comedy"),
    ]
    return GoodLog(
        name="movielens",
        source="movielens",
        user="userId",
        files=(
            _text("ratings.csv", "userId,movieId,rating,timestamp", rated, victim=2),
            _text("movies.csv", "movieId,title,genres", movies, victim=2),
        ),
    )


def _taobao() -> GoodLog:
    rows = [
        (1, 7, 70, "pv", START),
        (2, 8, 80, "buy", START + DAY),
        (VICTIM, 7, 70, "cart", START + 60),
        (1, 9, 90, "fav", START + DAY + 60),
    ]
    columns = "user_id,item_id,category_id,behavior,timestamp"
    file = _text("UserBehavior.csv", columns, rows, victim=2, header=False)
    stream = {"utc_offset_hours": 8}
    return GoodLog(name="taobao", source="taobao", stream=stream, files=(file,), has_negatives=True)


def _tmall() -> GoodLog:
    actions = [
        (1, 10, 100, 7, "", "0829", 0),
        (2, 11, 101, 7, 70, "0830", 2),
        (VICTIM, 10, 100, 7, "", "829", 3),
        (1, 12, 102, 8, 80, "0830", 1),
    ]
    return GoodLog(
        name="tmall",
        source="tmall",
        files=(
            _text(
                "user_log_format1.csv",
                "user_id,item_id,cat_id,seller_id,brand_id,time_stamp,action_type",
                actions,
                victim=2,
            ),
            _text(
                "user_info_format1.csv",
                "user_id,age_range,gender",
                [(1, 3, 1), (2, "", 2), (VICTIM, 4, 0), (3, 1, 1)],
                victim=2,
            ),
        ),
        has_negatives=True,
    )


TABLE: dict[str, Any] = {
    "time": "shown_at",
    "label": "clicked",
    "request": "view",
    "user": ["user_id", "country"],
    "item": ["item_id"],
    "context": ["device"],
    "histories": {"seen": "item_id"},
}


def _table_csv() -> GoodLog:
    rows = [
        (f"i{number}", user, "DK", "phone, old", MONDAY + number % 2 * DAY + number, number % 2, "i1;i2", number)
        for number, user in enumerate(("1", "2", VICTIM, "3", "4"))
    ]
    file = _text("a.csv", "item_id,user_id,country,device,shown_at,clicked,seen,view", rows, victim=2)
    table = TableSettings(files="*.csv", **TABLE)
    return GoodLog(name="table-csv", source="table", stream={"table": table}, files=(file,))


def _table_parquet() -> GoodLog:
    schema = pa.schema(
        {
            "item_id": pa.int64(),
            "user_id": pa.int64(),
            "country": pa.string(),
            "device": pa.string(),
            "shown_at": pa.int64(),
            "clicked": pa.float64(),
            "seen": pa.list_(pa.int64()),
            "view": pa.int64(),
        }
    )
    rows = [
        (number, int(user), "DK", "phone", MONDAY + number % 2 * DAY + number, number % 2, [1, 2], number)
        for number, user in enumerate(("1", "2", VICTIM, "3", "4"))
    ]
    file = ParquetFile(
        name="a.parquet",
        schema=schema,
        rows=tuple(dict(zip(schema.names, row, strict=True)) for row in rows),
        victim=2,
    )
    table = TableSettings(files="*.parquet", **TABLE)
    return GoodLog(name="table-parquet", source="table", stream={"table": table}, files=(file,))


def _ebnerd() -> GoodLog:
    noon = datetime(2023, 5, 18, 12)
    behaviors = pa.schema(
        {
            "impression_id": pa.uint32(),
            "article_id": pa.int32(),
            "impression_time": pa.timestamp("us"),
            "user_id": pa.uint32(),
            "device_type": pa.int8(),
            "is_sso_user": pa.bool_(),
            "gender": pa.int8(),
            "postcode": pa.int8(),
            "age": pa.int8(),
            "is_subscriber": pa.bool_(),
            "article_ids_inview": pa.list_(pa.int32()),
            "article_ids_clicked": pa.list_(pa.int32()),
        }
    )
    history = pa.schema(
        {
            "user_id": pa.uint32(),
            "impression_time_fixed": pa.list_(pa.timestamp("us")),
            "article_id_fixed": pa.list_(pa.int32()),
        }
    )

    def behavior(number: int, time: datetime, user: int) -> dict[str, Any]:
        lists = {"article_ids_inview": [20, 10], "article_ids_clicked": [10]}
        row = {"impression_id": number, "article_id": 7, "impression_time": time, "user_id": user, "device_type": 1}
        return row | lists

    def clicks(user: int, *articles: int) -> dict[str, Any]:
        times = [noon - timedelta(hours=number + 1) for number in range(len(articles))]
        return {"user_id": user, "impression_time_fixed": times, "article_id_fixed": list(articles)}

    later, victim = timedelta(days=1), int(VICTIM)
    parts = {
        "behaviors_train": [behavior(1, noon, 1), behavior(2, noon + later, 2), behavior(3, noon, victim)],
        "behaviors_val": [behavior(4, noon + later, 1), behavior(5, noon, 2), behavior(6, noon + later, victim)],
        "history_train": [clicks(1, 5, 6), clicks(2, 8), clicks(victim, 9, 5)],
        "history_val": [clicks(1, 6), clicks(2), clicks(victim, 4)],
    }
    files = tuple(
        ParquetFile(
            name=f"{name}.parquet",
            schema=behaviors if name.startswith("behaviors") else history,
            rows=(*rows[:2], rows[2], *([behavior(len(name), noon, 3)] if name.startswith("behaviors") else [])),
            victim=2,
        )
        for name, rows in parts.items()
    )
    return GoodLog(name="ebnerd", source="ebnerd", files=files)


GOOD = {
    log.name: log
    for log in (
        _alidisplay(),
        _alipay(),
        _ebnerd(),
        _eleme(),
        _iaac(),
        _marketbias(),
        _movielens(),
        _table_csv(),
        _table_parquet(),
        _taobao(),
        _tmall(),
    )
}
TEXT = [(log, file) for log in GOOD.values() for file in log.files if isinstance(file, TextFile)]
PARQUET = [(log, file) for log in GOOD.values() for file in log.files if isinstance(file, ParquetFile)]

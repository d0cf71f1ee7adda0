"""Eleme (Tianchi 131047): D1_0.csv and so on, Dk being day k of 8.

Comma separated, no header, 39 columns; lists joined with `;`, all twelve of a row equally long; missing is
-1 or -99. EDK names 17 fields and 8 histories without listing them: taken here are 4 fields of the user, 9
of the item and 4 of the context, and as histories the seven lists that hold values of an item field and
`hours_list` (`price_list` has no field among the 17). Lists are taken as oldest first.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, History, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings

ABSENT = "holds no D1_0.csv or other D<day>_<part>.csv: get the data at https://tianchi.aliyun.com/dataset/131047"
SHAPED_BY: tuple[str, ...] = ("time_unit",)

_USER = "user_id gender visit_city avg_price is_supervip ctr_30 ord_30 total_amt_30"
_ITEM = (
    "shop_id item_id city_id district_id shop_aoi_id shop_geohash_6 shop_geohash_12 brand_id category_1_id"
    " merge_standard_food_id rank_7 rank_30 rank_90"
)
_LISTS = (
    "shop_id_list item_id_list category_1_id_list merge_standard_food_id_list brand_id_list price_list"
    " shop_aoi_id_list shop_geohash6_list timediff_list hours_list time_type_list weekdays_list"
)
_CONTEXT = "times hours time_type weekdays geohash12"
COLUMNS = f"label {_USER} {_ITEM} {_LISTS} {_CONTEXT}".split()
LISTS = _LISTS.split()

USER = ("user_id", "gender", "visit_city", "is_supervip")
ITEM = (
    *("shop_id", "item_id", "city_id", "district_id", "shop_aoi_id", "shop_geohash_6"),
    *("brand_id", "category_1_id", "merge_standard_food_id"),
)
CONTEXT = ("hours", "time_type", "weekdays", "geohash12")
SCENARIO = "time_type"  # one of CONTEXT: the time of the meal
HISTORIES = {
    "shop_id_list": "shop_id",
    "item_id_list": "item_id",
    "category_1_id_list": "category_1_id",
    "merge_standard_food_id_list": "merge_standard_food_id",
    "brand_id_list": "brand_id",
    "shop_aoi_id_list": "shop_aoi_id",
    "shop_geohash6_list": "shop_geohash_6",
    "hours_list": "hours",
}


def schema(*, synthetic: bool = False) -> Schema:
    """The 17 fields and 8 histories; a synthetic world also knows requests and click probabilities."""
    return Schema(
        fields=(
            *(Field(name=name, role="user") for name in USER),
            *(Field(name=name, role="item") for name in ITEM),
            *(Field(name=name, role="scenario" if name == SCENARIO else "context") for name in CONTEXT),
        ),
        user="user_id",
        item="item_id",
        histories=tuple(History(name=name, field=field) for name, field in HISTORIES.items()),
        has_request=synthetic,
        has_p_true=synthetic,
    )


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.numbered_files(stream.root, "D*_*.csv")


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    def column(name: str) -> str:
        return f"parts[{COLUMNS.index(name) + 1}]"

    lines = raw.union(raw.lines(file, Path(stream.root)) for file in files)
    lists = {name: raw.split_list(column(name), ";") for name in LISTS}
    lengths = ", ".join(f"len({joined})" for joined in lists.values())
    plain = [*USER, *ITEM, *CONTEXT]
    return RawLog(
        source="eleme",
        schema=schema(),
        root=Path(stream.root),
        relation=f"SELECT *, string_split(line, ',') AS parts FROM ({lines})",
        time=column("times"),
        ts=times.whole_seconds(column("times"), stream.time_unit),
        label=column("label"),
        values={name: column(name) for name in plain} | {name: lists[name] for name in HISTORIES},
        defect=f"""CASE
            WHEN len(parts) <> {len(COLUMNS)} THEN '{len(COLUMNS)} columns expected, ' || len(parts) || ' found'
            WHEN least({lengths}) <> greatest({lengths}) THEN 'lists of different lengths'
        END""",
        missing=("", "-1", "-99"),
    )

"""IAAC (IJCAI-18, Alimama): round1_ijcai_18_train_20180301.txt, ads clicked in search and whether they sold.

Separated by blanks, with a header of 27 columns; missing is -1; some rows stand twice, the second is a reject.
The label is the trade. Taken are the columns that hold one category each, of item_category_list the last entry, the
narrowest, and as lists the item's properties and what the search was taken to ask for: predict_category_property is
`category:property,property;category:-1`, of which the categories are one list and the properties another. Left out are
the ids of row and context, which name one impression, and the shop's rates and scores, which are fractions. MI-DPG does
not tell its scenario: here it is the page of the search results.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings

FILES = ("round1_ijcai_18_train_20180301.txt",)
ABSENT = f"holds no {FILES[0]}: get the data of IJCAI-18 at https://tianchi.aliyun.com/competition/entrance/231647"
SHAPED_BY: tuple[str, ...] = ("lists",)

USER = ("user_id", "user_gender_id", "user_age_level", "user_occupation_id", "user_star_level")
ITEM = (
    *("item_id", "item_category_list", "item_brand_id", "item_city_id", "item_price_level"),
    *("item_sales_level", "item_collected_level", "item_pv_level"),
    *("shop_id", "shop_review_num_level", "shop_star_level"),
)

_PAIRS = "list_transform(string_split(predict_category_property, ';'), lambda pair: string_split(pair, ':'))"
PREDICTED = {
    "predicted_categories": f"list_transform({_PAIRS}, lambda pair: pair[1])",
    "predicted_properties": f"flatten(list_transform({_PAIRS}, lambda pair: string_split(pair[2], ',')))",
}

SCHEMA = Schema(
    fields=(
        *(Field(name=name, role="user") for name in USER),
        *(Field(name=name, role="item") for name in ITEM),
        Field(name="context_page_id", role="scenario"),
        Field(name="item_property_list", role="item", pooling="mean"),
        Field(name="predicted_categories", role="context", pooling="mean"),
        Field(name="predicted_properties", role="context", pooling="mean"),
    ),
    user="user_id",
    item="item_id",
    labels=("is_trade",),
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    named = [name for name in SCHEMA.names if name not in PREDICTED]
    columns = ("instance_id", *named, "predict_category_property", "context_timestamp", "is_trade")
    rows = raw.separated(files[0], Path(stream.root), columns, separator=" ")
    return RawLog(
        source="iaac",
        schema=raw.pooled_by(SCHEMA, stream.lists.pooling),
        root=Path(stream.root),
        relation=raw.unrepeated(rows, "instance_id"),
        time="context_timestamp",
        ts=times.whole_seconds("context_timestamp", "s"),
        label="is_trade",
        values={name: name for name in SCHEMA.names}
        | {
            "item_category_list": "string_split(item_category_list, ';')[-1]",
            "item_property_list": "string_split(item_property_list, ';')",
        }
        | PREDICTED,
        defect="_defect",
        missing=("", "-1"),
    )

"""MarketBias Electronics: df_electronics.csv, reviews of 9,560 products on Amazon over two decades.

A rating of 4 stars or more is a click; MI-DPG, whose scenario is the category, does not tell its rule. The
gender shown on the product's pictures and the gender told from the user's reviews are fields of the item and the
user. `year` and `split` are left out.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.sources import ratings

FILES = ("df_electronics.csv",)
ABSENT = f"holds no {FILES[0]}: get it from data/ of https://github.com/MengtingWan/marketBias"
SHAPED_BY: tuple[str, ...] = ()

SCHEMA = Schema(
    fields=(
        Field(name="user_id", role="user"),
        Field(name="user_attr", role="user"),
        Field(name="item_id", role="item"),
        Field(name="model_attr", role="item"),
        Field(name="brand", role="item"),
        Field(name="category", role="scenario"),
    ),
    user="user_id",
    item="item_id",
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    rows = raw.separated(files[0], Path(stream.root), (*SCHEMA.names, "rating", "timestamp"))
    return RawLog(
        source="marketbias",
        schema=SCHEMA,
        root=Path(stream.root),
        relation=raw.checked(rows, ratings.defect("rating")),
        time="timestamp",
        ts=times.seconds_of_timestamp("timestamp"),
        label=ratings.label("rating"),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
    )

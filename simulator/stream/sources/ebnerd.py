"""EB-NeRD (RecSys Challenge 2024): impressions of news articles, one row per article shown.

A behaviour names the articles shown and those clicked; rows keep the order shown. Read time and scroll
percentage of the next page are measured after the click, and the number of articles shown gives the click
rate away: none of them is a field. `clicked_articles` joins the click histories of both files and holds, at
any impression, only what was clicked strictly before it. Times have no zone and are read as UTC.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, History, Schema
from simulator.settings import StreamSettings
from simulator.stream import raw
from simulator.stream.raw import RawLog

BEHAVIORS = ("behaviors_train.parquet", "behaviors_val.parquet")
CLICKS = ("history_train.parquet", "history_val.parquet")
ABSENT = f"holds none of {', '.join(BEHAVIORS + CLICKS)}: get the data at https://recsys.eb.dk/dataset/"

USER = ("user_id", "device_type", "is_sso_user", "gender", "postcode", "age", "is_subscriber")
NEEDED = (*USER, "impression_id", "article_id", "impression_time", "article_ids_inview", "article_ids_clicked")
NEEDED_CLICKS = ("user_id", "impression_time_fixed", "article_id_fixed")

SCHEMA = Schema(
    fields=(
        *(Field(name=name, role="user") for name in USER),
        Field(name="article_id", role="item"),
        Field(name="page", role="context"),  # the article that the user was reading
        Field(name="hour", role="context"),
        Field(name="weekday", role="context"),
    ),
    user="user_id",
    item="article_id",
    histories=(History(name="clicked_articles", field="article_id"),),
    has_request=True,
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return raw.named_files(stream.root, (*BEHAVIORS, *CLICKS))


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    behaviors, clicks = files[: len(BEHAVIORS)], files[len(BEHAVIORS) :]
    for group, needed in ((behaviors, NEEDED), (clicks, NEEDED_CLICKS)):
        for file in group:
            raw.require_columns(file, raw.parquet_columns(file), needed)
    return RawLog(
        source="ebnerd",
        schema=SCHEMA,
        root=Path(stream.root),
        relation=_impressions(
            raw.union(raw.parquet(file, Path(stream.root)) for file in behaviors),
            raw.union(raw.parquet(file, Path(stream.root)) for file in clicks),
            stream.history_length,
        ),
        time="impression_time",
        ts=raw.seconds_of_timestamp("impression_time"),
        label="list_contains(article_ids_clicked, shown)",
        request="impression_id",
        values={
            **{name: name for name in USER},
            "article_id": "shown",
            "page": "article_id",
            "hour": "hour(impression_time)",
            "weekday": "isodow(impression_time)",
            "clicked_articles": "earlier",
        },
    )


def _impressions(behaviors: str, histories: str, length: int) -> str:
    """A row per article shown; `earlier` holds the user's latest `length` clicks before the impression.

    Clicks are numbered by user and time; the last number before the impression tells where to cut the list.
    """
    return f"""
        WITH click AS (
            SELECT DISTINCT user_id, time, article FROM (
                SELECT user_id, unnest(impression_time_fixed) AS time, unnest(article_id_fixed) AS article
                FROM ({histories}))
            WHERE time IS NOT NULL AND article IS NOT NULL),
        numbered AS (
            SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY time, article) AS number FROM click),
        moment AS (SELECT user_id, time, max(number) AS number FROM numbered GROUP BY user_id, time),
        clicked AS (SELECT user_id, list(article ORDER BY number) AS articles FROM numbered GROUP BY user_id),
        impression AS (
            SELECT behavior.*, clicked.articles[greatest(1, moment.number - {length - 1}):moment.number] AS earlier
            FROM ({behaviors}) AS behavior
            ASOF LEFT JOIN moment
                ON behavior.user_id = moment.user_id AND behavior.impression_time > moment.time
            LEFT JOIN clicked ON clicked.user_id = moment.user_id)
        SELECT * EXCLUDE (_part), unnest(article_ids_inview) AS shown,
            unnest(range(1, len(article_ids_inview) + 1)) AS _part
        FROM impression"""

"""EB-NeRD (RecSys Challenge 2024): impressions of news articles, one row per article shown.

A behaviour names the articles shown and those clicked; rows keep the order shown. Read time and scroll
percentage of the next page are measured after the click, and the number of articles shown gives the click
rate away: none of them is a field. The scenario is where the list was shown, on the front page or beside an
article. `clicked_articles` joins the click histories of both files and holds, at any impression, only what was
clicked strictly before it. Times have no zone and are read as UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pkb.batch import Field, History, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings

BEHAVIORS = ("behaviors_train.parquet", "behaviors_val.parquet")
CLICKS = ("history_train.parquet", "history_val.parquet")
ABSENT = f"holds none of {', '.join(BEHAVIORS + CLICKS)}: get the data at https://recsys.eb.dk/dataset/"
SHAPED_BY: tuple[str, ...] = ()

USER = ("user_id", "device_type", "is_sso_user", "gender", "postcode", "age", "is_subscriber")
NEEDED = (*USER, "impression_id", "article_id", "impression_time", "article_ids_inview", "article_ids_clicked")
NEEDED_CLICKS = ("user_id", "impression_time_fixed", "article_id_fixed")
TYPES = {  # of the columns that are compared and joined: in the file, and in the engine
    "user_id": ("integer", "BIGINT"),
    "impression_time": ("timestamp without zone", "TIMESTAMP"),
    "article_ids_inview": ("list of integer", "BIGINT[]"),
    "article_ids_clicked": ("list of integer", "BIGINT[]"),
    "impression_time_fixed": ("list of timestamp without zone", "TIMESTAMP[]"),
    "article_id_fixed": ("list of integer", "BIGINT[]"),
}

SCHEMA = Schema(
    fields=(
        *(Field(name=name, role="user") for name in USER),
        Field(name="article_id", role="item"),
        Field(name="page", role="context"),  # the article that the user was reading, missing on the front page
        Field(name="hour", role="context"),
        Field(name="weekday", role="context"),
        Field(name="surface", role="scenario"),
    ),
    user="user_id",
    item="article_id",
    histories=(History(name="clicked_articles", field="article_id"),),
    has_request=True,
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, (*BEHAVIORS, *CLICKS))


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    behaviors, clicks = files[: len(BEHAVIORS)], files[len(BEHAVIORS) :]
    return RawLog(
        source="ebnerd",
        schema=SCHEMA,
        root=Path(stream.root),
        relation=_impressions(
            raw.union(_rows(file, Path(stream.root), NEEDED) for file in behaviors),
            raw.union(_rows(file, Path(stream.root), NEEDED_CLICKS) for file in clicks),
            stream.history_length,
        ),
        time="impression_time",
        ts=times.seconds_of_timestamp("impression_time"),
        label="list_contains(article_ids_clicked, shown)",
        request="impression_id",
        values={
            **{name: name for name in USER},
            "article_id": "shown",
            "page": "article_id",
            "hour": "hour(impression_time)",
            "weekday": "isodow(impression_time)",
            "surface": "CASE WHEN article_id IS NULL THEN 'front' ELSE 'article' END",
            "clicked_articles": "earlier",
        },
        defect="_defect",
    )


def _rows(file: Path, root: Path, needed: Sequence[str]) -> str:
    """Relation of the needed columns, in this order, and those of `TYPES` with their type in the engine."""
    schema = raw.parquet_schema(file, needed)
    raw.require_types(file, schema, {column: TYPES[column][0] for column in needed if column in TYPES})
    casts = {column: f"CAST({raw.name(column)} AS {kind}) AS {raw.name(column)}" for column, (_, kind) in TYPES.items()}
    return raw.parquet(file, root, ", ".join(casts.get(column, raw.name(column)) for column in needed))


def _impressions(behaviors: str, histories: str, length: int) -> str:
    """A row per article shown; `earlier` holds the user's latest `length` clicks before the impression.

    Clicks are numbered by user and time; the last number before the impression tells where to cut the list.
    Bad rows of the histories stand beside the impressions.
    """
    times, articles = "impression_time_fixed", "article_id_fixed"
    return f"""
        WITH history AS (
            SELECT *, CASE
                WHEN user_id IS NULL THEN 'no user'
                WHEN coalesce(len({times}), 0) <> coalesce(len({articles}), 0) THEN 'lists of different lengths'
                WHEN list_count({times}) < len({times}) OR list_count({articles}) < len({articles})
                    THEN 'a time or an article is missing'
            END AS _defect FROM ({histories})),
        click AS (
            SELECT DISTINCT user_id, unnest({times}) AS time, unnest({articles}) AS article
            FROM history WHERE _defect IS NULL),
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
        SELECT *, CASE
            WHEN shown IS NULL THEN 'no article shown'
            WHEN NOT list_has_all(article_ids_inview, article_ids_clicked) THEN 'a clicked article was not shown'
        END AS _defect FROM (
            SELECT * EXCLUDE (_part),
                unnest(CASE WHEN len(article_ids_inview) > 0 THEN article_ids_inview ELSE [NULL] END) AS shown,
                unnest(range(1, greatest(len(article_ids_inview), 1) + 1)) AS _part
            FROM impression)
        UNION ALL BY NAME {raw.bad_rows("history")}"""

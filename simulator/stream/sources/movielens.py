"""MovieLens: ratings.csv (userId, movieId, rating, timestamp) and movies.csv (movieId, title, genres).

A rating of 4 stars or more is a click. The scenario is the first of the genres that movies.csv joins with `|`;
a movie that is not there has none. A film's title, its other genres and tags.csv are left out.
"""

from __future__ import annotations

from pathlib import Path

from pkb.batch import Field, Schema
from simulator.stream import matching, raw, times
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.sources import ratings

FILES = ("ratings.csv", "movies.csv")
ABSENT = f"holds none of {', '.join(FILES)}: get the data at https://grouplens.org/datasets/movielens/"
SHAPED_BY: tuple[str, ...] = ()

SCHEMA = Schema(
    fields=(
        Field(name="userId", role="user"),
        Field(name="movieId", role="item"),
        Field(name="genre", role="scenario"),
    ),
    user="userId",
    item="movieId",
)


def find(stream: StreamSettings) -> tuple[Path, ...]:
    return matching.named_files(stream.root, FILES)


def describe(stream: StreamSettings, files: tuple[Path, ...]) -> RawLog:
    root = Path(stream.root)
    rated = raw.separated(files[0], root, ("userId", "movieId", "rating", "timestamp"))
    movies = raw.unrepeated(raw.separated(files[1], root, ("movieId", "genres")), "movieId")
    return RawLog(
        source="movielens",
        schema=SCHEMA,
        root=root,
        relation=f"""
            WITH movie AS MATERIALIZED ({movies})
            SELECT rated.*, string_split(genres, '|')[1] AS genre
            FROM ({raw.checked(rated, ratings.defect("rating"))}) AS rated
            LEFT JOIN (SELECT movieId, genres FROM movie WHERE _defect IS NULL) USING (movieId)
            UNION ALL BY NAME {raw.bad_rows("movie")}""",
        time="timestamp",
        ts=times.whole_seconds("timestamp", "s"),
        label=ratings.label("rating"),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
        missing=("", "(no genres listed)"),
    )

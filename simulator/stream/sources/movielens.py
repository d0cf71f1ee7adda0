"""MovieLens: ratings.csv (userId, movieId, rating, timestamp) and movies.csv (movieId, title, genres).

A rating of 4 stars or more is a click. The genres that movies.csv joins with `|` are a list, and the first of them is
the scenario; a movie that is not there has none. A film's title and tags.csv are left out.
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
SHAPED_BY: tuple[str, ...] = ("lists",)

SCHEMA = Schema(
    fields=(
        Field(name="userId", role="user"),
        Field(name="movieId", role="item"),
        Field(name="genre", role="scenario"),
        Field(name="genres", role="item", pooling="mean"),
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
        schema=raw.pooled_by(SCHEMA, stream.lists.pooling),
        root=root,
        relation=f"""
            WITH movie AS MATERIALIZED ({movies})
            SELECT rated.*, split AS genres, split[1] AS genre
            FROM ({raw.checked(rated, ratings.defect("rating"))}) AS rated
            LEFT JOIN (SELECT movieId, string_split(genres, '|') AS split FROM movie WHERE _defect IS NULL)
                USING (movieId)
            UNION ALL BY NAME {raw.bad_rows("movie")}""",
        time="timestamp",
        ts=times.whole_seconds("timestamp", "s"),
        label=ratings.label("rating"),
        values={name: name for name in SCHEMA.names},
        defect="_defect",
        missing=("", "(no genres listed)"),
    )

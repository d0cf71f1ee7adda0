from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import DataError
from tests.simulator.stream.raw_files import DAY, MONDAY, ingested, rejects, rows_of, settings_for, write_lines

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "movielens"
MOVIES = ["movieId,title,genres", '31,"Net, The (1995)",Crime|Drama', "32,Twelve (1995),(no genres listed)"]


def write(folder: Path, ratings: list[str], movies: list[str] = MOVIES) -> None:
    write_lines(folder / "raw" / "ratings.csv", ["userId,movieId,rating,timestamp", *ratings])
    write_lines(folder / "raw" / "movies.csv", movies)


def test_four_stars_are_a_click_genres_are_a_list_and_the_first_is_the_scenario(tmp_path: Path) -> None:
    write(tmp_path, [f"1,31,4.0,{MONDAY}", f"1,32,3.5,{MONDAY + 1}", f"2,33,5,{MONDAY + DAY}"])
    rows = rows_of(ingested(settings_for(tmp_path, source="movielens")))
    assert [(r["userId"], r["movieId"], r["genre"], r["genres"], r["click"]) for r in rows] == [
        ("1", "31", "Crime", ["Crime", "Drama"], 1),
        ("1", "32", None, [], 0),
        ("2", "33", None, [], 1),
    ]


def test_bad_ratings_and_bad_movies_are_set_aside_with_file_row_and_reason(tmp_path: Path) -> None:
    ratings = [
        f"1,31,4.0,{MONDAY}",
        f"1,31,nan,{MONDAY}",
        f"1,31,,{MONDAY}",
        f"1,31,50,{MONDAY}",
        "1,31,4.0,",
        f"1,31,{MONDAY}",
        "1,31,4.0,1e99",
        f"1,32,4.0,{MONDAY + DAY}",
    ]
    write(tmp_path, ratings, [*MOVIES, "31,Again,War", "33,Net, The,War", '34,"Net,War'])
    log = ingested(settings_for(tmp_path, source="movielens", max_reject_share=0.9))
    assert rejects(log) == [
        ("movies.csv", 4, "movieId '31' is repeated"),
        ("movies.csv", 5, "3 columns expected, 4 found"),
        ("movies.csv", 6, "a quote is out of place"),
        ("ratings.csv", 3, "rating 'nan' is not between 0 and 5"),
        ("ratings.csv", 4, "rating '' is not between 0 and 5"),
        ("ratings.csv", 5, "rating '50' is not between 0 and 5"),
        ("ratings.csv", 6, "no time"),
        ("ratings.csv", 7, "4 columns expected, 3 found"),
        ("ratings.csv", 8, "time '1e99' does not parse"),
    ]
    assert (log.manifest.rows_in, log.manifest.rows_kept) == (11, 2)
    assert [row["genre"] for row in rows_of(log)] == ["Crime", None]


def test_a_renamed_column_and_an_absent_file_are_named(tmp_path: Path) -> None:
    write(tmp_path, [], ["id,title,genres"])
    with pytest.raises(DataError, match=r"movies\.csv: no column 'movieId'; there are id, title, genres"):
        ingested(settings_for(tmp_path, source="movielens"))
    (tmp_path / "raw" / "movies.csv").unlink()
    with pytest.raises(DataError, match=r"movies\.csv: no such file; this source is ratings\.csv, movies\.csv"):
        ingested(settings_for(tmp_path, source="movielens"))


def test_the_real_ratings_are_all_kept(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"the MovieLens files are not at {SHARED}")
    log = ingested(settings_for(tmp_path, source="movielens", root=str(SHARED), period="1095d"))
    assert (log.manifest.rows_in, log.manifest.rows_rejected) == (100_004, 0)
    rows = rows_of(log)
    assert (len({row["userId"] for row in rows}), len({row["movieId"] for row in rows})) == (671, 9_066)
    assert {row["genre"] for row in rows} >= {"Action", "Comedy", "Drama"}
    assert not any("|" in (row["genre"] or "") for row in rows)
    assert all((row["genres"] or [None])[0] == row["genre"] for row in rows)
    assert max(len(row["genres"]) for row in rows) == 10

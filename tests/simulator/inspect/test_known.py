"""Data sets that have a source of their own are told by their files, and what is written for them runs as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator.inspect.logs import MONDAY, impressions, proposed, replayed, write

DATA = Path(__file__).parents[4] / "shared" / "data"


def test_files_are_a_data_set_by_their_names_and_columns(tmp_path: Path) -> None:
    rows = [
        {"a": row["user_id"], "b": row["item_id"], "c": row["item_id"] % 9, "d": "pv"}
        | {"e": row["time"] - MONDAY + 1_511_568_000}
        for row in impressions()
    ]
    write(tmp_path / "UserBehavior.csv", rows, header=False)
    found, _ = proposed(tmp_path, tmp_path / "UserBehavior.csv")
    assert (found.stream.source, found.stream.root, found.stream.utc_offset_hours) == ("taobao", str(tmp_path), 8)
    assert replayed(found).manifest.rows_kept == 2 * len(rows)


def test_a_name_alone_makes_no_data_set(tmp_path: Path) -> None:
    write(tmp_path / "ratings.csv", impressions())
    write(tmp_path / "movies.csv", [{"movieId": 1, "title": "one", "genres": "drama"}])
    found, _ = proposed(tmp_path, tmp_path / "ratings.csv")
    assert found.stream.source == "table"


@pytest.mark.skipif(not DATA.exists(), reason="the data sets are not beside this checkout: their terms forbid it")
@pytest.mark.parametrize(
    ("source", "given", "rows"),
    [
        ("ebnerd", "ebnerd", 583_054),
        ("taobao", "taobao/UserBehavior.csv", 9_998),
        ("movielens", "movielens/ratings.csv", 100_004),
    ],
)
def test_a_real_log_runs_as_it_is(tmp_path: Path, source: str, given: str, rows: int) -> None:
    found, _ = proposed(tmp_path, DATA / given)
    assert found.stream.source == source
    log = replayed(found)
    assert log.manifest.rows_kept == rows
    assert 5 <= len(log.periods) <= 30


@pytest.mark.skipif(not DATA.exists(), reason="the data sets are not beside this checkout: their terms forbid it")
def test_one_file_of_a_real_log_is_told_apart_from_the_whole(tmp_path: Path) -> None:
    link = tmp_path / "train" / "behaviors.parquet"
    link.parent.mkdir()
    link.symlink_to(DATA / "ebnerd" / "behaviors_train.parquet")
    found, told = proposed(tmp_path, link)
    assert found.stream.source == "table"
    assert "behaviors_train.parquet, behaviors_val.parquet" in told
    text = (tmp_path / "proposed.yaml").read_text()
    assert "article_ids_inview: article_ids_clicked" in text
    for name in ("next_read_time", "next_scroll_percentage", "read_time"):
        assert f"{name}: its name says that it is known only after the click" in text

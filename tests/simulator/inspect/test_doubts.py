"""`inspect` warns of what would give wrong figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import DataError
from tests.simulator.inspect.logs import impressions, proposed, replayed, with_columns, write


@pytest.mark.parametrize(("click", "said"), [(1, "every row is clicked"), (0, "no row is clicked")])
def test_a_label_of_one_class(tmp_path: Path, click: int, said: str) -> None:
    write(tmp_path / "log.csv", [row | {"click": click} for row in impressions()])
    _, told = proposed(tmp_path, tmp_path / "log.csv")
    assert said in told
    assert said in " ".join((tmp_path / "proposed.yaml").read_text().replace("#", "").split())


def test_one_user_with_a_large_share_of_the_rows(tmp_path: Path) -> None:
    rows = impressions(rows=3_000)
    write(tmp_path / "log.csv", [row | ({"user_id": -1} if row["item_id"] % 5 < 3 else {}) for row in rows])
    _, told = proposed(tmp_path, tmp_path / "log.csv")
    assert "'-1' has 6" in told


def test_an_id_that_is_a_float_in_one_file(tmp_path: Path) -> None:
    rows = impressions()
    write(tmp_path / "logs" / "monday.csv", rows[:700])
    write(tmp_path / "logs" / "tuesday.csv", [row | {"user_id": float(row["user_id"])} for row in rows[700:]])
    found, told = proposed(tmp_path, tmp_path / "logs")
    assert "column 'user_id' is written as" in told
    assert "monday.csv" in told
    assert "tuesday.csv" in told
    assert "the ingest stops" in told
    with pytest.raises(DataError, match="two ids"):
        replayed(found)


def test_rows_that_are_repeated(tmp_path: Path) -> None:
    rows = impressions()
    write(tmp_path / "log.csv", [*rows, *rows[:100]])
    _, told = proposed(tmp_path, tmp_path / "log.csv")
    assert "100 of 1600 rows" in told


def test_rows_that_an_ingest_would_refuse(tmp_path: Path) -> None:
    rows = impressions()
    write(tmp_path / "log.csv", [row | ({"click": 7} if number < 5 else {}) for number, row in enumerate(rows)])
    text = (tmp_path / "log.csv").read_text().splitlines()
    (tmp_path / "log.csv").write_text("\n".join([*text[:-40], *(f"{line},one,more" for line in text[-40:])]) + "\n")
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.table.label == ""
    assert "no column is 0 or 1" in told


def test_too_many_bad_rows(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", impressions())
    text = (tmp_path / "log.csv").read_text().splitlines()
    (tmp_path / "log.csv").write_text("\n".join([*text[:-40], *(f"{line},one,more" for line in text[-40:])]) + "\n")
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert "the ingest stops: 40 of 1500 rows (2.67%) are bad" in told
    with pytest.raises(DataError, match="40 of 1500"):
        replayed(found)


def test_a_log_in_which_nothing_is_wrong_has_no_warning(tmp_path: Path) -> None:
    price, tags = (lambda row, _: row["item_id"] * 1.5), (lambda row, draw: "|".join(draw.sample("abcdef", 3)))
    write(tmp_path / "log.csv", with_columns(impressions(), price=price, tags=tags))
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.table.lists == ["tags"]
    assert "look" not in told
    assert "To look at" not in (tmp_path / "proposed.yaml").read_text()


def test_new_users_and_items_are_counted_in_each_period(tmp_path: Path) -> None:
    rows = impressions()
    write(tmp_path / "log.csv", rows)
    _, told = proposed(tmp_path, tmp_path / "log.csv")
    known: tuple[set[int], set[int]] = (set(), set())
    for day in range(8):
        mine = [row for row in rows if (row["time"] - 1_719_792_000) // 86_400 == day]
        users, items = ({row[name] for row in mine} for name in ("user_id", "item_id"))
        rate = sum(row["click"] for row in mine) / len(mine)
        expected = [f"{len(mine)}", f"{rate:.2%}", len(users), len(users - known[0]), len(items), len(items - known[1])]
        line = next(line for line in told.splitlines() if f"2024-07-{1 + day:02} 00:00" in line)
        assert [cell.strip() for cell in line.strip("│ ").split("│")][1:] == list(map(str, expected))
        known[0].update(users)
        known[1].update(items)

"""`inspect` tells what each column of a log is, and what it writes is read without a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulator.inspect.logs import Row, impressions, proposed, replayed, with_columns, write

AGES = {1_000 + user: 18 + user % 60 for user in range(120)}


def everything() -> list[Row]:
    """A log with a column of each kind."""
    return with_columns(
        impressions(),
        country=lambda row, _: "abc"[row["user_id"] % 3],
        age=lambda row, _: AGES[row["user_id"]],
        brand=lambda row, _: ["x", "NULL", "y"][row["item_id"] % 3],
        price=lambda row, _: row["item_id"] * 1.37,
        genres=lambda row, _: ["drama;war", "fun", "war;love"][row["item_id"] % 3],
        recent_items=lambda _, draw: ";".join(str(draw.randrange(1, 81)) for _ in range(draw.randrange(4))),
        watched=lambda row, draw: round(draw.random() * 60 + 1, 1) if row["click"] else "",
        bought=lambda row, draw: int(row["click"] and draw.random() < 0.3),
        version=lambda *_: 3,
        row_number=lambda _, draw: draw.getrandbits(60),
    )


ROLES: dict[str, Any] = {
    "time": "time",
    "label": "click",
    "request": "page_view",
    "user": ["user_id", "country"],
    "item": ["item_id", "brand"],
    "context": ["device"],
    "further_labels": ["bought"],
    "histories": {"recent_items": "item_id"},
    "missing": ["NULL"],
}


def test_every_column_gets_the_role_that_it_has_and_the_log_is_read(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", everything())
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    table = found.stream.table
    assert {name: getattr(table, name) for name in ROLES} == ROLES
    assert sorted(table.numeric) == ["age", "price"]
    log = replayed(found)
    assert log.manifest.rows_kept == 1_500
    assert len(log.periods) == 8
    assert "watched" in told
    assert "AUC 1.000" in told
    text = (tmp_path / "proposed.yaml").read_text()
    assert "version: is '3' in every row" in text
    assert "row_number" in text
    assert "genres" in text


@settings(max_examples=3)
@given(st.permutations(list(everything()[0])))
def test_the_order_of_the_columns_changes_no_role(tmp_path_factory: pytest.TempPathFactory, order: list[str]) -> None:
    folder = tmp_path_factory.mktemp("log")
    write(folder / "log.csv", [{name: row[name] for name in order} for row in everything()])
    table = proposed(folder, folder / "log.csv")[0].stream.table
    for name, expected in ROLES.items():
        found = getattr(table, name)
        assert (
            (sorted(found), found[:1]) == (sorted(expected), expected[:1])
            if isinstance(found, list)
            else (found == expected)
        ), name


@pytest.mark.parametrize(
    ("columns", "label", "further"),
    [
        ({"click": "clicked", "a": "is_weekend"}, "clicked", []),
        ({"click": "y"}, "y", []),
        ({"click": "isClick", "a": "purchase"}, "isClick", ["purchase"]),
        ({"click": "clk", "b": "nonclk"}, "clk", []),
        ({"click": "flag"}, "flag", []),
    ],
)
def test_the_label_is_the_column_whose_name_says_so(
    tmp_path: Path, columns: dict[str, str], label: str, further: list[str]
) -> None:
    rows = with_columns(
        impressions(), a=lambda row, draw: int(row["click"] and draw.random() < 0.3), b=lambda row, _: 1 - row["click"]
    )
    kept = [{columns.get(k, k): v for k, v in row.items() if k in columns or k not in ("a", "b")} for row in rows]
    write(tmp_path / "log.csv", kept)
    table = proposed(tmp_path, tmp_path / "log.csv")[0].stream.table
    assert (table.label, table.further_labels) == (label, further)
    assert columns.get("b") not in [*table.user, *table.item, *table.context]


def test_a_label_of_true_and_false_is_one(tmp_path: Path) -> None:
    rows = [row | {"click": "true" if row["click"] else "False"} for row in impressions()]
    write(tmp_path / "log.csv", rows)
    found, _ = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.table.label == "click"
    assert sum(period.positives for period in replayed(found).periods) == sum(row["click"] == "true" for row in rows)


@pytest.mark.parametrize(
    ("name", "of"),
    [
        ("next_scroll_percentage", lambda row, draw: draw.random()),
        ("seconds", lambda row, draw: round(draw.random() + row["click"], 6)),
        ("landed", lambda row, draw: "ab"[draw.randrange(2)] if row["click"] else ""),
        ("outcome", lambda row, draw: f"{'yes' if row['click'] else 'no'}{draw.randrange(5)}"),
    ],
)
def test_what_is_known_only_after_the_click_is_left_out(
    tmp_path: Path, name: str, of: Callable[[Row, Random], Any]
) -> None:
    write(tmp_path / "log.csv", with_columns(impressions(), **{name: of}))
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    table = found.stream.table
    assert name not in [*table.user, *table.item, *table.context, *table.numeric, *table.scenario]
    assert name in told


def test_a_column_that_tells_much_but_not_all_of_the_label_stays(tmp_path: Path) -> None:
    rows = with_columns(impressions(), score=lambda row, draw: round(draw.gauss(2.0 * row["click"], 1), 6))
    write(tmp_path / "log.csv", rows)
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.table.numeric == ["score"]
    assert "score" not in told


def test_a_list_of_what_was_clicked_is_no_history(tmp_path: Path) -> None:
    rows = impressions()
    clicked: dict[str, list[int]] = {}
    for row in rows:
        clicked.setdefault(row["page_view"], []).extend([row["item_id"]] * row["click"])
    pq.write_table(
        pa.Table.from_pylist([row | {"items_clicked": clicked[row["page_view"]]} for row in rows]),
        tmp_path / "log.parquet",
    )
    found, _ = proposed(tmp_path, tmp_path / "log.parquet")
    assert found.stream.table.histories == {}
    assert "items_clicked: holds item_id where it was clicked" in (tmp_path / "proposed.yaml").read_text()


@pytest.mark.parametrize("written", ["|".join, " ".join, lambda ids: f"[{', '.join(ids)}]", list])
def test_lists_of_items_are_histories_however_they_are_written(
    tmp_path: Path, written: Callable[[list[str]], Any]
) -> None:
    rows = with_columns(
        impressions(), seen=lambda _, draw: written([str(draw.randrange(1, 81)) for _ in range(draw.randrange(1, 5))])
    )
    file = tmp_path / "log.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    found, _ = proposed(tmp_path, file)
    assert found.stream.table.histories == {"seen": "item_id"}
    log = replayed(found)
    table = pq.read_table(log.path(log.periods[-1]))
    assert set(table.column("seen").combine_chunks().flatten().to_pylist()) <= set(range(1, 500))
    assert table.column("seen").combine_chunks().value_lengths().to_pylist().count(1) < table.num_rows / 2


def test_whole_numbers_are_amounts_if_they_are_counts_or_are_called_so(tmp_path: Path) -> None:
    rows = with_columns(
        impressions(),
        visits=lambda _, draw: int(draw.expovariate(0.02)),
        sale_count=lambda _, draw: draw.randrange(30),
        city=lambda _, draw: draw.randrange(300),
    )
    write(tmp_path / "log.csv", rows)
    table = proposed(tmp_path, tmp_path / "log.csv")[0].stream.table
    assert table.numeric == ["visits", "sale_count"]
    assert "city" in table.context


@pytest.mark.parametrize(("of", "weighs"), [("row", True), ("item", False)])
@pytest.mark.parametrize("name", ["weight", "sample_weight"])
def test_a_weight_of_rows_is_no_field_and_that_of_an_item_is(tmp_path: Path, name: str, of: str, weighs: bool) -> None:
    """Of thinned negatives, too, whose weights tell the label."""
    weights: dict[str, Callable[[dict[str, Any]], float]] = {
        "row": lambda row: 1 if row["click"] else 10,
        "item": lambda row: row["item_id"] % 13 + 0.5,
    }
    write(tmp_path / "log.csv", with_columns(impressions(), **{name: lambda row, _: weights[of](row)}))
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    table = found.stream.table
    assert (table.weight, table.numeric) == ((name, []) if weighs else (None, [name]))
    assert ("the weight of rows is guessed" in told) == weighs
    assert replayed(found).schema.has_weight == weighs


def test_lists_of_impressions_are_told(tmp_path: Path) -> None:
    draw = Random(3)
    rows = []
    for number in range(300):
        shown = draw.sample(range(9_000, 9_080), 6)
        row = {
            "impression_time": 1_719_792_000 + 3_000 * number,
            "user_id": draw.randrange(40),
            "is_member": number % 2,
        }
        rows.append(row | {"inview": shown, "clicked": shown[:1]})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    found, told = proposed(tmp_path, tmp_path / "log.parquet")
    assert "{inview: clicked}" in (tmp_path / "proposed.yaml").read_text()
    if not hasattr(found.stream.table, "explode"):
        assert "each row is a list of impressions (inview)" in told


def test_a_visit_of_one_user_is_a_request_or_nothing(tmp_path: Path) -> None:
    rows = with_columns(
        impressions(),
        visit=lambda row, _: f"{row['user_id']}-{row['time'] // 86_400 % 2}",
        time=lambda row, draw: row["time"] + draw.randrange(3),
    )
    write(tmp_path / "log.csv", rows)
    table = proposed(tmp_path, tmp_path / "log.csv")[0].stream.table
    assert table.request == "page_view"
    assert table.context == ["device"]


def test_a_log_without_users_takes_devices_and_says_so(tmp_path: Path) -> None:
    rows = [{("device_id" if k == "user_id" else k): v for k, v in row.items()} for row in impressions()]
    write(tmp_path / "log.csv", rows)
    found, told = proposed(tmp_path, tmp_path / "log.csv")
    assert found.stream.table.user == ["device_id"]
    assert "no column names users: devices stand for them" in told


def test_what_is_proposed_is_the_same_each_time(tmp_path: Path) -> None:
    write(tmp_path / "log.csv", everything())
    first, second = (proposed(tmp_path, tmp_path / "log.csv")[0] for _ in range(2))
    assert replace(first.stream, data="") == replace(second.stream, data="")

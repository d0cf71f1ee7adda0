from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import duckdb

from simulator.stream.sources.negatives import with_negatives

POSITIVES = """
    SELECT 'log.csv' AS _file, number + 1 AS _row, 1 AS _part, number AS _ts, NULL AS _defect,
        'u' || number % 10 AS user, CASE WHEN number % 2 = 0 THEN 'popular' ELSE 'i' || number % {items} END AS item,
        'brand' || number % 2 AS brand
    FROM range({rows}) AS numbers(number)"""


def rows_of(positives: str, pool_until: int | None = None) -> list[tuple[Any, ...]]:
    """Columns _row, _part, _label, _ts, user, item, brand; each positive is followed by its negative."""
    relation = with_negatives(positives, user="user", item=("item", "brand"), pool_until=pool_until)
    query = f'SELECT _row, _part, _label, _ts, "user", item, brand FROM ({relation}) ORDER BY _row, _part'
    with duckdb.connect() as engine:
        return engine.sql(query).fetchall()


def log_of(rows: Iterable[tuple[int, str, str]]) -> str:
    """Positives of (time, user, item), in this order."""
    values = ", ".join(f"({number}, {ts}, '{user}', '{item}')" for number, (ts, user, item) in enumerate(rows, 1))
    return f"""
        SELECT 'log.csv' AS _file, number AS _row, 1 AS _part, ts AS _ts, NULL AS _defect, person AS user, item,
            'brand' AS brand
        FROM (VALUES {values}) AS log(number, ts, person, item)"""


def draws(rows: list[tuple[Any, ...]], *, since: int) -> list[tuple[str, str, str]]:
    """(user, item of the positive, item of the negative) of the rows from a time on."""
    return [(one[4], one[5], other[5]) for one, other in zip(rows[::2], rows[1::2], strict=True) if one[3] >= since]


def test_a_negative_is_its_positive_with_another_item_of_the_catalogue() -> None:
    rows = rows_of(POSITIVES.format(rows=1_000, items=100))
    positives, negatives = rows[::2], rows[1::2]
    catalogue = {row[5:] for row in positives}
    for positive, negative in zip(positives, negatives, strict=True):
        assert (positive[1:3], negative[1:3]) == ((1, 1), (2, 0))
        assert (positive[0], *positive[3:5]) == (negative[0], *negative[3:5])
        assert negative[5:] in catalogue
        assert negative[5:] != positive[5:]


def test_every_item_of_the_catalogue_is_equally_likely_however_often_it_occurs() -> None:
    """Of 11 items, half the rows show one: it is drawn by the others, and they by all."""
    counts = Counter(row[5] for row in rows_of(POSITIVES.format(rows=20_000, items=20)) if row[2] == 0)
    popular, others = 10_000 / 10, 10_000 / 10 + 9_000 / 10
    assert len(counts) == 11
    for item, count in counts.items():
        expected = popular if item == "popular" else others
        assert abs(count - expected) < 5 * expected**0.5


def test_the_same_rows_get_the_same_negatives() -> None:
    positives = POSITIVES.format(rows=3_000, items=50)
    assert rows_of(positives) == rows_of(positives)


def test_a_catalogue_of_one_item_gives_no_negatives() -> None:
    rows = rows_of(
        "SELECT 'f' AS _file, 1 AS _row, 1 AS _part, 0 AS _ts, NULL AS _defect, 1 AS user, 2 AS item, 3 AS brand"
    )
    assert [row[2] for row in rows] == [1]


def test_a_row_with_a_defect_or_without_a_time_gets_no_negative_and_is_no_item_of_the_catalogue() -> None:
    bad = "SELECT * REPLACE ({} , 'x' || _row AS item) FROM (" + POSITIVES.format(rows=10, items=10) + ")"
    good = POSITIVES.format(rows=10, items=10).replace("number + 1", "number + 100")
    parts = [bad.format("'short' AS _defect"), bad.format("NULL AS _ts"), good]
    rows = rows_of(" UNION ALL ".join(parts))
    assert [row[1] for row in rows[:20]] == [1] * 20
    negatives = [row for row in rows if row[2] == 0]
    assert len(negatives) == 10
    assert not any(str(row[5]).startswith("x") for row in negatives)


T0 = 1_000


def test_the_catalogue_of_a_split_holds_what_the_pool_shows_and_nothing_later() -> None:
    rows = rows_of(POSITIVES.format(rows=2_000, items=2_000), T0)
    pool = {row[5] for row in rows if row[2] == 1 and row[3] < T0}
    drawn = {row[5] for row in rows if row[2] == 0}
    assert len(rows) == 4_000
    assert drawn <= pool
    assert len(drawn) > 300


def test_half_of_the_rows_behind_the_pool_draw_from_their_users_own_rows_in_it() -> None:
    """Each of 100 users has two items of his own in the pool, and later sees items that nobody saw."""
    pool = [(k % 10, f"u{k % 100}", f"u{k % 100} {k // 100}") for k in range(200)]
    later = [(T0 + k, f"u{k % 100}", f"new {k}") for k in range(4_000)]
    rows = rows_of(log_of([*pool, *later]), T0)
    own = [other.startswith(f"{user} ") for user, _, other in draws(rows, since=T0)]
    of_catalogue = 2 / 200
    expected = 0.5 + 0.5 * of_catalogue
    assert len(own) == 4_000
    assert abs(sum(own) / 4_000 - expected) < 5 * (0.25 / 4_000) ** 0.5
    in_pool = [other.startswith(f"{user} ") for user, _, other in draws(rows, since=0)[:200]]
    assert sum(in_pool) < 10


def test_each_of_the_users_rows_in_the_pool_is_equally_likely_but_those_of_the_positives_own_item() -> None:
    pool = [(k, "u", item) for k, item in enumerate(["a"] * 3 + ["b"] * 2 + ["c"])]
    others = [(0, f"v{k}", f"i{k}") for k in range(2_000)]
    later = [(T0 + k, "u", "b") for k in range(6_000)]
    drawn = Counter(other for _, _, other in draws(rows_of(log_of([*pool, *others, *later]), T0), since=T0))
    assert drawn["b"] == 0
    for item, share in (("a", 3 / 4), ("c", 1 / 4)):
        expected = 3_000 * share
        assert abs(drawn[item] - expected) < 5 * expected**0.5


def test_a_user_whose_pool_holds_nothing_else_draws_from_the_catalogue() -> None:
    pool = [(0, "faithful", "a"), (1, "faithful", "a"), *((2, "somebody", f"i{k}") for k in range(50))]
    later = [(T0 + k, user, "a") for k in range(500) for user in ("faithful", "newcomer")]
    rows = rows_of(log_of([*pool, *later]), T0)
    for user in ("faithful", "newcomer"):
        drawn = {other for who, _, other in draws(rows, since=T0) if who == user}
        assert drawn == {f"i{k}" for k in range(50)}


def test_the_same_rows_get_the_same_negatives_in_a_split_too() -> None:
    positives = POSITIVES.format(rows=3_000, items=50)
    assert rows_of(positives, T0) == rows_of(positives, T0)
    assert rows_of(positives, T0) != rows_of(positives, 2 * T0)


def test_a_split_without_a_pool_gives_no_negatives() -> None:
    assert {row[2] for row in rows_of(POSITIVES.format(rows=10, items=10), 0)} == {1}

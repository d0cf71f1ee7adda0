from __future__ import annotations

from collections import Counter

import duckdb

from simulator.stream.sources.negatives import with_negatives

POSITIVES = """
    SELECT 'log.csv' AS _file, number + 1 AS _row, 1 AS _part, number AS _ts, NULL AS _defect,
        'u' || number % 10 AS user, CASE WHEN number % 2 = 0 THEN 'popular' ELSE 'i' || number % {items} END AS item,
        'brand' || number % 2 AS brand
    FROM range({rows}) AS numbers(number)"""


def rows_of(positives: str) -> list[tuple[object, ...]]:
    relation = with_negatives(positives, ("item", "brand"))
    query = f'SELECT _row, _part, _label, _ts, "user", item, brand FROM ({relation}) ORDER BY _row, _part'
    with duckdb.connect() as engine:
        return engine.sql(query).fetchall()


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

"""Rows without a click for logs that hold only clicks, as RIM makes them (github.com/qinjr/RIM).

Each good row of the log is a positive, and one negative follows it: the same row with the item's columns
replaced by another item of the catalogue. The catalogue is every distinct tuple of these columns in the log,
each equally likely, however often it occurs. Like RIM's it is that of the whole log, since none of these logs
tells when an item was put up: a negative may show an item before its first logged row.

A draw is decided by the row's file and number, so the same files give the same negatives.
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.stream import raw

SEED = 0


def with_negatives(positives: str, item: Sequence[str]) -> str:
    """The relation `positives`, a negative for each good row, and `_label`, 1 or 0.

    `positives` has columns `_ts` and `_defect`; a row is good if it has a time and no defect. A negative has
    `_part` 2. If the catalogue holds one item, there are no negatives.
    """
    columns = ", ".join(map(raw.name, item))
    return f"""
        WITH positive AS MATERIALIZED ({positives}),
        good AS (SELECT * FROM positive WHERE _defect IS NULL AND _ts IS NOT NULL),
        catalogue AS MATERIALIZED (
            SELECT {columns}, row_number() OVER (ORDER BY {columns}) - 1 AS _number
            FROM (SELECT DISTINCT {columns} FROM good)),
        drawn AS (
            SELECT good.* EXCLUDE ({columns}), (own._number + 1 + draw % nullif(size - 1, 0)) % size AS _number
            FROM (SELECT *, md5_number_lower(concat_ws(' ', {SEED}, _file, _row)) AS draw FROM good) AS good
            JOIN catalogue AS own USING ({columns})
            CROSS JOIN (SELECT count(*) AS size FROM catalogue))
        SELECT *, 1 AS _label FROM positive
        UNION ALL BY NAME
        SELECT drawn.* EXCLUDE (_number, draw) REPLACE (2 AS _part), {columns}, 0 AS _label
        FROM drawn JOIN catalogue USING (_number)"""

"""Rows without a click for logs that hold only clicks, as RIM makes them (github.com/qinjr/RIM).

Each good row of the log is a positive, and one negative follows it: the same row with the item's columns
replaced by another item of the catalogue. The catalogue is every distinct tuple of these columns in the log,
each equally likely, however often it occurs. Like RIM's it is that of the whole log, since none of these logs
tells when an item was put up: a negative may show an item before its first logged row.

The papers' split (`stream.protocol=split`) differs in two things. The catalogue is that of the search pool, the
rows before T0, so that the pool tells nothing of what comes later; RIM's is that of the whole log here, too. And a
row from T0 on gets a hard negative with probability 1/2: the tuple of one of the user's own rows in the pool, each
of these rows equally likely. A user without such rows gets one of the catalogue.

Never does a negative show what its positive shows, which RIM does not rule out: where all of the user's rows in the
pool show it, the negative comes from the catalogue.

A draw is decided by the row's file and number, so the same files give the same negatives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simulator.stream import raw
from simulator.stream.periods import split_seconds
from simulator.stream.settings import StreamSettings

SEED = 0
KEY = f"concat_ws(' ', {SEED}, _file, _row)"  # decides what a row draws


def pool_end(stream: StreamSettings) -> int | None:
    """T0, the second at which the search pool ends; None where the protocol knows no pool."""
    return split_seconds(stream)[0] if stream.protocol == "split" else None


def behaviour_labels(column: str, values: Mapping[str, str]) -> dict[str, str]:
    """Expression of each further label: 1 in positives in which `column` has the label's value, else 0."""
    return {label: f"(_label = 1 AND {raw.name(column)} = {raw.text(value)})::INT" for label, value in values.items()}


def with_negatives(positives: str, *, user: str, item: Sequence[str], pool_until: int | None) -> str:
    """The relation `positives`, a negative for each good row, and `_label`, 1 or 0.

    `positives` has columns `_ts` and `_defect`; a row is good if it has a time and no defect. A negative has
    `_part` 2. A row for which the catalogue holds no other item has none.
    """
    columns = ", ".join(map(raw.name, item))
    in_catalogue, drawn = "true", "SELECT * EXCLUDE (_own) FROM other"
    if pool_until is not None:
        in_catalogue, drawn = f"_ts < {pool_until}", _half_from_history(raw.name(user), pool_until)
    return f"""
        WITH positive AS MATERIALIZED ({positives}),
        good AS (SELECT * FROM positive WHERE _defect IS NULL AND _ts IS NOT NULL),
        catalogue AS MATERIALIZED (
            SELECT {columns}, row_number() OVER (ORDER BY {columns}) - 1 AS _number
            FROM (SELECT DISTINCT {columns} FROM good WHERE {in_catalogue})),
        other AS (
            SELECT good.* EXCLUDE ({columns}), own._number AS _own, CASE
                WHEN _own IS NULL THEN md5_number_lower({KEY}) % nullif(size, 0)
                ELSE (_own + 1 + md5_number_lower({KEY}) % nullif(size - 1, 0)) % size END AS _number
            FROM good LEFT JOIN catalogue AS own USING ({columns})
            CROSS JOIN (SELECT count(*) AS size FROM catalogue)),
        drawn AS ({drawn})
        SELECT *, 1 AS _label FROM positive
        UNION ALL BY NAME
        SELECT drawn.* EXCLUDE (_number) REPLACE (2 AS _part), {columns}, 0 AS _label
        FROM drawn JOIN catalogue USING (_number)"""


def _half_from_history(user: str, pool_until: int) -> str:
    """`other`, in which half of the rows from `pool_until` on draw from their user's rows before it.

    A user's rows in the pool are placed one behind another by their item, so that those of the positive's item are
    one run, and a draw that falls on the run or behind it is moved on by the length of the run.
    """
    return f"""
        WITH held AS MATERIALIZED (
            SELECT {user}, _own, row_number() OVER (PARTITION BY {user} ORDER BY _own) - 1 AS place
            FROM other WHERE _ts < {pool_until}),
        run AS (SELECT {user}, _own, min(place) AS start, count(*) AS length FROM held GROUP BY {user}, _own),
        history AS (SELECT {user}, count(*) AS length FROM held GROUP BY {user}),
        hard AS (
            SELECT other.* EXCLUDE (_own), CASE WHEN _ts >= {pool_until} AND md5_number_upper({KEY}) % 2 = 0
                THEN md5_number_upper({KEY}) // 2 % nullif(history.length - coalesce(run.length, 0), 0)
                END::BIGINT AS drawn,
                drawn + CASE WHEN drawn >= run.start THEN run.length ELSE 0 END AS place
            FROM other LEFT JOIN history USING ({user}) LEFT JOIN run USING ({user}, _own))
        SELECT hard.* EXCLUDE (drawn, place) REPLACE (coalesce(held._own, _number) AS _number)
        FROM hard LEFT JOIN held USING ({user}, place)"""

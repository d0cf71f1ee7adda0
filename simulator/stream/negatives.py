"""Negatives for logs in which every row, or nearly, is a positive: `stream.negatives`.

A positive is followed by `per_positive` copies of its row with label 0 and another item: one that a row of the log had
shown strictly before, and none that the user chose in the same period. Where periods are numbers of rows, which
negatives move, nothing counts that the user chose within as many rows. The item's fields are those of its latest row
strictly before; all other columns, numbers included, are the positive's.

    catalogue    each item is equally likely
    popularity   an item is as likely as it has earlier rows
    user         each earlier choice of the user, of other periods, is equally likely; without any, as catalogue

A draw is decided by the row's file, number and part. An item that may not be is drawn again, TRIES times at most; what
is left then is drawn, each equally likely, from the items that may be. Where there is none, there is no negative.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from simulator.stream.checking import LATEST
from simulator.stream.periods import ByRows, Cut
from simulator.stream.raw import RawLog, texts
from simulator.stream.settings import NegativeSettings
from simulator.stream.staging import Staging

TRIES = 16
SEED = 0
_PLACE = "_file, _row, _part"


def with_drawn_negatives(log: RawLog, settings: NegativeSettings, cut: Cut) -> RawLog:
    """The log with the negatives that the settings ask for behind each positive."""
    each = settings.per_positive
    if not each:
        return log
    labels = [log.label, *log.further_labels.values()]
    held = {f"_label{i}": label for i, label in enumerate(labels)} | {
        "_defect": log.defect,
        "_left_out": log.left_out or "NULL",
        "_time": f"CAST({log.time} AS VARCHAR)",
        "_ts": log.ts,
        "_request": log.request or "NULL",
        "_label_time": f"CAST({log.label_time or 'NULL'} AS VARCHAR)",
        "_label_ts": log.label_ts or "NULL",
        "_weight": log.weight or "NULL",
        **{f"_v{i}": value for i, value in enumerate(log.values.values())},
    }
    base = f"""
        SELECT _file, _row, (_part - 1) * {each + 1} + 1 AS _part, {", ".join(f"{e} AS {c}" for c, e in held.items())}
        FROM ({log.relation})"""
    items = [f"_v{i}" for i, field in enumerate(log.schema.fields) if field.role == "item"]
    without = ", ".join(
        f"CASE WHEN TRY_CAST(_label{i} AS DOUBLE) IN (0, 1) THEN '0' END AS _label{i}" for i in range(len(labels))
    )
    copied = ", ".join(f"CAST(_label{i} AS VARCHAR) AS _label{i}" for i in range(len(labels)))
    relation = f"""
        WITH base AS MATERIALIZED ({base}),
        {_drawn(log, settings, cut, items)}
        SELECT * REPLACE ({copied}) FROM base
        UNION ALL BY NAME
        SELECT base.* EXCLUDE ({", ".join(items)}) REPLACE (base._part + slot AS _part, {without}),
            {", ".join(f"drawn.{item}" for item in items)}
        FROM drawn JOIN base USING ({_PLACE})"""
    return replace(
        log,
        relation=relation,
        time="_time",
        ts="_ts",
        label="_label0",
        further_labels={label: f"_label{i}" for i, label in enumerate(log.further_labels, start=1)},
        label_time=None if log.label_time is None else "_label_time",
        label_ts=None if log.label_ts is None else "_label_ts",
        weight=None if log.weight is None else "_weight",
        request=None if log.request is None else "_request",
        values={column: f"_v{i}" for i, column in enumerate(log.values)},
        defect="_defect",
        left_out=None if log.left_out is None else "_left_out",
    )


def tell_fewer(staged: Staging, settings: NegativeSettings, tell: Callable[[str], None]) -> None:
    """Tell how many negatives there could not be."""
    each = settings.per_positive
    if not each:
        return
    ((positives, negatives),) = staged.ask(f"""
        SELECT count(*) FILTER (label0 = 1), count(*) FILTER ((part - 1) % {each + 1} > 0) FROM staged""")
    if fewer := positives * each - negatives:
        tell(
            f"stream.negatives: {fewer} of {positives * each} are not there: no item had been shown before their second"
            " that their user did not choose in the period"
        )


def _drawn(log: RawLog, settings: NegativeSettings, cut: Cut, items: list[str]) -> str:
    """Common table expressions up to `drawn`: place and slot of each negative, and its item's fields.

    An item's place is among all items by the second of their first row, so that those known at a time come first.
    """
    around = 1 if isinstance(cut, ByRows) else 0  # neighbouring blocks of rows are taken for one period
    before = "rank() OVER (ORDER BY ts) - 1" if around else "NULL"
    user, item = (_known(log, f"_v{log.schema.names.index(key)}") for key in (log.schema.user, log.schema.item))
    years = "" if log.time_rule is None else f"AND _ts BETWEEN {log.time_rule.range}"
    of_user = settings.from_ == "user"
    rest = f"slot ANTI JOIN (SELECT * FROM tried WHERE place IS NOT NULL) USING ({_PLACE}, slot)"
    return f"""
        logged AS MATERIALIZED (
            SELECT *, {cut.number} AS number FROM (
                SELECT *, {before} AS before FROM (
                    SELECT {_PLACE}, _ts AS ts, {user} AS who, {item} AS item,
                        TRY_CAST(_label0 AS DOUBLE) = 1 AS positive, {", ".join(items)}
                    FROM base
                    WHERE _defect IS NULL AND _left_out IS NULL AND _ts BETWEEN 0 AND {LATEST} {years}
                        AND TRY_CAST(_label0 AS DOUBLE) IN (0, 1)))),
        item AS MATERIALIZED (
            SELECT item, since, row_number() OVER (ORDER BY since, item) - 1 AS place
            FROM (SELECT item, min(ts) AS since FROM logged WHERE item IS NOT NULL GROUP BY item)),
        known AS (SELECT since, max(place) + 1 AS size FROM item GROUP BY since),
        chosen AS MATERIALIZED (
            SELECT DISTINCT who, number + nearby AS number, place
            FROM logged JOIN item USING (item), (SELECT unnest(range(-{around}, {around + 1})) AS nearby)
            WHERE positive AND who IS NOT NULL),
        {_ORDERED[settings.from_]},
        slot AS MATERIALIZED (
            SELECT {_PLACE}, asked.ts, asked.who, asked.number, coalesce(known.size, 0) AS size,
                coalesce(until.count, 0) AS count, unnest(range(1, {settings.per_positive + 1})) AS slot
            FROM (SELECT *, number - {around} AS of_now FROM logged WHERE positive) AS asked
            ASOF LEFT JOIN known ON asked.ts > known.since
            ASOF LEFT JOIN until
                ON {"asked.who = until.who AND asked.of_now > until.at" if of_user else "asked.ts > until.at"}),
        tried AS MATERIALIZED ({_tried("slot", 0, 1, of_user)}),
        again AS MATERIALIZED (
            SELECT * FROM ({_tried(rest, 1, TRIES, of_user)}) WHERE place IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY {_PLACE}, slot ORDER BY attempt) = 1),
        gap AS (
            SELECT who, number, list(place ORDER BY place) AS places, list(place - behind ORDER BY place) AS free
            FROM (SELECT *, row_number() OVER (PARTITION BY who, number ORDER BY place) - 1 AS behind FROM chosen)
            GROUP BY who, number),
        left_over AS (
            SELECT *, ({_hash(TRIES)} % nullif(size - allowed_not, 0))::BIGINT AS draw FROM (
                SELECT rest.*, free, coalesce(len(list_filter(places, lambda one: one < size)), 0) AS allowed_not
                FROM (SELECT * FROM {rest} ANTI JOIN again USING ({_PLACE}, slot)) AS rest
                LEFT JOIN gap USING (who, number))),
        found AS (
            SELECT {_PLACE}, slot, ts, place FROM tried WHERE place IS NOT NULL
            UNION ALL SELECT {_PLACE}, slot, ts, place FROM again
            UNION ALL SELECT {_PLACE}, slot, ts, draw + coalesce(len(list_filter(free, lambda one: one <= draw)), 0)
                FROM left_over WHERE draw IS NOT NULL),
        version AS (
            SELECT item, ts, {", ".join(items)} FROM logged WHERE item IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY item, ts ORDER BY _file DESC, _row DESC, _part DESC) = 1),
        drawn AS (
            SELECT {_PLACE}, slot, {", ".join(f"version.{one}" for one in items)}
            FROM (SELECT * FROM found JOIN item USING (place)) AS found
            ASOF JOIN version ON found.item = version.item AND found.ts > version.ts)"""


_ORDER = f"ts, {_PLACE}"
_ORDERED = {  # what is drawn from: the place of the nth, and how many there are until a time, or a period of a user
    "catalogue": """
        ordered AS (SELECT place AS nth, place FROM item),
        until AS (SELECT since AS at, size AS count FROM known)""",
    "popularity": f"""
        ordered AS MATERIALIZED (
            SELECT row_number() OVER (ORDER BY {_ORDER}) - 1 AS nth, place, ts FROM logged JOIN item USING (item)),
        until AS (SELECT ts AS at, max(nth) + 1 AS count FROM ordered GROUP BY ts)""",
    "user": f"""
        ordered AS MATERIALIZED (
            SELECT who, row_number() OVER (PARTITION BY who ORDER BY {_ORDER}) - 1 AS nth, place, number
            FROM logged JOIN item USING (item) WHERE positive AND who IS NOT NULL),
        until AS (SELECT who, number AS at, max(nth) + 1 AS count FROM ordered GROUP BY who, number)""",
}


def _tried(slots: str, first: int, end: int, of_user: bool) -> str:
    """The slots with the place that each attempt has drawn, null if its item may not be, or there is none."""
    return f"""
        SELECT one.* EXCLUDE (nth), CASE WHEN chosen.place IS NULL THEN ordered.place END AS place
        FROM (
            SELECT *, ({_hash("attempt")} % nullif(count, 0))::BIGINT AS nth
            FROM (SELECT *, unnest(range({first}, {end})) AS attempt FROM {slots})) AS one
        LEFT JOIN ordered ON one.nth = ordered.nth {"AND one.who = ordered.who" if of_user else ""}
        LEFT JOIN chosen ON one.who = chosen.who AND one.number = chosen.number AND ordered.place = chosen.place"""


def _hash(attempt: int | str) -> str:
    return f"md5_number_lower(concat_ws(' ', {SEED}, {_PLACE}, slot, {attempt}))"


def _known(log: RawLog, value: str) -> str:
    """Expression: the text of a value, null if it is missing."""
    return f"CASE WHEN CAST({value} AS VARCHAR) NOT IN ({texts(log.missing)}) THEN CAST({value} AS VARCHAR) END"

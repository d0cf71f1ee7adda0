"""Features as docs/data.md defines them, one row at a time, and the guard that holds an ingest to that.

It shares nothing with `deriving.py` but the constant of the click rate: a few rows are joined to every earlier row
that they may know of. That is slow, and plainly right.

    asked    rows whose features are asked for: n, ts, request, and a column for each field of a key
    told     the rows of a log: the same, and due and arrived (when a row's label is, and has), click
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pkb.batch import MISSING
from pkb.errors import DataError
from simulator.stream.deriving import SMOOTHING, key_columns
from simulator.stream.features import Feature
from simulator.stream.settings import StreamSettings
from simulator.stream.staging import Staging

GUARDED = 200  # rows of every ingest


def guard(staged: Staging, stream: StreamSettings) -> None:
    """DataError if a feature of one of `GUARDED` rows of `derived` is not what the rows before it say."""
    features = [feature for feature in stream.derived if feature.is_number]
    if not features:
        return
    keys = key_columns(features)
    ((rows,),) = staged.ask("SELECT count(*) FROM placed")
    drawn = np.random.default_rng(rows).choice(rows, min(rows, GUARDED), replace=False)
    staged.ask("CREATE VIEW told AS SELECT * FROM placed")
    staged.ask(f"CREATE TABLE asked AS SELECT * FROM placed WHERE n IN ({', '.join(map(str, np.sort(drawn)))})")
    for i, feature in enumerate(features):
        wrong = staged.ask(f"""
            SELECT n, f{i}, value FROM derived JOIN ({by_definition(feature, keys)}) USING (n)
            WHERE f{i} IS DISTINCT FROM value ORDER BY n LIMIT 1""")
        for n, computed, value in wrong:
            raise DataError(
                f"stream.features.{feature.name}={stream.features[feature.name]!r}: row {n} of the log has"
                f" {_shown(computed)}, but by the rows before it {_shown(value)}: this is a mistake of the simulator,"
                " please report it; leave the feature out meanwhile"
            )


def by_definition(feature: Feature, keys: Mapping[str, str]) -> str:
    """SQL of n and value, null where it is missing, of every row of `asked`."""
    if feature.kind in ("position", "list_size"):
        upto = "AND told.n <= asked.n" if feature.kind == "position" else ""
        return f"""
            SELECT asked.n, CAST(greatest(1, count(told.n)) AS FLOAT) AS value
            FROM asked LEFT JOIN told ON told.request = asked.request {upto} GROUP BY asked.n"""
    key = [keys[name] for name in feature.key]
    earlier = "earlier.ts < asked.ts"
    if feature.kind not in ("age", "since_last"):
        earlier += " AND earlier.due <= asked.ts"
    in_window = "" if feature.window is None else f" AND earlier.ts >= asked.ts - {feature.window}"
    same = "".join(f" AND earlier.{column} = asked.{column}" for column in key)
    clicks = "coalesce(sum(clicks) FILTER (earlier.arrived <= asked.ts), 0)"
    value = {
        "age": "any_value(asked.ts) - min(earlier.ts)",
        "since_last": "any_value(asked.ts) - max(earlier.ts)",
        "impressions": "coalesce(sum(rows), 0)",
        "clicks": clicks,
        "click_rate": f"""({clicks}::DOUBLE + {SMOOTHING}::DOUBLE * any_value(rate))
            / (coalesce(sum(rows), 0)::DOUBLE + {SMOOTHING}::DOUBLE)""",
    }[feature.kind]
    missing = " OR ".join(f"any_value(asked.{column}) = {MISSING}" for column in key)
    rate = f"LEFT JOIN ({_rate()}) USING (n)" if feature.kind == "click_rate" else ""
    return f"""
        SELECT asked.n, CAST(CASE WHEN NOT ({missing}) THEN {value} END AS FLOAT) AS value
        FROM asked {rate} LEFT JOIN ({_moments(key)}) AS earlier ON {earlier}{in_window}{same} GROUP BY asked.n"""


def _moments(key: list[str]) -> str:
    """The rows of `told` that have a key which is asked for, those of one key, second and arrival in one."""
    names = "".join(f"{column}, " for column in key)
    asked = f"SEMI JOIN asked USING ({', '.join(key)})" if key else ""
    return f"""
        SELECT {names}ts, due, arrived, count(*) AS rows, count(*) FILTER (click = 1) AS clicks
        FROM told {asked} GROUP BY ALL"""


def _rate() -> str:
    """The clicks that had arrived over the rows whose labels were due; null before the first."""
    return f"""
        SELECT asked.n,
            coalesce(sum(clicks) FILTER (earlier.arrived <= asked.ts), 0)::DOUBLE / sum(rows)::DOUBLE AS rate
        FROM asked JOIN ({_moments([])}) AS earlier ON earlier.ts < asked.ts AND earlier.due <= asked.ts
        GROUP BY asked.n"""


def _shown(value: float | None) -> str:
    return "none" if value is None else repr(value)

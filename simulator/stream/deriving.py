"""Features that are numbers, computed for every row from the rows before it.

A row becomes visible once its label has arrived, and never in its own second. With visible(r) that second, a row at
time t counts the rows r of its key with

    visible(r) <= t  and  ts(r) >= t - window

as those that have come, less those that have gone: visible(r) <= t, less ts(r) + window + 1 <= t, both of the rows
that are ever visible within their window. So two running counts tell any window, whatever the time that each label
takes. The engine sorts the rows by key and time for each of them, out of core.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pkb.batch import MISSING
from simulator.stream.features import GROWING, Feature
from simulator.stream.periods import Span
from simulator.stream.raw import RawLog, path
from simulator.stream.settings import StreamSettings
from simulator.stream.staging import Staging
from simulator.stream.writing import in_order, write

STRICTLY = 1  # seconds from a row to the first one that is told of it
SMOOTHING = 20.0  # rows at the click rate of the whole log that every click rate begins with


@dataclass(frozen=True, kw_only=True)
class Derived:
    """The features of all rows, in the order of the log."""

    staged: Staging
    columns: Mapping[str, str]  # of each field that was computed, its column of the engine's table `derived`
    growing: tuple[str, ...]  # those of which later rows have values that none of the first ones has
    file: Path

    def tables(self) -> Iterator[pa.Table]:
        """The rows of the log in their order, a column per field, null where it is missing."""
        if self.columns:
            with pq.ParquetFile(self.file) as file:
                for batch in file.iter_batches(columns=list(self.columns.values())):
                    yield pa.table(batch.columns, names=list(self.columns))

    def sorted_numbers(self, name: str, start: int, end: int) -> np.ndarray:
        """As `Staging.sorted_numbers`, of any field."""
        if name not in self.columns:
            return self.staged.sorted_numbers(name, start, end)
        return self.staged.sorted_values("derived", self.columns[name], start, end)


def arrival(stream: StreamSettings) -> str:
    """Expression over the columns of a row: the second in which its label has arrived.

    Whatever else tells when labels arrive enters here, and nowhere else.
    """
    return f"ts + {stream.label_delay_seconds or 0}"


def derive(staged: Staging, log: RawLog, stream: StreamSettings, spans: Sequence[Span], folder: Path) -> Derived:
    """Compute the features into files in `folder`.

    The engine has two more tables then, of a row each in the order of the log: `placed` (n, ts, arrived, click,
    request, and a column for each field of a key), and `derived` (n, ts, and a column for each feature).
    """
    features = [feature for feature in stream.derived if feature.is_number]
    derived = Derived(
        staged=staged,
        columns={feature.name: f"f{i}" for i, feature in enumerate(features)},
        growing=tuple(feature.name for feature in features if feature.kind in GROWING),
        file=folder / "derived.parquet",
    )
    if features:
        placed = folder / "placed.parquet"
        keys = key_columns(features)
        held = [f"{_staged_column(log, name)} AS {key}" for name, key in keys.items()]
        columns = ["ts", f"{arrival(stream)} AS arrived", "label0 AS click", *held]
        write(placed, _placed_columns(keys), _numbered(in_order(staged, spans, columns)))
        staged.ask(f"CREATE VIEW placed AS SELECT * FROM read_parquet({path(placed)}, hive_partitioning=false)")
        write(derived.file, _derived_columns(derived.columns), staged.tables(_query(features, keys)))
        file = path(derived.file)
        staged.ask(f"CREATE VIEW derived AS SELECT * FROM read_parquet({file}, hive_partitioning=false)")
    return derived


def key_columns(features: Sequence[Feature]) -> dict[str, str]:
    """The columns of `placed` that hold the fields of keys."""
    return {name: f"k{i}" for i, name in enumerate(dict.fromkeys(name for f in features for name in f.key))}


def _staged_column(log: RawLog, name: str) -> str:
    return f"v{log.schema.names.index(name)}"


def _numbered(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows with `n`, their place in the log."""
    first = 0
    for table in tables:
        yield table.append_column("n", pa.array(np.arange(first, first + table.num_rows)))
        first += table.num_rows


def _placed_columns(keys: Mapping[str, str]) -> pa.Schema:
    plain = [("n", pa.int64()), ("ts", pa.int64()), ("arrived", pa.int64()), ("click", pa.int8())]
    return pa.schema([*plain, ("request", pa.int64()), *((key, pa.int32()) for key in keys.values())])


def _derived_columns(columns: Mapping[str, str]) -> pa.Schema:
    return pa.schema([("n", pa.int64()), ("ts", pa.int64()), *((column, pa.float32()) for column in columns.values())])


def _query(features: Sequence[Feature], keys: Mapping[str, str]) -> str:
    values = ", ".join(f"CAST({_value(feature, keys)} AS FLOAT) AS f{i}" for i, feature in enumerate(features))
    return f"""
        SELECT n, ts, {values}
        FROM (SELECT *, greatest(arrived, ts + {STRICTLY}) AS visible FROM placed) ORDER BY n"""


def _value(feature: Feature, keys: Mapping[str, str]) -> str:
    """Expression of a row's feature."""
    if feature.kind == "position":
        return "CASE WHEN request IS NULL THEN 1 ELSE row_number() OVER (PARTITION BY request ORDER BY n) END"
    if feature.kind == "list_size":
        return "CASE WHEN request IS NULL THEN 1 ELSE count(*) OVER (PARTITION BY request) END"
    key = [keys[name] for name in feature.key]
    same = f"PARTITION BY {', '.join(key)}"
    shown, clicks = (_counted(what, feature.window, same) for what in ("true", "click = 1"))
    earlier = f"({same} ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND {STRICTLY} PRECEDING)"
    overall = f"{_counted('click = 1', None, '')} / nullif({_counted('true', None, '')}, 0)"
    value = {
        "age": f"ts - first_value(ts) OVER {earlier}",
        "since_last": f"ts - last_value(ts) OVER {earlier}",
        "impressions": shown,
        "clicks": clicks,
        "click_rate": f"({clicks} + {SMOOTHING}::DOUBLE * ({overall})) / ({shown} + {SMOOTHING}::DOUBLE)",
    }[feature.kind]
    missing = " OR ".join(f"{column} = {MISSING}" for column in key)
    return f"CASE WHEN {missing} THEN NULL ELSE {value} END"


def _counted(what: str, window: int | None, same: str) -> str:
    """Expression: how many rows of this kind count for a row, of those of the `same` key."""
    come = f"({same} ORDER BY visible RANGE BETWEEN UNBOUNDED PRECEDING AND visible - ts PRECEDING)"
    if window is None:
        return f"count(*) FILTER ({what}) OVER {come}"
    ever = f"{what} AND visible <= ts + {window}"
    gone = f"({same} ORDER BY ts RANGE BETWEEN UNBOUNDED PRECEDING AND {window + 1} PRECEDING)"
    return f"(count(*) FILTER ({ever}) OVER {come} - count(*) FILTER ({ever}) OVER {gone})"

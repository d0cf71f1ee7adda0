"""The tidy table of results: a row per number."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from simulator.measure.value import Value

RESULTS = pa.schema(
    [
        ("run", pa.string()),
        ("seed", pa.int32()),  # null where the number is over all seeds of several
        ("arm", pa.string()),
        ("trained_through", pa.int32()),  # -1 before any training
        ("evaluated_on", pa.int32()),  # null where the number is of no single period
        ("holdout", pa.bool_()),  # null where the number is not of predictions
        ("slice", pa.string()),  # all, new_user, activity_0_50, scenario=7, ..., or the offered load: rate=50
        ("metric", pa.string()),
        ("of", pa.string()),  # what the number is about: a base metric, or the arm compared with
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("reason", pa.string()),  # why there is no value
    ]
)

KEYS = RESULTS.names[: RESULTS.names.index("value")]  # the columns that say which number it is


@dataclass(frozen=True, kw_only=True)
class Result:
    """One number with everything that says which one it is; fields as the columns of `RESULTS`."""

    arm: str
    seed: int | None
    metric: str
    value: Value
    trained_through: int
    evaluated_on: int | None = None
    holdout: bool | None = None
    slice: str = "all"
    of: str | None = None


def to_table(results: list[Result], run: str, data: str, first: int = 1) -> pa.Table:
    """Sort results, whatever order they came in.

    The data set's name and the first period that is in a mean go into the schema's metadata.
    """
    about = {"data": data, "first_measured": str(first)}
    columns = {name: [getattr(result, name) for result in results] for name in KEYS[1:]}
    columns |= {name: [getattr(result.value, name) for result in results] for name in RESULTS.names[len(KEYS) :]}
    table = pa.table({"run": [run] * len(results), **columns}, schema=RESULTS.with_metadata(about))
    return sorted_by_keys(table)


def sorted_by_keys(table: pa.Table) -> pa.Table:
    """Sort a table of results by what says which number each row is."""
    return table.sort_by([(name, "ascending") for name in KEYS])


def data_name(table: pa.Table) -> str:
    """Read the name of the data set that a table of results is about."""
    return str((table.schema.metadata or {}).get(b"data", b"unknown data"), "utf-8")


def first_measured(table: pa.Table) -> int:
    """Read the number of the first period that is in a mean of these results."""
    return int((table.schema.metadata or {}).get(b"first_measured", b"1"))

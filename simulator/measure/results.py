"""The tidy table of results: a row per number."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.measure.value import Value
from simulator.record.layout import RunFolder

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


@dataclass(frozen=True, kw_only=True)
class About:
    """What a table of results is about; it stands in the metadata of the table's schema."""

    data: str  # the data set's name
    yardsticks: list[str] = field(default_factory=list)  # those of its arms that are none, in order
    counted_from: int = (
        1  # the first period that stands in means: before it nothing had been learned, or arms were tuned
    )
    tuned_on: int = 0  # periods, the first ones, by which arms were tuned


def to_table(results: list[Result], run: str, about: About) -> pa.Table:
    """Sort results, whatever order they came in."""
    columns = {name: [getattr(result, name) for result in results] for name in KEYS[1:]}
    columns |= {name: [getattr(result.value, name) for result in results] for name in RESULTS.names[len(KEYS) :]}
    table = pa.table(
        {"run": [run] * len(results), **columns}, schema=RESULTS.with_metadata({"about": json.dumps(asdict(about))})
    )
    return sorted_by_keys(table)


def read_results(run: RunFolder) -> pa.Table:
    """Read `results.parquet`; DataError where it is damaged."""
    try:
        return pq.read_table(run.results, partitioning=None, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{run.results}: not readable: {told}; `simulator report {run}` measures again") from None


def sorted_by_keys(table: pa.Table) -> pa.Table:
    """Sort a table of results by what says which number each row is."""
    return table.sort_by([(name, "ascending") for name in KEYS])


def about(table: pa.Table) -> About:
    """Read what a table of results is about; DataError where that is not told."""
    stored = (table.schema.metadata or {}).get(b"about")
    if stored is None:
        raise DataError("results.parquet is damaged or of another version: `simulator report RUN` measures again")
    return About(**json.loads(stored))

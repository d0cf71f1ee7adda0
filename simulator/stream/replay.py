"""The log replayed as one time-ordered Ray Data execution, cut at period boundaries.

Each worker runs its own execution over the periods still to come: start-up is paid once, the next
period is read while the present one trains, and no rank can take another's rows. What needs an older
period again (retrain-on-all, compression that lags) reads its Parquet file through `Log.read`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import ray.data

from pkb.batch import Batch
from pkb.errors import DataError
from simulator.stream.log import Log, Period, to_batch

READS = 2  # at a time; they reserve no core, as the workers that wait for them may have reserved all that are left


def replay(log: Log, *, first: int = 0, histories: bool = False) -> Generator[tuple[Period, Batch]]:
    """Each period from number `first` on with its rows, strictly in time order; DataError if rows are amiss."""
    periods = log.periods[first:]
    if not periods:
        return
    columns = log.columns(histories=histories)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.use_datasource_v2 = False  # it packs the row groups of a large file into reads in any order
    files = [str(log.path(p)) for p in periods]
    dataset = ray.data.read_parquet(files, columns=columns, partitioning=None, concurrency=READS, num_cpus=0)
    blocks = dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=2)  # as they were read
    tables = _cut(iter(blocks), [p.rows for p in periods])

    def following(period: Period) -> Batch:
        table = next(tables)
        _check_order(period, table, log)
        return to_batch(table, log.schema)

    with ThreadPoolExecutor(1) as ahead:  # the next period is made ready while the present one is at work
        pending = ahead.submit(following, periods[0])
        for period, next_one in zip(periods, [*periods[1:], None], strict=True):
            rows = pending.result()
            if next_one is not None:
                pending = ahead.submit(following, next_one)
            yield period, rows


def _cut(blocks: Iterator[pa.Table], sizes: list[int]) -> Iterator[pa.Table]:
    """Tables of exactly `sizes` rows from a stream of tables of any size."""
    rest: list[pa.Table] = []
    for size in sizes:
        missing = size - sum(t.num_rows for t in rest)
        while missing > 0:
            block = next(blocks, None)
            if block is None:
                raise DataError(f"the log ended {missing} rows early; ingest it again")
            rest.append(block)
            missing -= block.num_rows
        joined = pa.concat_tables(rest)
        rest = [joined.slice(size)]
        yield joined.slice(0, size)


def _check_order(period: Period, table: pa.Table, log: Log) -> None:
    row_id = table.column("row_id").to_numpy()
    expected = np.arange(period.first_row_id, period.first_row_id + period.rows)
    if not np.array_equal(row_id, expected):
        wrong = int(np.argmax(row_id != expected))
        raise DataError(
            f"{log.path(period)}: row {wrong} has row_id {row_id[wrong]}, expected {expected[wrong]}; ingest it again"
        )

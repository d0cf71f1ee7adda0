from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pkb.errors import DataError
from simulator.cluster.session import ray_session
from simulator.stream.log import Log, to_batch
from simulator.stream.replay import replay
from tests.simulator.tiny import SCHEMA, tiny_log

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(None):
        yield


def grown(log: Log, rows: int) -> Log:
    """The log with `rows` rows in every period, in files of many row groups."""
    periods = []
    for period in log.periods:
        table = pq.read_table(log.path(period))
        times = -(-rows // table.num_rows)
        table = pa.concat_tables([table] * times).slice(0, rows)
        first = period.index * rows
        table = table.set_column(0, "row_id", pa.array(np.arange(first, first + rows)))
        pq.write_table(table, log.path(period), row_group_size=65_536, compression="none", use_dictionary=False)
        periods.append(replace(period, rows=rows, first_row_id=first))
    manifest = replace(log.manifest, periods=tuple(periods))
    (log.folder / "manifest.json").write_text(manifest.to_json())
    return Log(log.folder)


def test_files_of_many_row_groups_are_replayed_in_order(tmp_path: Path) -> None:
    """Of 170 MB each: Ray Data may read a file of over 128 MB in parts, and did so in any order."""
    log = grown(tiny_log(tmp_path / "log", periods=2), 3_000_000)
    seen = 0
    for period, rows in replay(log):
        assert rows.row_id[0] == seen
        assert bool((rows.row_id.diff() == 1).all())
        seen += len(rows)
        expected = to_batch(pq.read_table(log.path(period)).slice(0, 1000), SCHEMA)
        assert (rows.ids_BF[:1000] == expected.ids_BF).all()
    assert seen == 6_000_000


def test_rows_out_of_order_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log")
    file = log.path(log.periods[2])
    table = pq.read_table(file)
    pq.write_table(table.take(np.roll(np.arange(table.num_rows), 1)), file)
    with pytest.raises(DataError, match=r"period-00002.parquet: row 0 has row_id 1799, expected 1200; ingest it again"):
        list(replay(log))


def test_a_replay_may_begin_at_any_period(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "log")
    assert [period.index for period, _ in replay(log, first=2)] == [2, 3]
    assert list(replay(log, first=4)) == []

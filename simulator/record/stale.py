"""What is answered while the next model is in the making: `stale/period-00003/<key>.parquet`.

Of period 4 the rows that come within `measure.staleness` of its start, by the model that had not learned period 3 yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from simulator.record.files import write_parquet
from simulator.record.layout import RunFolder
from simulator.record.predictions import read_columns

STALE = pa.schema([("row_id", pa.int64()), ("probability", pa.float32())])


class Stale(NamedTuple):
    """Rows of a period, and what the model before the last one says of them."""

    row_id: np.ndarray  # [N] int64
    probability: np.ndarray  # [N] float32


def write_stale(run: RunFolder, period: int, key: str, stale: Stale) -> None:
    """Write what a contender gave before it learned this period, for rows of the next one."""
    file = run.stale(period, key)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(file, pa.table([pa.array(stale.row_id), pa.array(stale.probability)], schema=STALE))


def read_stale(run: RunFolder, period: int, key: str) -> Stale | None:
    """Read it; None where there is none, DataError where the file is damaged."""
    file = run.stale(period, key)
    if not file.exists():
        return None
    table = read_columns(file, STALE.names)
    return Stale(*(table.column(name).to_numpy() for name in STALE.names))

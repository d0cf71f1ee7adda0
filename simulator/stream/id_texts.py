"""Ids that are numbers: one text for each, whatever the type of their column.

Software that knows no missing integer (pandas) makes floats of a column as soon as one is missing. So 123.0 is 123, and
no number is a missing value. A float holds whole numbers up to a limit only; beyond it, several ids are one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.stream.raw import is_list

LIMITS = {pa.float16(): 2**11, pa.float32(): 2**24, pa.float64(): 2**53}  # each whole number up to it is held


def as_text(value: str, kind: pa.DataType) -> str:
    """Expression: the text of a value of a Parquet column; a float or decimal that is whole has no point."""
    kind = _plain(kind)
    if pa.types.is_floating(kind):
        return rf"nullif(regexp_replace(CAST({value} + 0 AS VARCHAR), '\.0+$', ''), 'nan')"
    if pa.types.is_decimal(kind):
        return rf"regexp_replace(CAST({value} AS VARCHAR), '\.0+$', '')"
    return f"CAST({value} AS VARCHAR)"


def require_exact(file: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    """DataError if a column of floats holds a whole number beyond those that it can tell apart."""
    kinds = {column: schema.field(column).type for column in columns}
    inner = {column: _plain(kind.value_type if is_list(kind) else kind) for column, kind in kinds.items()}
    floats = {column: LIMITS[kind] for column, kind in inner.items() if kind in LIMITS}
    if not floats:
        return
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(columns=list(floats)):
                for column, limit in floats.items():
                    _require_below(limit, batch.column(column), f"{file}: column {column!r}")
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: not readable as Parquet: {str(error).splitlines()[0]}") from None


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _require_below(limit: int, column: pa.Array, where: str) -> None:
    values = (column.flatten() if is_list(column.type) else column).cast(pa.float64())
    beyond = pc.and_(pc.greater(pc.abs(values), limit), pc.is_finite(values))
    if pc.any(beyond).as_py():
        (example,) = values.filter(beyond).slice(0, 1).to_pylist()
        raise DataError(
            f"{where} holds {example:.0f} as a float, which tells no ids above {limit:,} apart: write the column as"
            " integers or as text (in pandas: dtype Int64)"
        )

"""Which raw file is at fault, and where, once the engine has given up: it does not always say."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

PIECE = 16_000_000  # bytes of a line that are looked at together


def lone_return(file: Path) -> int | None:
    """The number of the first line with a carriage return that does not end it; None if there is none.

    The engine reads lines that end in `\\n`, `\\r\\n` or, all of them, `\\r`; it cannot read a mixture.
    """
    row = 1
    with file.open("rb") as stream:
        while piece := stream.readline(PIECE):
            if b"\r" in piece.removesuffix(b"\n").removesuffix(b"\r"):
                return row
            row += piece.endswith(b"\n")
    return None


def damaged_parquet(files: Iterable[Path]) -> Path | None:
    """The first of the Parquet files that cannot be read to its end; None if all can."""
    for file in files:
        try:
            with pq.ParquetFile(file) as parquet:
                for _ in parquet.iter_batches():
                    pass
        except (pa.ArrowException, OSError):
            return file
    return None

"""Which raw file is at fault, and where, once the engine has given up: it does not always say."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pkb.errors import DataError
from simulator.stream.packed import opened
from simulator.stream.raw import PARQUET, RawLog

PIECE = 16_000_000  # bytes of a line that are looked at together


def lone_return(file: Path) -> int | None:
    """The number of the first line with a carriage return that does not end it; None if there is none.

    The engine reads lines that end in `\\n`, `\\r\\n` or, all of them, `\\r`; it cannot read a mixture.
    """
    row = 1
    with opened(file) as packed, io.BufferedReader(packed) as stream:
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


@contextmanager
def as_data_error(log: RawLog) -> Iterator[None]:
    """Tell in one line what the engine cannot read or hold; its complaints of our SQL stay as they are."""
    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise
    except duckdb.OutOfMemoryException:
        raise DataError(f"{log.source}: the ingest needs more memory; raise ingest.memory_limit_gb") from None
    except duckdb.Error as error:
        raise DataError(f"{log.source}: {_what_is_wrong(log, str(error))}") from error


def _what_is_wrong(log: RawLog, complaint: str) -> str:
    """The engine's complaint in one line, with the raw file that it is about."""
    lines = [line.strip() for line in complaint.splitlines()]
    named = next((line.removeprefix("file = ") for line in lines if line.startswith("file = ")), None)
    what = "".join(c if c.isprintable() else "?" for c in lines[0])
    if named is not None:
        if (row := lone_return(Path(named))) is not None:
            return f"{named}, row {row}: a carriage return within the line; take it out, or end every line in \\n"
        return f"{named}: {what}"
    damaged = damaged_parquet(file for file in log.files if file.suffix.lower() in PARQUET)
    return what if damaged is None else f"{damaged}: not readable as Parquet: {what}"

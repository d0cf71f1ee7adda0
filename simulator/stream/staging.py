"""Raw rows read, checked and sorted by DuckDB, out of core.

The engine gets a memory limit and a folder to spill to. It fetches nothing from the network, and nothing
that stands in the data is executed: names and texts are quoted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pkb.errors import DataError
from simulator.settings import IngestSettings
from simulator.stream.raw import RawLog

LATEST = 253_402_300_799  # the last second of the year 9999; a time beyond it has another unit
BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A raw row that was set aside."""

    file: str
    row: int  # 1-based line or row number
    reason: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """The kept rows of one multiple of the period's width."""

    start: int  # seconds
    rows: int
    positives: int


class Staging:
    """The rows of a raw log, normalised and checked, in a table of the engine.

    Its columns: file, row, part, ts, label, request, p_true, reason (null in rows that are kept), and v0,
    v1, ... for the texts of `RawLog.values` in their order. `left_out` tells why and how many rows of the raw
    files are no part of it.
    """

    def __init__(self, engine: duckdb.DuckDBPyConnection, log: RawLog, *, history_length: int) -> None:
        self._engine = engine
        self._log = log
        self._run(f"CREATE TABLE staged AS {_normalised(log, history_length)}")
        self.left_out = self._leave_out() if log.left_out is not None else []
        self._add_unreadable_lines()

    def _leave_out(self) -> list[tuple[str, int]]:
        """Removes the rows that are no part of the log; why, and how many."""
        which = "FROM staged WHERE left_out IS NOT NULL AND reason IS NULL"
        counts = self._run(f"SELECT left_out, count(*) {which} GROUP BY ALL ORDER BY ALL")
        self._run(f"DELETE {which}")
        return counts

    def count(self) -> tuple[int, int]:
        """Rows there are, and rows rejected."""
        ((rows_in, rejected),) = self._run("SELECT count(*), count(reason) FROM staged")
        return rows_in, rejected

    def first_reject(self) -> Reject:
        ((file, row, reason),) = self._run(f"{_REJECTS} LIMIT 1")
        return Reject(file=file, row=row, reason=reason)

    def rejects(self) -> Iterator[pa.Table]:
        """Columns file, row, reason."""
        return self._tables(_REJECTS)

    def spans(self, width: int, offset: int) -> list[Span]:
        """The multiples of `width` seconds, on a clock `offset` seconds ahead of UTC, that hold rows."""
        found = self._run(f"""
            SELECT CAST(floor((ts + {offset}) / {width}) AS BIGINT) AS number, count(*), sum(label)::BIGINT
            FROM staged WHERE reason IS NULL GROUP BY number ORDER BY number""")
        return [Span(start=k * width - offset, rows=rows, positives=clicks) for k, rows, clicks in found]

    def sorted_rows(self) -> Iterator[pa.Table]:
        """Kept rows by (ts, file, row, part): columns ts, request, label, p_true, v0, v1, ..."""
        request = "0 AS request"
        numbers = ""
        if self._log.request is not None:
            request = "TRY_CAST(request AS BIGINT) AS request"
            if not self._requests_are_integers():
                request = "number AS request"
                numbers = "JOIN request_number USING (request)"
                self._number_requests()
        values = ", ".join(f"v{i}" for i in range(len(self._log.values)))
        return self._tables(f"""
            SELECT ts, {request}, label, p_true, {values} FROM staged {numbers}
            WHERE reason IS NULL ORDER BY ts, file, row, part""")

    def _requests_are_integers(self) -> bool:
        """Whether every request is an integer, and no two that differ as texts are the same integer."""
        ((equal,),) = self._run("""
            SELECT bool_and(coalesce(CAST(TRY_CAST(request AS BIGINT) AS VARCHAR) = request, false))
            FROM staged WHERE reason IS NULL""")
        return bool(equal)

    def _number_requests(self) -> None:
        """0, 1, ... in order of first appearance."""
        self._run("""
            CREATE TABLE request_number AS
            SELECT request, row_number() OVER (ORDER BY min((ts, file, row, part))) - 1 AS number
            FROM staged WHERE reason IS NULL GROUP BY request""")

    def _add_unreadable_lines(self) -> None:
        """Lines that the reader could not take are rejects, and shift the row numbers of the lines behind them."""
        if not self._run("SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors' AND estimated_size > 0"):
            return
        self._run("""
            CREATE TABLE unreadable AS
            SELECT file_path AS file, line::BIGINT AS line,
                row_number() OVER (PARTITION BY file_path ORDER BY line) AS number,
                CASE min(error_type) WHEN 'INVALID ENCODING' THEN 'not UTF-8' ELSE lower(min(error_type)) END AS reason
            FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path, line""")
        for (file,) in self._run("SELECT DISTINCT file FROM unreadable"):
            shown = str(Path(file).relative_to(self._log.root))
            self._engine.execute("UPDATE unreadable SET file = ? WHERE file = ?", [shown, file])
        self._run("""
            UPDATE staged SET row = staged.row + shift.number FROM (
                SELECT read.file, read.row, unreadable.number FROM (SELECT DISTINCT file, row FROM staged) AS read
                ASOF JOIN unreadable ON read.file = unreadable.file AND read.row > unreadable.line - unreadable.number
            ) AS shift
            WHERE staged.file = shift.file AND staged.row = shift.row""")
        self._run("INSERT INTO staged BY NAME SELECT file, line AS row, 1 AS part, reason FROM unreadable")

    def _tables(self, query: str) -> Iterator[pa.Table]:
        with _as_data_error(self._log):
            for batch in self._engine.sql(query).to_arrow_reader(BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    def _run(self, statement: str) -> list[Any]:
        with _as_data_error(self._log):
            rows: list[Any] = self._engine.execute(statement).fetchall()
        return rows


@contextmanager
def staging(log: RawLog, folder: Path, settings: IngestSettings, *, history_length: int) -> Iterator[Staging]:
    """The checked rows of `log`, for as long as the block lasts; the engine works in `folder`."""
    engine = duckdb.connect(
        str(folder / "staged.duckdb"),  # a table in memory would not spill beside a sort
        config={
            "memory_limit": f"{settings.memory_limit_gb}GB",
            "temp_directory": str(folder / "spill"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    try:
        engine.execute("SET enable_progress_bar = false")
        yield Staging(engine, log, history_length=history_length)
    finally:
        engine.close()


_REJECTS = "SELECT file, row, reason FROM staged WHERE reason IS NOT NULL ORDER BY file, row, part"


def _normalised(log: RawLog, history_length: int) -> str:
    histories = {h.name for h in log.schema.histories}

    def as_text(name: str, value: str) -> str:
        if name in histories:
            return f"CAST(({value})[-{history_length}:] AS VARCHAR[])"
        return f"CAST({value} AS VARCHAR)"

    def shown(text: str) -> str:
        return f"'''' || left({text}, 40) || ''''"

    values = ", ".join(f"{as_text(name, value)} AS v{i}" for i, (name, value) in enumerate(log.values.items()))
    without_request = "false" if log.request is None else "request IS NULL OR request = ''"
    return f"""
        SELECT * EXCLUDE (defect, time_text, label_text), CASE
            WHEN defect IS NOT NULL THEN defect
            WHEN time_text IS NULL OR time_text = '' THEN 'no time'
            WHEN ts IS NULL THEN 'time ' || {shown("time_text")} || ' does not parse'
            WHEN ts NOT BETWEEN 0 AND {LATEST} THEN
                'time ' || {shown("time_text")} || ' is not in the years 1970 to 9999; look at the unit of time'
            WHEN label_text IS NULL OR label_text = '' THEN 'no label'
            WHEN label IS NULL THEN 'label ' || {shown("label_text")} || ' is not 0 or 1'
            WHEN {without_request} THEN 'no request'
        END AS reason
        FROM (
            SELECT _file AS file, _row AS row, _part AS part, {log.defect} AS defect,
                {log.left_out or "NULL"} AS left_out,
                CAST({log.time} AS VARCHAR) AS time_text, {log.ts} AS ts,
                CAST({log.label} AS VARCHAR) AS label_text,
                CASE TRY_CAST({log.label} AS DOUBLE) WHEN 0 THEN 0 WHEN 1 THEN 1 END::TINYINT AS label,
                CAST({log.request or "NULL"} AS VARCHAR) AS request,
                TRY_CAST({log.p_true or "NULL"} AS DOUBLE) AS p_true, {values}
            FROM ({log.relation}))"""


@contextmanager
def _as_data_error(log: RawLog) -> Iterator[None]:
    """What the engine cannot read or hold is told in one line; its complaints of our SQL stay as they are."""
    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise
    except duckdb.OutOfMemoryException:
        raise DataError(f"{log.source}: the ingest needs more memory; raise ingest.memory_limit_gb") from None
    except duckdb.Error as error:
        lines = [line.strip() for line in str(error).splitlines()]
        file = next((line.removeprefix("file = ") + ": " for line in lines if line.startswith("file = ")), "")
        raise DataError(f"{log.source}: {file}{lines[0]}") from error

"""Raw rows read, checked and sorted by DuckDB, out of core.

The engine gets a memory limit and a folder to spill to. It fetches nothing from the network, and nothing
that stands in the data is executed: names and texts are quoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.cores import allowed_cores
from simulator.stream.faults import as_data_error
from simulator.stream.log import TYPES
from simulator.stream.raw import RawLog, path, shown
from simulator.stream.requests import number_of
from simulator.stream.seen import USUAL, Seen
from simulator.stream.settings import IngestSettings
from simulator.stream.vocabulary import WORDS, Numbering, Values, Vocabulary

BATCH_ROWS = 65_536
STORED_ROWS = 131_072  # of a row group
ARRIVING_ROWS = 16_384  # fewer at a time where values are texts: the parser's buffers and copies are many times larger


@dataclass(frozen=True, kw_only=True)
class Reject:
    """A raw row that was set aside."""

    file: str
    row: int  # 1-based line or row number
    reason: str


@dataclass(frozen=True, kw_only=True)
class Count:
    """The kept rows that a cut gives one number."""

    number: int
    first: int  # seconds
    last: int
    rows: int
    positives: int


class Staging:
    """The rows of a raw log, checked, in files that the engine reads as tables.

    `staged` holds those that are kept: file, row, part, ts, label_ts (where labels have times), request (a text),
    label0, label1, ..., p_true, and v0, v1, ... with provisional ids in place of `RawLog.values`, or with numbers as
    they are. `rejected` holds the others with their reason. Texts go as they arrive, since ids are sorted several times
    as fast and need less room. A table of the engine's own would stay in memory while the query that fills it runs.
    """

    def __init__(self, engine: duckdb.DuckDBPyConnection, log: RawLog, folder: Path, query: str) -> None:
        self._engine = engine
        self._log = log
        self._columns = _staged_columns(log)
        usual = USUAL if log.source == "table" else ()  # what a known format means is known
        self._vocabulary = Vocabulary(log.schema.names, missing=log.missing, usual=usual)
        self.seen = Seen()
        self._has_apart = False
        tables = (("staged", self._columns), ("rejected", _REJECTED), ("words", WORDS))
        self._files = {name: folder / f"{name}.parquet" for name, _ in tables}
        self.left_out: Counter[str] = Counter()  # why rows of the raw files are no part of the log: how many
        self._fill({name: _Store(self._files[name], columns) for name, columns in tables}, query)
        for name in self._files:
            self.ask(f"CREATE VIEW {name} AS {self._stored(name)}")
        self._add_unreadable_lines()

    def count(self) -> tuple[int, int]:
        """Rows there are, and rows rejected."""
        ((kept, rejected),) = self.ask("SELECT (SELECT count(*) FROM staged), (SELECT count(*) FROM rejected)")
        return kept + rejected, rejected

    def first_reject(self) -> Reject:
        ((file, row, reason),) = self.ask(f"{_REJECTS} LIMIT 1")
        return Reject(file=file, row=row, reason=reason)

    def rejects(self) -> Iterator[pa.Table]:
        """Columns file, row, reason."""
        return self.tables(_REJECTS)

    def counts(self, number: str) -> list[Count]:
        """The kept rows of each number that they have by this expression (`periods.Cut.number`), ascending."""
        found = self.ask(f"""
            SELECT {number} AS number, min(ts), max(ts), sum(rows)::BIGINT, sum(positives)::BIGINT
            FROM (SELECT *, (sum(rows) OVER (ORDER BY ts) - rows)::BIGINT AS before
                  FROM (SELECT ts, count(*) AS rows, sum(label0) AS positives FROM staged GROUP BY ts))
            GROUP BY number ORDER BY number""")
        return [
            Count(number=number, first=first, last=last, rows=rows, positives=positives)
            for number, first, last, rows, positives in found
        ]

    def usual(self) -> Mapping[tuple[str, str], float]:
        """The share of a field's values, those in lists included, that a text has which usually means none."""
        held = self._vocabulary
        return {(field, text): times / held.values[field] for (field, text), times in held.usual.items()}

    def set_apart(self, requests: Sequence[str]) -> None:
        """Leave the rows of these requests without one."""
        self._engine.register("apart", pa.table({"lone": pa.array(requests, pa.string())}))
        self._has_apart = len(requests) > 0

    def sorted_rows(self, start: int, end: int, columns: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Kept rows with start <= ts < end by (ts, file, row, part): request, ts, label0, ..., p_true, v0, v1, ...

        The request is null where it was set apart. `columns` are expressions in place of all columns but the request.
        """
        request, numbers = self._requests
        kept = columns or [c.name for c in self._columns if c.name not in ("file", "row", "part", "request")]
        return self.tables(f"""
            SELECT {request}, {", ".join(kept)} FROM staged {numbers}
            WHERE ts >= {start} AND ts < {end} ORDER BY ts, file, row, part""")

    def numbering(self, first: int) -> Numbering:
        """For values whose ids are given from `first` on."""
        return Numbering(len(self._log.schema.fields), self._vocabulary.size, first)

    def sorted_numbers(self, name: str, start: int, end: int) -> np.ndarray:
        """Of a field that is a number, the values that are there in rows with start <= ts < end, ascending, float32."""
        return self.sorted_values("staged", f"v{self._log.schema.names.index(name)}", start, end)

    def sorted_values(self, table: str, v: str, start: int, end: int) -> np.ndarray:
        """Likewise of a column of any table of the engine that has `ts`."""
        query = f"SELECT {v} FROM {table} WHERE {v} IS NOT NULL AND ts >= {start} AND ts < {end} ORDER BY {v}"
        held = [table.column(0).to_numpy() for table in self.tables(query)]
        return np.concatenate([np.empty(0, np.float32), *held])

    def first_vectors(self, name: str, start: int, end: int, most: int) -> np.ndarray:
        """Of a field that is a vector, the first so many that are there in rows with start <= ts < end, [rows, W]."""
        v = f"v{self._log.schema.names.index(name)}"
        held = self.tables(f"""
            SELECT {v} FROM staged WHERE len({v}) > 0 AND ts >= {start} AND ts < {end}
            ORDER BY ts, file, row, part LIMIT {most}""")
        entries = [whole(table.column(0)).flatten().to_numpy() for table in held]
        return np.concatenate([np.empty(0, np.float32), *entries]).reshape(-1, self._log.schema.vectors[name].length)

    def words(self, final: Numbering) -> Iterator[pa.Table]:
        """Columns id, field, text of the values with final ids, in their order."""
        self._engine.register("final", final.pairs())
        return self.tables("SELECT id, field, text FROM words JOIN final USING (provisional) ORDER BY id")

    @cached_property
    def _requests(self) -> tuple[str, str]:
        """Expression of a request's number, and the join that it needs."""
        return ("0 AS request", "") if self._log.request is None else number_of(self.ask, apart=self._has_apart)

    def _fill(self, stores: dict[str, _Store], query: str) -> None:
        with ExitStack() as closing:
            for store in stores.values():
                closing.callback(store.close)
            for rows in self.tables(query, ARRIVING_ROWS):
                self.seen.add(rows)
                bad, left = pc.is_valid(rows.column("reason")), pc.is_valid(rows.column("left_out"))
                for why in rows.column("left_out").filter(pc.and_not(left, bad)).value_counts().to_pylist():
                    self.left_out[why["values"]] += why["counts"]
                stores["rejected"].add(rows.select(_REJECTED.names).filter(bad))
                good = pc.invert(pc.or_(bad, left))
                staged, words = self._encoded(rows if pc.all(good).as_py() else rows.filter(good))
                stores["staged"].add(staged)
                stores["words"].add(words)

    def _stored(self, name: str) -> str:
        return f"SELECT * FROM read_parquet({path(self._files[name])}, hive_partitioning=false)"

    def _encoded(self, rows: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Rows with provisional ids in place of texts, and the values that were new."""
        schema = self._log.schema
        values = {name: whole(rows.column(f"v{i}")) for i, name in enumerate(self._log.values)}
        field_of = {name: name for name in schema.names_of("category", "list")}
        field_of |= {history.name: history.field for history in schema.histories}
        lists = [name for name in field_of if pa.types.is_list(values[name].type)]
        texts = {name: values[name].flatten() if name in lists else values[name] for name in field_of}
        ids, words = self._vocabulary.encode([Values(field=f, texts=texts[name]) for name, f in field_of.items()])
        encoded = dict(zip(field_of, map(pa.array, ids), strict=True))
        for name in lists:
            offsets = np.concatenate([[0], np.cumsum(values[name].value_lengths().fill_null(0).to_numpy())])
            encoded[name] = pa.ListArray.from_arrays(offsets.astype(np.int32), encoded[name])
        arrays = {f"v{i}": encoded[name] for i, name in enumerate(self._log.values) if name in encoded}
        names = self._columns.names
        return pa.table([arrays[name] if name in arrays else rows.column(name) for name in names], names=names), words

    def _add_unreadable_lines(self) -> None:
        """Lines that the reader could not take are rejects, and shift the row numbers of the lines behind them."""
        if not self.ask("SELECT 1 FROM duckdb_tables() WHERE table_name = 'reject_errors' AND estimated_size > 0"):
            return
        self.ask("""
            CREATE TABLE unreadable AS
            SELECT file_path AS file, line::BIGINT AS line,
                row_number() OVER (PARTITION BY file_path ORDER BY line) AS number,
                CASE min(error_type) WHEN 'INVALID ENCODING' THEN 'not UTF-8' ELSE lower(min(error_type)) END AS reason
            FROM reject_errors JOIN reject_scans USING (scan_id, file_id) GROUP BY file_path, line""")
        for (file,) in self.ask("SELECT DISTINCT file FROM unreadable"):
            name = shown(Path(file), self._log.root)
            self._engine.execute("UPDATE unreadable SET file = ? WHERE file = ?", [name, file])
        gap = "SELECT file, line - number AS behind, max(number) AS number FROM unreadable GROUP BY ALL"
        shifted = "SELECT rows.* REPLACE (rows.row + coalesce(gap.number, 0) AS row)"
        joined = f"ASOF LEFT JOIN ({gap}) AS gap ON rows.file = gap.file AND rows.row > gap.behind"
        unreadable = {"rejected": "UNION ALL SELECT file, line, 1, reason FROM unreadable", "staged": ""}
        for name, more in unreadable.items():
            rows = f"{shifted} FROM ({self._stored(name)}) AS rows {joined}"
            self.ask(f"CREATE OR REPLACE VIEW {name} AS {rows} {more}")

    def tables(self, query: str, rows: int | None = None) -> Iterator[pa.Table]:
        with as_data_error(self._log):
            for batch in self._engine.sql(query).to_arrow_reader(rows or BATCH_ROWS):
                yield pa.Table.from_batches([batch])

    def ask(self, statement: str) -> list[Any]:
        """The rows that a query of `staged`, `rejected` and `words` gives."""
        with as_data_error(self._log):
            rows: list[Any] = self._engine.execute(statement).fetchall()
        return rows


@contextmanager
def staging(log: RawLog, folder: Path, settings: IngestSettings, query: str) -> Iterator[Staging]:
    """The rows that `checked_rows` asks for, for as long as the block lasts; the engine works in `folder`."""
    engine = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": f"{settings.memory_limit_gb}GB",
            "temp_directory": str(folder / "spill"),
            "threads": str(allowed_cores()),
            "preserve_insertion_order": "false",  # so that files are parsed side by side
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        },
    )
    try:
        engine.execute("SET TimeZone = 'UTC'")  # whatever the clock of the machine
        engine.execute("SET enable_progress_bar = false")
        engine.execute("SET streaming_buffer_size = '100MB'")  # parsed while rows before it get their ids
        yield Staging(engine, log, folder, query)
    finally:
        engine.close()


_REJECTS = "SELECT file, row, reason FROM rejected ORDER BY file, row, part"
_PLACE = [("file", pa.string()), ("row", pa.int64()), ("part", pa.int64())]
_REJECTED = pa.schema([*_PLACE, ("reason", pa.string())])


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece; it is copied only if it is not."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _staged_columns(log: RawLog) -> pa.Schema:
    kinds = [*(TYPES[field.kind] for field in log.schema.fields), *(TYPES["list"] for _ in log.schema.histories)]
    return pa.schema(
        [
            *_PLACE,
            ("ts", pa.int64()),
            *([("label_ts", pa.int64())] if log.schema.has_label_time else []),
            ("request", pa.string()),
            *((f"label{i}", pa.int8()) for i in range(len(log.schema.labels))),
            ("p_true", pa.float64()),
            *([("row_weight", pa.float32())] if log.schema.has_weight else []),
            *((f"v{i}", kind) for i, kind in enumerate(kinds)),
        ]
    )


class _Store:
    """Appends to one file."""

    def __init__(self, file: Path, columns: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, columns, compression="lz4")
        self._columns = columns
        self._held: list[pa.Table] = []
        self._rows = 0

    def add(self, rows: pa.Table) -> None:
        self._held.append(rows.cast(self._columns))
        self._rows += rows.num_rows
        if self._rows >= STORED_ROWS:
            self._write()

    def close(self) -> None:
        self._write()
        self._writer.close()

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._held))
        self._held, self._rows = [], 0

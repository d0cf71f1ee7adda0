"""Sorted rows -> the log's files: final ids, one Parquet file a period."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pkb.batch import Schema
from simulator.stream.log import TYPES, Period
from simulator.stream.periods import Span
from simulator.stream.staging import BATCH_ROWS, Staging, whole
from simulator.stream.vocabulary import Ids, Numbering

SORTED_ROWS = 2_000_000  # by one query: short periods share one, since each may have to look at all rows

VOCABULARY = pa.schema([("id", pa.int32()), ("field", pa.string()), ("text", pa.string())])
REJECTS = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reason", pa.string())])


def write_periods(
    staged: Staging, schema: Schema, spans: Sequence[Span], folder: Path, derived: Iterator[pa.Table]
) -> tuple[Period, ...]:
    """One file a span, and `vocabulary.parquet`; row groups hold at most BATCH_ROWS rows.

    `derived` are the rows again, with the fields that were computed; no table if there are none.
    """
    numbering = staged.numbering(schema.first_value_id)
    sizes = [size for span in spans for size in group_sizes(span.rows)]
    tables = cut(in_order(staged, spans), sizes)
    beside = _beside(derived, sizes)
    periods: list[Period] = []
    row_id = 0
    for index, span in enumerate(spans):
        file = f"period-{index:05d}.parquet"
        first_row_id, digest, labels_until = row_id, _Digest(), 0
        with _writer(folder / file, columns_of(schema)) as writer:
            for _ in group_sizes(span.rows):
                table = _numbered(next(tables), next(beside), schema, numbering, row_id)
                writer.write_table(table)
                digest.add(table)
                if schema.has_label_time:
                    labels_until = max(labels_until, pc.max(table.column("label_ts")).as_py() + 1)
                row_id += table.num_rows
        periods.append(
            Period(
                index=index,
                start=span.start,
                end=span.end,
                rows=span.rows,
                positives=span.positives,
                first_row_id=first_row_id,
                vocabulary_size=numbering.size,
                file=file,
                digest=str(digest),
                labels_until=labels_until,
            )
        )
    more = next(tables, None)  # asking also ends the engine's query
    assert more is None, "more rows than were counted"
    write(folder / "vocabulary.parquet", VOCABULARY, staged.words(numbering))
    return tuple(periods)


def write_rejects(staged: Staging, folder: Path) -> None:
    write(folder / "rejects.parquet", REJECTS, staged.rejects())


def columns_of(schema: Schema) -> pa.Schema:
    """The columns of a period's file."""
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("ts", pa.int64()),
            *([("label_ts", pa.int64())] if schema.has_label_time else []),
            *([("request_id", pa.int64())] if schema.has_request else []),
            *((field.name, TYPES[field.kind]) for field in schema.fields),
            *((history.name, TYPES["list"]) for history in schema.histories),
            *((label, pa.int8()) for label in schema.labels),
            *([("p_true", pa.float64())] if schema.has_p_true else []),
            *([("row_weight", pa.float32())] if schema.has_weight else []),
        ]
    )


def in_order(staged: Staging, spans: Sequence[Span], columns: Sequence[str] = ()) -> Iterator[pa.Table]:
    """The rows of all spans, sorted stretch by stretch: a sort of everything would spill all of it to disk."""
    first = 0
    rows = 0
    for index, span in enumerate(spans):
        rows += span.rows
        if index + 1 == len(spans) or rows + spans[index + 1].rows > SORTED_ROWS:
            yield from staged.sorted_rows(spans[first].start, span.end, columns)
            first, rows = index + 1, 0


def _numbered(rows: pa.Table, derived: pa.Table, schema: Schema, numbering: Numbering, first_row_id: int) -> pa.Table:
    """Staged rows, and their fields that were computed, as rows of the log."""
    histories = [history.name for history in schema.histories]
    single, lists = schema.names_of("category"), [*schema.names_of("list"), *histories]
    held = {name: whole(derived.column(name)) for name in derived.column_names}
    staged = [name for name in (*schema.names, *histories) if name not in held]
    held |= {name: whole(rows.column(f"v{i}")) for i, name in enumerate(staged)}
    every_row = np.arange(rows.num_rows)
    row_id = every_row + first_row_id
    lengths = {name: held[name].value_lengths().to_numpy() for name in lists}
    ids = numbering.number(
        [
            *(Ids(ids=held[name].to_numpy(), rows=every_row) for name in single),
            *(Ids(ids=held[name].flatten().to_numpy(), rows=np.repeat(every_row, n)) for name, n in lengths.items()),
        ]
    )
    arrays: dict[str, pa.Array] = {
        "row_id": pa.array(row_id),
        "ts": rows.column("ts"),
        **({"label_ts": rows.column("label_ts")} if schema.has_label_time else {}),
        "request_id": pc.coalesce(rows.column("request"), pa.array(-1 - row_id)),  # a row set apart is one of its own
        **{label: rows.column(f"label{i}") for i, label in enumerate(schema.labels)},
        "p_true": rows.column("p_true"),
        **({"row_weight": rows.column("row_weight")} if schema.has_weight else {}),
        **{name: held[name] for name in schema.names_of("number", "vector")},
        **{name: pa.array(column) for name, column in zip([*single, *lists], ids, strict=True)},
    }
    for name, n in lengths.items():
        offsets = np.concatenate([[0], np.cumsum(n)]).astype(np.int32)
        arrays[name] = pa.ListArray.from_arrays(offsets, arrays[name])
    target = columns_of(schema)
    return pa.table([arrays[name] for name in target.names], names=target.names).cast(target)


class _Digest:
    """A hash of rows, column by column, whatever the pieces that they come in and the form of their file."""

    def __init__(self) -> None:
        self._hashes: dict[str, hashlib.blake2b] = {}

    def add(self, rows: pa.Table) -> None:
        for name in rows.column_names:
            column = whole(rows.column(name))
            if pa.types.is_integer(column.type):  # a null would change the type of the piece that it stands in
                column = column.fill_null(-1)
            if pa.types.is_list(column.type):
                self._update(f"lengths of {name}", column.value_lengths())
                column = column.flatten()
            self._update(name, column)

    def _update(self, name: str, values: pa.Array) -> None:
        self._hashes.setdefault(name, hashlib.blake2b(digest_size=16)).update(values.to_numpy(zero_copy_only=False))

    def __str__(self) -> str:
        columns = [f"{name} {columns.hexdigest()}" for name, columns in sorted(self._hashes.items())]
        return hashlib.blake2b("\n".join(columns).encode(), digest_size=16).hexdigest()


def _beside(derived: Iterator[pa.Table], sizes: Sequence[int]) -> Iterator[pa.Table]:
    """Tables of `sizes` rows; without a column if there is nothing."""
    first = next(derived, None)
    return itertools.repeat(pa.table({})) if first is None else cut(itertools.chain([first], derived), sizes)


def group_sizes(rows: int) -> list[int]:
    return [min(BATCH_ROWS, rows - start) for start in range(0, rows, BATCH_ROWS)]


def cut(tables: Iterator[pa.Table], sizes: Sequence[int]) -> Iterator[pa.Table]:
    """Tables of exactly `sizes` rows from tables of any size, and behind them what is left."""
    rest: list[pa.Table] = []
    for size in sizes:
        while (held := sum(table.num_rows for table in rest)) < size:
            rest.append(next(tables))
        joined = pa.concat_tables(rest)
        rest = [joined.slice(size)] if held > size else []
        yield joined.slice(0, size)
    yield from itertools.chain(rest, tables)


def write(file: Path, schema: pa.Schema, tables: Iterator[pa.Table]) -> None:
    with _writer(file, schema) as writer:
        for table in tables:
            writer.write_table(table.select(schema.names).cast(schema))


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, schema, compression="zstd")

"""Sorted rows -> the log's files: ids for values, one Parquet file a period."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pkb.batch import Schema
from simulator.stream.log import Period
from simulator.stream.raw import RawLog
from simulator.stream.staging import BATCH_ROWS, Span, Staging
from simulator.stream.vocabulary import Entry, Values, Vocabulary

VOCABULARY = pa.schema([("id", pa.int32()), ("field", pa.string()), ("text", pa.string())])
REJECTS = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reason", pa.string())])


def write_periods(staged: Staging, log: RawLog, spans: Sequence[Span], width: int, folder: Path) -> tuple[Period, ...]:
    """One file a span, and `vocabulary.parquet`; row groups hold at most BATCH_ROWS rows."""
    vocabulary = Vocabulary(log.schema.names, missing=log.missing)
    tables = _cut(staged.sorted_rows(), [size for span in spans for size in _group_sizes(span.rows)])
    periods: list[Period] = []
    row_id = 0
    with _writer(folder / "vocabulary.parquet", VOCABULARY) as words:
        for index, span in enumerate(spans):
            file = f"period-{index:05d}.parquet"
            first_row_id = row_id
            with _writer(folder / file, columns_of(log.schema)) as writer:
                for _ in _group_sizes(span.rows):
                    table, added = _encode(next(tables), log.schema, vocabulary, row_id)
                    writer.write_table(table)
                    row_id += table.num_rows
                    if added:
                        words.write_table(pa.table(list(zip(*added, strict=True)), schema=VOCABULARY))
            periods.append(
                Period(
                    index=index,
                    start=span.start,
                    end=span.start + width,
                    rows=span.rows,
                    positives=span.positives,
                    first_row_id=first_row_id,
                    vocabulary_size=vocabulary.size,
                    file=file,
                )
            )
    return tuple(periods)


def write_rejects(staged: Staging, folder: Path) -> None:
    with _writer(folder / "rejects.parquet", REJECTS) as writer:
        for table in staged.rejects():
            writer.write_table(table.cast(REJECTS))


def columns_of(schema: Schema) -> pa.Schema:
    """The columns of a period's file."""
    ids, lists = pa.int32(), pa.list_(pa.int32())
    return pa.schema(
        [
            ("row_id", pa.int64()),
            ("ts", pa.int64()),
            *([("request_id", pa.int64())] if schema.has_request else []),
            *((name, ids) for name in schema.names),
            *((history.name, lists) for history in schema.histories),
            (schema.labels[0], pa.int8()),
            *([("p_true", pa.float64())] if schema.has_p_true else []),
        ]
    )


def _encode(rows: pa.Table, schema: Schema, vocabulary: Vocabulary, first_row_id: int) -> tuple[pa.Table, list[Entry]]:
    """Staged rows as rows of the log, and the vocabulary's new entries."""
    values = [rows.column(f"v{i}").combine_chunks() for i in range(len(schema.fields) + len(schema.histories))]
    plain, lists = values[: len(schema.fields)], values[len(schema.fields) :]
    every_row = np.arange(rows.num_rows)
    columns = [
        *(Values(field=f.name, texts=texts, rows=every_row) for f, texts in zip(schema.fields, plain, strict=True)),
        *(_flat(h.field, texts, every_row) for h, texts in zip(schema.histories, lists, strict=True)),
    ]
    ids, added = vocabulary.encode(columns)
    arrays: dict[str, pa.Array] = {
        "row_id": pa.array(every_row + first_row_id),
        "ts": rows.column("ts"),
        "request_id": rows.column("request"),
        schema.labels[0]: rows.column("label"),
        "p_true": rows.column("p_true"),
    }
    for i, name in enumerate(schema.names):
        arrays[name] = pa.array(ids[i])
    for i, history in enumerate(schema.histories):
        lengths = np.bincount(columns[len(plain) + i].rows, minlength=rows.num_rows)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        arrays[history.name] = pa.ListArray.from_arrays(offsets, pa.array(ids[len(plain) + i]))
    target = columns_of(schema)
    return pa.table([arrays[name] for name in target.names], names=target.names).cast(target), added


def _flat(field: str, lists: pa.ListArray, every_row: np.ndarray) -> Values:
    """A history's texts end to end; null lists are empty."""
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    return Values(field=field, texts=lists.flatten(), rows=np.repeat(every_row, lengths))


def _group_sizes(rows: int) -> list[int]:
    return [min(BATCH_ROWS, rows - start) for start in range(0, rows, BATCH_ROWS)]


def _cut(tables: Iterator[pa.Table], sizes: Sequence[int]) -> Iterator[pa.Table]:
    """Tables of exactly `sizes` rows from tables of any size."""
    rest: list[pa.Table] = []
    for size in sizes:
        while (held := sum(table.num_rows for table in rest)) < size:
            rest.append(next(tables))
        joined = pa.concat_tables(rest)
        rest = [joined.slice(size)] if held > size else []
        yield joined.slice(0, size)


def _writer(file: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, schema, compression="zstd")

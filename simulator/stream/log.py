"""The log on disk: `schema.json`, `manifest.json` and one Parquet file a period.

Columns: row_id (int64, unique, in time order), ts (int64, seconds), label_ts (int64, the second from which on the
label is known, where labels have times of their own), request_id (int64, where the log has requests), one column per
field as in TYPES, one list<int32> column per history, one int8 column per label (a further one is null where the row
does not tell it), p_true (float64, a synthetic world's click probability), and row_weight (float32, where rows have
weights). A list or a vector that is missing is empty.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from pkb.batch import Batch, Schema
from pkb.dated import Dated
from pkb.errors import DataError

CACHED_ROWS = 32_768  # of which all ids fit into a processor's cache while they change from columns to rows


TYPES = {  # of a field's column in the log
    "category": pa.int32(),
    "list": pa.list_(pa.int32()),
    "number": pa.float32(),
    "vector": pa.list_(pa.float32()),
}


@dataclass(frozen=True, kw_only=True)
class Period:
    """A half-open span of time [start, end) and what the log knows about it."""

    index: int
    start: int  # seconds
    end: int
    rows: int
    positives: int  # rows with label 1
    first_row_id: int
    vocabulary_size: int  # ids below it have appeared by the period's end
    file: str
    digest: str = ""  # of its rows
    labels_until: int = 0  # by then all of its labels are known, where they have times of their own


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an ingest wrote; `rows_in = rows_kept + rows_rejected`."""

    name: str
    source: str
    fingerprint: str  # of the raw files and the settings that shaped the log
    rows_in: int
    rows_kept: int
    rows_rejected: int
    periods: tuple[Period, ...]
    missing: tuple[str, ...] = ("",)  # texts that mean a missing value, beside null

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1)


class Log:
    """A log that an ingest has committed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()  # workers have another working directory

    @cached_property
    def schema(self) -> Schema:
        return Schema.from_json(self._text("schema.json"))

    @cached_property
    def manifest(self) -> Manifest:
        raw = json.loads(self._text("manifest.json"))
        periods, missing = tuple(Period(**p) for p in raw.pop("periods")), tuple(raw.pop("missing", ("",)))
        return Manifest(periods=periods, missing=missing, **raw)

    @property
    def periods(self) -> tuple[Period, ...]:
        return self.manifest.periods

    def _text(self, file: str) -> str:
        try:
            return (self.folder / file).read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DataError(f"{self.folder}: no {file} there; ingest the log first") from None

    def columns(self, *, histories: bool) -> list[str]:
        """The columns that a replay reads; histories only where a model uses them."""
        schema = self.schema
        return [
            "row_id",
            "ts",
            *(["label_ts"] if schema.has_label_time else []),
            *schema.names,
            *schema.labels,
            *([h.name for h in schema.histories] if histories else []),
            *(["request_id"] if schema.has_request else []),
            *(["p_true"] if schema.has_p_true else []),
            *(["row_weight"] if schema.has_weight else []),
        ]

    def vocabulary_before(self, period: Period) -> Dated[int]:
        """Ids below this had appeared before `period`."""
        if period.index == 0:
            return Dated(what="the empty vocabulary", value=self.schema.first_value_id, built_until=None)
        last = self.periods[period.index - 1]
        return Dated(what=f"the vocabulary of {last.file}", value=last.vocabulary_size, built_until=last.end)

    def first(self, periods: int) -> Log:
        """The log as it was after so many periods."""
        log = Log(self.folder)
        log.manifest = replace(self.manifest, periods=self.periods[:periods])
        return log

    def path(self, period: Period) -> Path:
        return self.folder / period.file

    def read(self, period: Period, *, histories: bool = False) -> Batch:
        """One period, whole."""
        columns = self.columns(histories=histories)
        return to_batch(pq.read_table(self.path(period), columns=columns, partitioning=None), self.schema)


def to_batch(table: pa.Table, schema: Schema) -> Batch:
    """Columns of a log -> tensors; lists and histories are padded behind their last entry."""
    values = torch.from_numpy(_side_by_side(table.select(schema.names_of("category")), np.dtype(np.int32)))
    lists = {name: _padded(table.column(name)) for name in schema.names_of("list")}
    numbers = None
    if names := schema.names_of("number"):
        numbers = torch.from_numpy(_side_by_side(table.select(names), np.dtype(np.float32)))
    vectors = {name: _vectors(table.column(name), vector.length) for name, vector in schema.vectors.items()}

    def tensor(name: str, kind: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(table.column(name).to_numpy(), dtype=kind)

    present = set(table.column_names)
    return Batch(
        row_id=tensor("row_id"),
        ids_BF=schema.ids(values, lists, numbers, vectors),
        lists=lists,
        numbers_BN=numbers,
        vectors=vectors,
        label=tensor(schema.labels[0], torch.float32),
        ts=tensor("ts"),
        label_ts=tensor("label_ts") if "label_ts" in present else None,
        further_labels={name: tensor(name, torch.float32) for name in schema.labels[1:]},
        histories={h.name: _padded(table.column(h.name)) for h in schema.histories if h.name in present},
        request=tensor("request_id") if "request_id" in present else None,
        p_true=tensor("p_true") if "p_true" in present else None,
        weight=tensor("row_weight") if "row_weight" in present else None,
    )


def _side_by_side(table: pa.Table, kind: np.dtype) -> np.ndarray:
    """The columns of a table as those of one array; NaN where one is null."""
    values = np.empty((table.num_rows, table.num_columns), dtype=kind)
    start = 0
    for rows in table.to_batches(max_chunksize=CACHED_ROWS):
        for column, held in enumerate(rows.columns):
            values[start : start + rows.num_rows, column] = held.to_numpy(zero_copy_only=False)
        start += rows.num_rows
    return values


def _padded(lists: pa.ChunkedArray) -> torch.Tensor:
    """list<int32> of N rows -> [N, longest] int32, zeros behind the last entry."""
    array = lists.combine_chunks()
    lengths = pc.list_value_length(array).to_numpy(zero_copy_only=False)
    padded = np.zeros((len(array), int(lengths.max(initial=0))), dtype=np.int32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = array.flatten().to_numpy()
    return torch.from_numpy(padded)


def _vectors(lists: pa.ChunkedArray, length: int) -> torch.Tensor:
    """list<float> of N rows -> [N, W], NaN where a list is empty."""
    array = lists.combine_chunks()
    there = pc.list_value_length(array).to_numpy(zero_copy_only=False) > 0
    values = np.full((len(array), length), np.nan, np.float32)
    values[there] = array.flatten().to_numpy().reshape(-1, length)
    return torch.from_numpy(values)

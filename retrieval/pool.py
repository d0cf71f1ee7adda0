"""The search pool: older periods as immutable segments.

A pool row is a number: 0 is the oldest row, and a larger number is a newer row. Rows of one second are ordered by
falling row id, so that wherever two rows tie, the larger pool row is the right one: the newer, then the smaller row id.

Shapes: B rows or queries, F fields, K neighbours.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pkb.batch import MISSING, Batch, Schema
from pkb.errors import DataError

NOBODY = -1  # the pool row that stands where fewer than K rows were found
MOST_ROWS = 2**31 - 1  # indexes keep pool rows as int32


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The rows of one period `[start, end)`, oldest first, and the pool row of the first."""

    start: int
    end: int
    first_row: int
    size: int
    rows: Batch

    def __len__(self) -> int:
        return self.size


class Pool:
    """Older impressions, period after period; what a search may return.

    The pool keeps what retrieval models read: fields, labels and times. Behaviour histories and requests are left out
    because of their size, a synthetic world's click probability because nobody may learn from it. Holdout rows must
    not be appended: nothing may retrieve them.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.segments: list[Segment] = []
        self._ends: list[int] = []  # of the segments
        self._first_rows: list[int] = [0]  # of the segments, and the number of rows behind the last

    def __len__(self) -> int:
        return self._first_rows[-1]

    @property
    def built_until(self) -> int | None:
        """The end of the last segment; None for an empty pool."""
        return self._ends[-1] if self._ends else None

    @property
    def bytes(self) -> int:
        """Memory of all rows."""
        return sum(column.nbytes for segment in self.segments for column in _columns(segment.rows))

    def column(self, field: str) -> int:
        """Where the field stands among a row's ids."""
        if field not in self.schema.names:
            raise DataError(f"retrieval: field {field!r} is not among the fields {', '.join(self.schema.names)}")
        return self.schema.names.index(field)

    def append(self, rows: Batch, *, start: int, end: int) -> Segment:
        """Take in the rows of the period `[start, end)`; costs time and memory by these rows alone."""
        self._check(rows, start, end)
        segment = Segment(start=start, end=end, first_row=len(self), size=len(rows), rows=_oldest_first(rows))
        self.segments.append(segment)
        self._ends.append(end)
        self._first_rows.append(len(self) + len(rows))
        return segment

    def segments_before(self, until: int) -> int:
        """How many segments lie wholly before `until`: the first so many of `segments`."""
        return bisect_right(self._ends, until)

    def rows_of(self, segments: int) -> int:
        """How many rows the first so many segments hold; their pool rows are all below it."""
        return self._first_rows[segments]

    def outline(self) -> Pool:
        """Give the segments without their rows: all that a search needs, small enough to send to other processes."""
        outline = Pool(self.schema)
        outline.segments = [replace(s, rows=self._nobody(0)) for s in self.segments]
        outline._ends, outline._first_rows = self._ends, self._first_rows
        return outline

    def take(self, rows: Tensor) -> Batch:
        """The given pool rows in their order, flattened; an all-missing row of row id -1 for each `NOBODY`."""
        flat = rows.flatten().cpu()
        taken = self._nobody(len(flat))
        # NOBODY lies before the first segment and so belongs to "segment" -1.
        segment_of = torch.bucketize(flat, torch.tensor(self._first_rows), right=True) - 1
        for number, segment in enumerate(self.segments):
            at = (segment_of == number).nonzero().squeeze(1)
            if len(at):
                local = flat[at] - segment.first_row
                for column, its in zip(_columns(taken), _columns(segment.rows), strict=True):
                    column[at] = its[local]
        return taken

    def _check(self, rows: Batch, start: int, end: int) -> None:
        if start >= end:
            raise DataError(f"search pool: the period [{start}, {end}) is empty")
        if self._ends and start < self._ends[-1]:
            raise DataError(
                f"search pool: a period from {start} overlaps the rows until {self._ends[-1]}; append in time order"
            )
        if rows.ts is None:
            raise DataError("search pool: the rows carry no time; a pool is bounded by time")
        if len(rows) and not (start <= int(rows.ts.min()) and int(rows.ts.max()) < end):
            raise DataError(
                f"search pool: rows from {int(rows.ts.min())} to {int(rows.ts.max())} lie outside of "
                f"their period [{start}, {end})"
            )
        if rows.ids_BF.shape[1] != len(self.schema.fields):
            raise DataError(f"search pool: {rows.ids_BF.shape[1]} fields, but the schema has {len(self.schema.fields)}")
        if tuple(rows.further_labels) != self.schema.labels[1:]:
            raise DataError(
                f"search pool: further labels {list(rows.further_labels)}, but the schema has "
                f"{list(self.schema.labels[1:])}"
            )
        if len(self) + len(rows) > MOST_ROWS:
            raise DataError(f"search pool: more than {MOST_ROWS} rows; keep fewer periods")

    def _nobody(self, count: int) -> Batch:
        return Batch(
            row_id=torch.full((count,), NOBODY),
            ids_BF=torch.full((count, len(self.schema.fields)), MISSING, dtype=torch.int32),
            label=torch.zeros(count),
            ts=torch.zeros(count, dtype=torch.int64),
            further_labels={name: torch.zeros(count) for name in self.schema.labels[1:]},
        )


def _columns(rows: Batch) -> list[Tensor]:
    """What the pool keeps of its rows."""
    assert rows.ts is not None
    return [rows.row_id, rows.ids_BF, rows.label, rows.ts, *rows.further_labels.values()]


def _oldest_first(rows: Batch) -> Batch:
    """The kept columns of `rows`, by time, then by falling row id; a copy, so that nobody else can change them."""
    assert rows.ts is not None
    order = torch.from_numpy(np.lexsort((-rows.row_id.cpu().numpy(), rows.ts.cpu().numpy())))
    return Batch(
        row_id=rows.row_id.cpu()[order],
        ids_BF=rows.ids_BF.cpu()[order].to(torch.int32),
        label=rows.label.cpu()[order],
        ts=rows.ts.cpu()[order],
        further_labels={name: label.cpu()[order] for name, label in rows.further_labels.items()},
    )

"""Values of requests -> a batch, read as an ingest reads those of a log.

A column holds one value for all rows of a request, or one for each. A value is what JSON or Arrow knows: a text, a
number, true, null, a list of these. A category is a text, as in the log's vocabulary: 7 and 7.0 are "7", true is
"true". Texts where a number, a list or a time is wanted are read by the SQL of the ingest (`asked_texts`); so the typed
values beside them are all that is read here. Derived features and those of the clock are computed (`as_of`,
`featured`), never given.

Shapes: B rows, V categories, N numbers, L length of a list, W of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import MISSING, Batch
from pkb.errors import DataError
from simulator.stream import typed_values as typed
from simulator.stream.as_of import AsOf
from simulator.stream.asked_columns import Column, time_name
from simulator.stream.asked_texts import AskedTexts
from simulator.stream.featured import clock_texts
from simulator.stream.features import need_time
from simulator.stream.keys import UNSEEN
from simulator.stream.log import Log
from simulator.stream.numeric import missing_numbers
from simulator.stream.settings import StreamSettings
from simulator.stream.stored_words import stored_words


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a request asks for."""

    rows: Batch
    unknown: int  # values given that the model does not know
    values: int  # values given that have ids


class Reader:
    """Reads the requests for models of one log."""

    def __init__(self, log: Log, stream: StreamSettings, folder: Path) -> None:
        """`stream` is that of the log's ingest; the vocabulary is kept in `folder`."""
        self.schema, self._stream = log.schema, stream
        self._words = stored_words(log, folder)
        self._texts = AskedTexts(log.manifest, stream)
        self._missing_numbers = np.array(missing_numbers(log.manifest.missing), np.float32)
        self._as_of = AsOf(log, stream)
        self._clock = {f.name: f.kind for f in stream.derived if not f.is_number}
        computed = {f.name for f in stream.derived}
        self.given = tuple(name for name in log.schema.names if name not in computed)  # fields of a request
        self.histories = {history.name: history.field for history in log.schema.histories}
        self.time = time_name(log.schema)
        self.needs_time = need_time(stream.derived)

    @property
    def names(self) -> tuple[str, ...]:
        """All that a request may give."""
        return (*self.given, *self.histories, self.time)

    def read(self, columns: Mapping[str, Column], rows: int, known: int) -> Asked:
        """Read so many rows for a model that knows ids below `known`; DataError says which value is wrong."""
        ts = self._seconds(columns)
        lists, unknown, values = self._ids(columns, ts, known)
        values_BV = np.empty((rows, len(self.schema.names_of("category"))), np.int32)
        for place, name in enumerate(self.schema.names_of("category")):
            values_BV[:, place] = lists.pop(name)[0]
        of_rows = {name: _spread(_padded(*held), rows) for name, held in lists.items()}
        tags = {name: of_rows[name] for name in self.schema.names_of("list")}
        numbers = self._numbers(columns, values_BV, ts, rows)
        vectors = {
            name: _spread(typed.vectors(columns[name], vector.length), rows)
            for name, vector in self.schema.vectors.items()
        }
        batch = Batch(
            row_id=-1 - torch.arange(rows),  # no row of any log
            ids_BF=self.schema.ids(torch.from_numpy(values_BV), tags, numbers, vectors),
            label=torch.zeros(rows),
            lists=tags,
            numbers_BN=numbers,
            vectors=vectors,
            histories={name: of_rows[name] for name in self.histories},
        )
        return Asked(rows=batch, unknown=unknown, values=values)

    def _seconds(self, columns: Mapping[str, Column]) -> NDArray[np.int64] | None:
        """[B] or [1]; None where nothing needs them, or they are not given."""
        if self.time in columns:
            return typed.seconds(columns[self.time], self._texts)
        if self.needs_time:
            computed = ", ".join(feature.name for feature in self._stream.derived)
            raise DataError(
                f"{self.time}: is missing; {computed} are computed of it: give seconds since 1970, or a text such as"
                " 2026-01-31T12:00:00Z"
            )
        return None

    def _ids(
        self, columns: Mapping[str, Column], ts: NDArray[np.int64] | None, known: int
    ) -> tuple[dict[str, tuple[NDArray[np.int32], NDArray[np.int64] | None]], int, int]:
        """Of each field with ids and of each history its ids, and how many each row has; unknown values; all values.

        Looked up in one go: values that rows share, once.
        """
        texts: dict[str, tuple[pa.Array, NDArray[np.int64] | None]] = {}
        for name in self.schema.names_of("category"):
            if name in self._clock:
                assert ts is not None
                texts[name] = clock_texts(self._clock[name], ts, self._stream), None
            else:
                texts[name] = typed.texts(columns[name]), None
        for name in self.schema.names_of("list"):
            texts[name] = typed.lists(columns[name], self._texts)
        for name in self.histories:
            empty = Column(name=name, values=[None], shared=True)
            texts[name] = typed.lists(columns.get(name, empty), self._texts, last=self._stream.history_length)
        sizes = [len(held) for held, _ in texts.values()]
        places = [self.schema.names.index(self.histories.get(name, name)) for name in texts]
        column = np.repeat(np.array(places, np.int64), sizes)
        ids = self._words.find(pa.concat_arrays([held for held, _ in texts.values()]), column)
        new = ids == UNSEEN
        unknown = int((new | (ids >= known)).sum())
        ids[new] = 1 + column[new]  # the new-value row of the field
        of_each = dict(zip(texts, np.split(ids, np.cumsum(sizes)[:-1]), strict=True))
        held = {name: (of_each[name], lengths) for name, (_, lengths) in texts.items()}
        most = self._stream.lists.length
        held |= {name: _first(*held[name], most) for name in self.schema.names_of("list")}  # type: ignore[arg-type]
        return held, unknown, int((ids != MISSING).sum())

    def _numbers(
        self, columns: Mapping[str, Column], values_BV: NDArray[np.int32], ts: NDArray[np.int64] | None, rows: int
    ) -> Tensor | None:
        names = self.schema.names_of("number")
        if not names:
            return None
        numbers_BN = np.empty((rows, len(names)), np.float32)
        for place, name in enumerate(names):
            if name in columns:
                numbers_BN[:, place] = typed.numbers(columns[name], self._missing_numbers, self._texts)
        if derived := [feature.name for feature in self._as_of.features]:
            moments = np.broadcast_to(np.zeros(1, np.int64) if ts is None else ts, rows)
            found = self._as_of.numbers(torch.from_numpy(values_BV), torch.from_numpy(moments.copy()))
            numbers_BN[:, [names.index(name) for name in derived]] = found.numpy()
        return torch.from_numpy(numbers_BN)


def _first(
    ids: NDArray[np.int32], lengths: NDArray[np.int64], most: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Of each list the first so many that are not missing, as `checking.checked_rows` has it."""
    row = np.repeat(np.arange(len(lengths)), lengths)[ids != MISSING]
    there = np.bincount(row, minlength=len(lengths))
    place = np.arange(len(row)) - np.repeat(np.cumsum(there) - there, there)
    return ids[ids != MISSING][place < most], np.minimum(there, most)


def _padded(ids: NDArray[np.int32], lengths: NDArray[np.int64] | None) -> NDArray[np.int32]:
    """Lists of R rows, end to end -> [R, longest], MISSING behind the last; at least one column."""
    assert lengths is not None
    padded = np.full((len(lengths), max(1, int(lengths.max(initial=0)))), MISSING, np.int32)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = ids
    return padded


def _spread(values: NDArray[np.int32] | NDArray[np.float32], rows: int) -> Tensor:
    """[1 or B, X] -> [B, X]; what rows share is there once."""
    return torch.from_numpy(values).expand(rows, -1)

"""The derived features of a request at any time, from the rows of a log: those that its rows have in the log.

The log's rows are kept as events in sorted arrays, so that a feature is a binary search or two. Events of a key are
those of `deriving`: each row is seen from the second after its own on, comes when its label is due, too, its click when
that is visible, and both go behind the window. A key and a moment are one number, key * span + moment, so that one
search serves any rows at once.

Shapes: B rows of requests, R of the log, D features that are numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import duckdb
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pkb.batch import MISSING
from simulator.stream.deriving import STRICTLY, Column, Part, arrival, due, key_columns
from simulator.stream.features import OF_LIST, Feature, need_time
from simulator.stream.log import Log
from simulator.stream.raw import name, path
from simulator.stream.settings import StreamSettings

Numbers = NDArray[np.int64]


class AsOf:
    """Holds the log's events by key: some 20 bytes a row for each key, and as many for each further window."""

    def __init__(self, log: Log, stream: StreamSettings) -> None:
        """`stream` is that of the log's ingest."""
        self.features = [feature for feature in stream.derived if feature.is_number]
        self._names = log.schema.names
        self._parts: dict[tuple[str, ...], tuple[Part, _Events]] = {}
        keys = key_columns(self.features)
        if not need_time(self.features):
            return
        files = ", ".join(path(log.path(period)) for period in log.periods)
        held = "".join(f", {name(field)} AS {key}" for field, key in keys.items())
        with duckdb.connect(":memory:") as engine:
            read = engine.sql(f"""
                SELECT ts, {due(stream)} AS due, {arrival(stream, log.schema)} AS arrived,
                    {name(log.schema.labels[0])} AS click{held}
                FROM read_parquet([{files}], hive_partitioning=false)""").to_arrow_table()
        rows = {column: read.column(column).to_numpy().astype(np.int64) for column in read.column_names}
        rows["due"] = np.maximum(rows["due"], rows["ts"] + STRICTLY)
        rows["visible"] = np.maximum(rows["arrived"], rows["ts"] + STRICTLY)
        self._due, self._clicked = np.sort(rows["due"]), np.sort(rows["visible"][rows["click"] == 1])
        for key in dict.fromkeys(f.key for f in self.features if f.key):
            part = Part(key, [f for f in self.features if f.key == key])
            self._parts[key] = part, _Events(part, rows, np.stack([rows[keys[field]] for field in key]))

    def numbers(self, ids_BF: Tensor, ts_B: Tensor, request_B: Tensor | None = None) -> Tensor:
        """[B, D] float32, NaN where missing, of rows at these times (seconds); one request unless told otherwise.

        The rows of a request stand in the order in which they are shown. Of `ids_BF` the columns of keys are read.
        """
        request = np.zeros(len(ids_BF), np.int64) if request_B is None else request_B.numpy()
        ids, ts = ids_BF.numpy().astype(np.int64), ts_B.numpy()
        held = {
            key: events.at(np.stack([ids[:, self._names.index(field)] for field in key]), ts)
            for key, (_, events) in self._parts.items()
        }
        rate = self._rate(ts) if self._parts else ts

        def values(feature: Feature) -> Column:
            if feature.kind in OF_LIST:
                return _of_list(feature.kind, request)
            return self._parts[feature.key][0].value(feature, held[feature.key], ts, rate).astype(np.float32)

        return torch.from_numpy(np.stack([values(feature) for feature in self.features], axis=1))

    def _rate(self, ts: Numbers) -> Column:
        """The clicks that are visible over the rows whose labels are due; NaN before the first."""
        rows, clicks = (np.searchsorted(since, ts, side="right") for since in (self._due, self._clicked))
        return np.where(rows > 0, clicks / np.maximum(rows, 1), np.nan)


class _Events:
    """Of the rows of a log, what features of one key look up."""

    def __init__(self, part: Part, rows: Mapping[str, Numbers], ids_KR: Numbers) -> None:
        """`ids_KR` are the ids of the K fields of the key."""
        self._distinct, keys = _ranked(ids_KR)
        ts, visible = rows["ts"], rows["visible"]
        every = np.ones(len(ts), bool)
        bounded = [window for window in part.windows if window is not None]
        self._start = int(ts.min())
        self._span = max(int(visible.max()), int(ts.max()) + max(bounded, default=0)) - self._start + 3
        self._seen = np.sort(self._at(keys, ts)) if any(f in part.names for f in ("first", "last")) else None
        self._counts: dict[str, tuple[Numbers, Numbers]] = {}  # by name: when each comes, and goes, ascending
        for w, window in enumerate(part.windows):
            for what, since, some in (("rows", rows["due"], every), ("clicks", visible, rows["click"] == 1)):
                ever = some if window is None else some & (since <= ts + window)
                come = np.sort(self._at(keys[ever], since[ever]))
                goes = come[:0] if window is None else np.sort(self._at(keys[ever], ts[ever] + window + 1))
                self._counts[f"{what}{w}"] = come, goes

    def at(self, ids_KB: Numbers, ts: Numbers) -> dict[str, Column]:
        """What `Part.value` reads, NaN where it is missing."""
        keys = _rank(self._distinct, ids_KB)
        now = self._at(keys, np.clip(ts, self._start, self._start + self._span - 1))
        begin = self._at(keys, np.full_like(ts, self._start))
        missing = (ids_KB == MISSING).any(axis=0)
        held: dict[str, Column] = {}
        if self._seen is not None:
            first, behind = (np.searchsorted(self._seen, at, side="left") for at in (begin, now))
            none = missing | (behind == first)
            for which, place in (("first", first), ("last", behind - 1)):
                moment = self._seen[np.clip(place, 0, len(self._seen) - 1)] % self._span + self._start
                held[which] = np.where(none, np.nan, moment)
        for what, (come, goes) in self._counts.items():
            held[what] = np.where(missing, np.nan, _between(come, begin, now) - _between(goes, begin, now))
        return held

    def _at(self, keys: Numbers, moments: Numbers) -> Numbers:
        """One number for a key and a moment, ascending with both; keys that are in no row are below 0."""
        return keys * self._span + (moments - self._start)


def _between(at: Numbers, begin: Numbers, now: Numbers) -> Column:
    """How many of these ascending moments lie from `begin` until `now`, this moment included."""
    return np.searchsorted(at, now, side="right") - np.searchsorted(at, begin, side="left")


def _ranked(ids_KR: Numbers) -> tuple[list[Numbers], Numbers]:
    """The place of each key among the distinct ones, and what `_rank` needs to find it again."""
    distinct: list[Numbers] = []
    keys = np.zeros(ids_KR.shape[1], np.int64)
    for ids in ids_KR:
        every, keys = np.unique(_joined(keys, ids), return_inverse=True)
        distinct.append(every)
    return distinct, keys


def _rank(distinct: Sequence[Numbers], ids_KB: Numbers) -> Numbers:
    """The place of each key; -1 of one that is in no row."""
    keys = np.zeros(ids_KB.shape[1], np.int64)
    for every, ids in zip(distinct, ids_KB, strict=True):
        wanted = _joined(keys, ids)
        place = np.minimum(np.searchsorted(every, wanted), len(every) - 1)
        keys = np.where((keys >= 0) & (every[place] == wanted), place, -1)
    return keys


def _joined(keys: Numbers, ids: Numbers) -> Numbers:
    return keys * 2**31 + ids


def _of_list(kind: str, request: Numbers) -> Column:
    """Place in the list, from 1 on, or size of the list of each row."""
    _, which, sizes = np.unique(request, return_inverse=True, return_counts=True)
    if kind == "list_size":
        return sizes[which].astype(np.float32)
    order = np.argsort(which, kind="stable")
    place = np.empty(len(request), np.float32)
    place[order] = np.arange(len(request)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    return place

"""Texts of requests where a number, a list or a time is wanted: read by the very SQL that reads them from raw files."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa

from simulator.stream import joined, numeric
from simulator.stream.checking import LATEST
from simulator.stream.headers import meant
from simulator.stream.log import Manifest
from simulator.stream.settings import StreamSettings
from simulator.stream.times import TimeRule, seconds_of_timestamp


class AskedTexts:
    """A text that is none of what is wanted is read as None. Any thread may read."""

    def __init__(self, manifest: Manifest, stream: StreamSettings) -> None:
        self._missing = manifest.missing
        self._separator = meant(stream.table.list_separator) if manifest.source == "table" else None
        self._seconds = seconds_of_timestamp("value")
        if manifest.source == "table" and not stream.by_row:
            table = stream.table
            self._seconds = TimeRule(
                column=table.time,
                unit=table.time_unit,
                format=table.time_format,
                first_year=table.first_year,
                last_year=table.last_year,
            ).seconds("value")

        engine = duckdb.connect(":memory:", config={"threads": "1"})
        engine.execute("SET TimeZone = 'UTC'")  # whatever the clock of the machine
        self._engine, self._lock = [engine], threading.Lock()
        weakref.finalize(self, self._engine.clear)  # at the end at the latest: the engine complains of what is left

    @property
    def splits(self) -> bool:
        """Whether a list may be a text, as in the log's files."""
        return self._separator is not None

    def numbers(self, texts: Sequence[str]) -> list[tuple[float | None, bool]]:
        """Each number of 32 bits, and whether the text means that there is none."""
        return self._read(texts, numeric.number("value", self._missing), numeric.is_missing("value", self._missing))

    def seconds(self, texts: Sequence[str]) -> list[int | None]:
        """Whole seconds since 1970."""
        read = self._read(texts, self._seconds)
        return [ts if ts is not None and 0 <= ts <= LATEST else None for (ts,) in read]

    def lists(self, texts: Sequence[str]) -> list[list[str | None] | None]:
        """The elements of each list."""
        assert self._separator is not None
        read = self._read(
            texts,
            joined.split("value", self._separator, self._missing),
            joined.defect("", "value", self._separator),
        )
        return [None if defect else elements for elements, defect in read]

    def _read(self, texts: Sequence[str], *expressions: str) -> list[Any]:
        """These expressions over `value`, which is each of the texts."""
        whole = [text.encode(errors="replace").decode() for text in texts]  # half a character is none
        table = pa.table({"place": range(len(whole)), "value": pa.array(whole, pa.string())})
        with self._lock:
            [engine] = self._engine
            engine.register("asked", table)
            rows: list[Any] = engine.execute(f"SELECT {', '.join(expressions)} FROM asked ORDER BY place").fetchall()
        return rows

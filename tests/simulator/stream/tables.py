"""Small tables, as CSV or Parquet, and what an ingest makes of them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY

COLUMNS: dict[str, Any] = {"time": "t", "label": "click", "user": ["user"], "item": ["item"], "context": ["device"]}
Row = dict[str, Any]


def clicks(rows: int = 120, days: int = 3, **columns: Callable[[int], Any]) -> list[Row]:
    """Rows evenly over some days from MONDAY on; columns are of the row's number."""
    usual: dict[str, Callable[[int], Any]] = {
        "t": lambda row: MONDAY + row * days * DAY // rows,
        "user": lambda row: f"u{row % 7}",
        "item": lambda row: f"i{row % 11}",
        "device": lambda row: ("phone", "tv")[row % 2],
        "click": lambda row: int(row % 3 == 0),
    }
    return [{name: of(row) for name, of in (usual | columns).items()} for row in range(rows)]


def write_csv(file: Path, rows: Sequence[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def log_of(
    folder: Path, told: list[str] | None = None, *, raw: Path | None = None, stream: Row | None = None, **table: Any
) -> Log:
    """Ingest the CSV files of `folder/raw`, unless the settings say otherwise."""
    files = {"files": "**/*.csv"} | COLUMNS | table
    places: Row = {"root": str(raw or folder / "raw"), "data": str(folder / "data")}
    settings = StreamSettings(source="table", table=TableSettings(**files), **(places | (stream or {})))
    return ingest(settings, IngestSettings(), (told if told is not None else list[str]()).append)

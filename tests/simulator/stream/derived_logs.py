"""Small logs with features of earlier rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, StreamSettings, TableSettings
from tests.simulator.stream.raw_files import DAY, MONDAY

TABLE: dict[str, Any] = {"time": "t", "label": "y", "user": ["user"], "item": ["item"], "context": ["kind"]}


def stream_of(folder: Path, features: dict[str, str], *, table: dict[str, Any] | None = None, **more: Any) -> Any:
    settings = TableSettings(**(TABLE | {"request": "list"} | (table or {})))
    places = {"root": str(folder), "data": str(folder / "data")}
    return StreamSettings(source="table", table=settings, features=features, **(places | more))


def log_of(stream: StreamSettings, told: list[str] | None = None) -> Log:
    return ingest(stream, IngestSettings(), (told if told is not None else list[str]()).append)


def write(folder: Path, rows: int, seed: int, *, days: int = 3, files: int = 2, at: Any = None) -> None:
    """Rows in no order, half of them in a few hundred seconds; users, items and kinds that are missing now and then."""
    draw = np.random.default_rng(seed)
    t = MONDAY + draw.integers(0, days * DAY, rows)
    t = np.where(draw.random(rows) < 0.5, t // 1800 * 1800, t) if at is None else at

    def some(letter: str, number: int) -> list[str | None]:
        drawn = draw.zipf(1.3, rows) % number
        return [None if lost else f"{letter}{one}" for one, lost in zip(drawn, draw.random(rows) < 0.05, strict=True)]

    columns = {
        "t": t,
        "y": draw.integers(0, 4, rows) == 0,
        "user": some("u", 60),
        "item": some("i", 90),
        "kind": some("k", 4),
        "list": t // 7 * 10 + draw.integers(0, 3, rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for part, held in enumerate(np.array_split(np.arange(rows), files)):
        table = pa.table(columns).take(pa.array(held))
        pq.write_table(table, folder / f"part{part}.parquet")

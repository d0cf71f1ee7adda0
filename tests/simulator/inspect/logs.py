"""Generated logs with the traps that people's logs have, and what `inspect` proposes for them."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console

from simulator.inspect.command import inspect
from simulator.settings import Settings, load
from simulator.stream.ingest import ingest
from simulator.stream.log import Log

MONDAY = 1_719_792_000  # 2024-07-01 00:00 UTC
Row = dict[str, Any]


def impressions(rows: int = 1_500, days: float = 8, seed: int = 0) -> list[Row]:
    """Lists of five items shown to one of 120 users, in the order of time; a fifth is clicked."""
    draw = Random(seed)
    moments = sorted(draw.randrange(int(days * 86_400)) for _ in range(rows // 5))
    return [
        {"time": MONDAY + moment, "page_view": f"p{number}", "user_id": 1_000 + user, "item_id": item}
        | {"device": draw.choice(["tv", "phone"]), "click": int(draw.random() < 0.2)}
        for number, moment in enumerate(moments)
        for user in [draw.randrange(120)]
        for item in draw.sample(range(1, 81), 5)
    ]


def with_columns(rows: Sequence[Row], **columns: Callable[[Row, Random], Any]) -> list[Row]:
    """The rows with more columns, each made of the row and a generator."""
    draw = Random(1)
    return [row | {name: of(row, draw) for name, of in columns.items()} for row in rows]


def write(file: Path, rows: Sequence[Row], *, separator: str = ",", header: bool = True, quoted: bool = True) -> Path:
    """A text file, packed if its name says so."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    if quoted:
        writer = csv.writer(text, delimiter=separator, lineterminator="\n")
        writer.writerows([list(rows[0])] * header + [list(row.values()) for row in rows])
    else:
        lines = [list(rows[0])] * header + [list(map(str, row.values())) for row in rows]
        text.write("".join(separator.join(line) + "\n" for line in lines))
    held = text.getvalue().encode()
    file.write_bytes(gzip.compress(held) if file.suffix == ".gz" else held)
    return file


def proposed(folder: Path, *given: Path | str) -> tuple[Settings, str]:
    """What `inspect` writes, read as `run` reads it, and what it tells."""
    output = folder / "proposed.yaml"
    output.unlink(missing_ok=True)
    console = Console(file=io.StringIO(), width=200)
    inspect([str(one) for one in given], output, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    return load(output, [f"stream.data={folder / 'data'}", f"runs={folder / 'runs'}"]), told


def replayed(settings: Settings) -> Log:
    return ingest(settings.stream, settings.ingest, lambda _: None)


def clock(form: str) -> Callable[[Row, Random], str]:
    """The row's time in strptime's words."""
    return lambda row, _: datetime.fromtimestamp(row["time"], UTC).strftime(form)

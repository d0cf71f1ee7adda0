"""Small raw logs in their genuine formats, and what an ingest made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from simulator.stream.ingest import ingest
from simulator.stream.log import Log
from simulator.stream.settings import IngestSettings, StreamSettings
from simulator.stream.sources.eleme import COLUMNS, LISTS

DAY = 86_400
MONDAY = 1_641_168_000  # 2022-01-03 00:00 UTC


class Asked(NamedTuple):
    """What an ingest is asked for."""

    stream: StreamSettings
    limits: IngestSettings


def settings_for(folder: Path, *, max_reject_share: float = 0.01, **stream: Any) -> Asked:
    """Raw files in `folder/raw`, logs in `folder/data`."""
    stream = {"root": str(folder / "raw"), "data": str(folder / "data")} | stream
    return Asked(StreamSettings(**stream), IngestSettings(max_reject_share=max_reject_share))


def ingested(asked: Asked) -> Log:
    return ingest(*asked, lambda line: None)


def eleme_line(time: int, **values: str) -> str:
    """One of the 39-column lines; lists of two clicks unless told otherwise."""
    plain = dict.fromkeys(COLUMNS, "7") | dict.fromkeys(LISTS, "3;4")
    return ",".join((plain | {"label": "0", "times": str(time)} | values)[name] for name in COLUMNS)


def write_lines(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(line + "\n" for line in lines))


def write_eleme(folder: Path, *, days: int = 3, rows: int = 40) -> None:
    """Good lines: `folder/raw/D1_0.csv` and so on."""
    for day in range(days):
        lines = [
            eleme_line(
                MONDAY + day * DAY + row * 600,
                label=str(int(row % 4 == 0)),
                user_id=f"u{row % 7}",
                item_id=f"i{day}{row % 11}",
                item_id_list=f"i{day}{row % 3};x{row}",
            )
            for row in range(rows)
        ]
        write_lines(folder / "raw" / f"D{day + 1}_0.csv", lines)


def rejects(log: Log) -> list[tuple[str, int, str]]:
    table = pq.read_table(log.folder / "rejects.parquet")
    return [(row["file"], row["row"], row["reason"]) for row in table.to_pylist()]


def rows_of(log: Log) -> list[dict[str, Any]]:
    """Every row of the log with values in place of ids, numbers as they are; None is missing."""
    words = pq.read_table(log.folder / "vocabulary.parquet").to_pylist()
    text = {word["id"]: word["text"] for word in words} | {0: None}
    named = {*log.schema.names_of("category", "list"), *(history.name for history in log.schema.histories)}

    def decoded(name: str, value: Any) -> Any:
        if name not in named:
            return value
        return [text[i] for i in value] if isinstance(value, list) else text[value]

    table = pa.concat_tables(pq.read_table(log.path(period)) for period in log.periods)
    return [{name: decoded(name, value) for name, value in row.items()} for row in table.to_pylist()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, byte by byte."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}

"""What requests are made of, for tests of the server's answers."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

DAYS = 3  # of the run that the fixtures serve
TOKEN = "a-secret-of-some-length"
Row = dict[str, Any]


def valid(raw: list[Row]) -> Any:
    row = next(row for row in raw if row["tags"])
    return {"request": {"user": row["user"]}, "candidates": [{k: v for k, v in row.items() if k != "user"}] * 2}


def with_candidate(body: Any, **changed: Any) -> Any:
    return body | {"candidates": [body["candidates"][0], body["candidates"][1] | changed]}


def as_arrow(rows: list[Row], **changed: Any) -> bytes:
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]} | changed
    sink = pa.BufferOutputStream()
    table = pa.table(columns)
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table, max_chunksize=7)
    written: bytes = sink.getvalue().to_pybytes()
    return written

"""Questions and answers of a center on the wire: JSON, or a stream of Arrow IPC.

    {"user": 12, "item": [31, 44], "category": [7, 9], "version": 3}      ids of the log; one number stands for all rows
    {"version": 3, "knowledge": {"user": [[[0.1, ...]], ...], ...}}       of each part, rows x vectors x numbers

The version may be left out, or null: the newest is meant. In Arrow the three are columns of whole numbers, and the
version stands in the schema's metadata; the answer has a column of fixed-size lists for each part, whose field says how
many `vectors` a list is. Numbers are the exact float32 values in both.

Shapes: B rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import numpy as np
import pyarrow as pa

from pkb.center import Answer
from pkb.center.keys import Ids
from simulator.serve.arrow_messages import refuse_what_unfolds
from simulator.serve.request import RequestError

JSON, ARROW = KINDS = ("application/json", "application/vnd.apache.arrow.stream")
MAX_ROWS = 10_000
MAX_DIGITS = 20  # of a version
LARGEST_ID = 2**31 - 1
FIELDS = ("user", "item", "category")
VERSION, VECTORS = b"version", b"vectors"  # keys of metadata


@dataclass(frozen=True, kw_only=True)
class Question:
    """Users, items and categories, [B] each, and which version is asked; None is the newest."""

    user_B: Ids
    item_B: Ids
    category_B: Ids
    version: int | None = None


def read_question(body: bytes, kind: str) -> Question:
    """Read what is asked; RequestError says what is wrong with it."""
    if kind not in KINDS:
        raise RequestError(
            f"content type {kind[:80] or 'missing'}: send {' or '.join(KINDS)}", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    columns, version = (_of_json if kind == JSON else _of_arrow)(body)
    size = max(len(ids) for ids in columns.values())
    if not all(1 <= len(ids) <= MAX_ROWS for ids in columns.values()):
        raise RequestError(f"send 1 to {MAX_ROWS} rows, of each of {', '.join(FIELDS)}")
    for name, ids in columns.items():
        if len(ids) not in (1, size):
            raise RequestError(f"{name}: has {len(ids)} entries and others have {size}; give as many of each, or one")
        if ids.min(initial=0) < 0 or ids.max(initial=0) > LARGEST_ID:
            raise RequestError(f"{name}: ids are whole numbers from 0 to {LARGEST_ID}")
    user_B, item_B, category_B = (np.broadcast_to(columns[name], size) for name in FIELDS)
    return Question(user_B=user_B, item_B=item_B, category_B=category_B, version=version)


def _of_json(body: bytes) -> tuple[dict[str, Ids], int | None]:
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", HTTPStatus.BAD_REQUEST) from None
    if not isinstance(asked, dict) or {*asked} - {VERSION.decode()} != {*FIELDS}:
        raise RequestError(f"the body must be an object with {', '.join(FIELDS)}, and the version if you mean one")
    columns = {}
    for name in FIELDS:
        given = asked[name] if isinstance(asked[name], list) else [asked[name]]
        if any(type(value) is not int or abs(value) > LARGEST_ID for value in given):  # bool is an int to isinstance
            raise RequestError(f"{name}: ids are whole numbers from 0 to {LARGEST_ID}; give one, or a list")
        columns[name] = np.array(given, np.int64)
    version = asked.get(VERSION.decode())
    if version is not None and (type(version) is not int or version < 0):
        raise RequestError("version: is a whole number from 0 on, or null for the newest")
    return columns, version


def _of_arrow(body: bytes) -> tuple[dict[str, Ids], int | None]:
    try:
        refuse_what_unfolds(body)
        with pa.ipc.open_stream(body) as stream:
            table = stream.read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RequestError(f"the body is no Arrow stream: {str(error)[:200]}", HTTPStatus.BAD_REQUEST) from None
    columns = {}
    for name in FIELDS:
        if table.column_names.count(name) != 1 or not pa.types.is_integer(table.column(name).type):
            raise RequestError(f"{name}: give one column of whole numbers of each of {', '.join(FIELDS)}")
        if table.column(name).null_count:
            raise RequestError(f"{name}: has a null; ids are whole numbers from 0 to {LARGEST_ID}")
        columns[name] = table.column(name).to_numpy().astype(np.int64)
    version = (table.schema.metadata or {}).get(VERSION)
    if version is not None and not (version.isdigit() and len(version) < MAX_DIGITS):
        raise RequestError("version: is a whole number from 0 on; leave it out for the newest")
    return columns, None if version is None else int(version)


def write_question(question: Question) -> bytes:
    """Write a question as Arrow."""
    columns = (question.user_B, question.item_B, question.category_B)
    metadata = {} if question.version is None else {VERSION: str(question.version).encode()}
    schema = pa.schema([pa.field(name, pa.int64()) for name in FIELDS], metadata=metadata)
    arrays = [pa.array(np.ascontiguousarray(ids, np.int64)) for ids in columns]
    return _stream(pa.record_batch(arrays, schema=schema))


def write_answer(answer: Answer, kind: str) -> bytes:
    """Write an answer in the kind in which it was asked for."""
    if kind == JSON:
        told: dict[str, Any] = {name: part.tolist() for name, part in answer.knowledge.items()}
        return json.dumps({"version": answer.version, "knowledge": told}, allow_nan=False).encode()
    fields, arrays = [], []
    for name, part in answer.knowledge.items():
        _, vectors, width = part.shape
        lists = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), vectors * width)
        fields.append(pa.field(name, lists.type, nullable=False, metadata={VECTORS: str(vectors).encode()}))
        arrays.append(lists)
    schema = pa.schema(fields, metadata={VERSION: str(answer.version).encode()})
    return _stream(pa.record_batch(arrays, schema=schema))


def read_answer(body: bytes) -> Answer:
    """Read an answer in Arrow."""
    with pa.ipc.open_stream(body) as stream:
        batch = stream.read_next_batch()
    known = {}
    for field, lists in zip(batch.schema, batch.columns, strict=True):
        vectors = int(field.metadata[VECTORS])
        values = np.array(lists.flatten())  # a copy of our own, which may be written to
        known[field.name] = values.reshape(len(lists), vectors, field.type.list_size // vectors)
    return Answer(version=int(batch.schema.metadata[VERSION]), knowledge=known)


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written

"""What a serving request is: one user's fields with a list of candidates, as JSON.

    {"shared": {"user_id": 12, "hour": 7}, "candidates": {"item_id": [31, 44], "price": [9.5, null]}}

Every field of the schema stands in exactly one of the two: in `shared` as one value, in `candidates` as a list
with one value per candidate. A value is an id of the log; of a field that is a number, it is the number, or null
where it is missing; of a list, a list of ids; of a vector, the list of its numbers, or null. A history may be given
too, as a list of ids in `shared` or one list per candidate; one that is left out counts as empty.

Shapes: B candidates, F fields, V of them categories, N numbers, L length of a list, W of a vector, H of a history.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import numpy as np
import torch
from starlette.requests import Request
from torch import Tensor

from pkb.batch import MISSING, Batch, Schema
from pkb.errors import DataError

MAX_BODY_BYTES = 4 * 2**20  # Ray Serve itself sets no limit
MAX_CANDIDATES = 1000
MAX_HISTORY = 1000
LARGEST_ID = 2**31 - 1
LARGEST_NUMBER = float(np.finfo(np.float32).max)
Json = dict[str, Any]


class RequestError(DataError):
    """A request that cannot be answered; `status` is the HTTP status that says so."""

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: Request) -> bytes:
    """The whole body, unless it is too large: then the rest is not even read."""
    length = request.headers.get("content-length", "")
    if length.isdecimal():
        _refuse_large(int(length[:20]))
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        _refuse_large(len(body))
    return bytes(body)


def _refuse_large(size: int) -> None:
    if size > MAX_BODY_BYTES:
        raise RequestError(
            f"the body is larger than {MAX_BODY_BYTES} bytes; send fewer candidates",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )


def encode_request(shared: Json, candidates: Json) -> bytes:
    """Write the body of a request."""
    return json.dumps({"shared": shared, "candidates": candidates}, separators=(",", ":")).encode()


def parse_request(body: bytes, schema: Schema) -> Batch:
    """Read a request's candidates as rows, in their order; RequestError names what is wrong with the body."""
    shared, candidates = _sections(body)
    _check_names(shared, candidates, schema)
    size = _number_of_candidates(candidates)
    read = {
        name: (f"shared.{name}", [shared[name]]) if name in shared else (f"candidates.{name}", candidates[name])
        for name in schema.names
    }
    values_BV = np.empty((size, len(schema.names_of("category"))), dtype=np.int32)
    for column, name in enumerate(schema.names_of("category")):
        values_BV[:, column] = _ids(*read[name])
    numbers_BN = np.empty((size, len(schema.numbers)), dtype=np.float32)
    for column, name in enumerate(schema.names_of("number")):
        numbers_BN[:, column] = _numbers(*read[name])

    def of_rows(name: str, read_one: Callable[[str, Any], list[Any]], kind: type[np.number]) -> Tensor:
        if name in candidates:
            rows = [read_one(f"candidates.{name}[{i}]", row) for i, row in enumerate(candidates[name])]
        else:
            rows = [read_one(f"shared.{name}", shared.get(name, []))]
        padded = _padded(rows, kind)
        return torch.from_numpy(np.broadcast_to(padded, (size, padded.shape[1])).copy())

    lists = {name: of_rows(name, _list, np.int32) for name in schema.names_of("list")}
    vectors = {name: of_rows(name, partial(_vector, v.length), np.float32) for name, v in schema.vectors.items()}
    numbers = torch.from_numpy(numbers_BN) if schema.numbers else None
    return Batch(
        row_id=-1 - torch.arange(size),  # no row of any log
        ids_BF=schema.ids(torch.from_numpy(values_BV), lists, numbers, vectors),
        label=torch.zeros(size),
        lists=lists,
        numbers_BN=numbers,
        vectors=vectors,
        histories={history.name: of_rows(history.name, _history, np.int32) for history in schema.histories},
    )


def _sections(body: bytes) -> tuple[Json, Json]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", HTTPStatus.BAD_REQUEST) from None
    if not isinstance(request, dict) or set(request) != {"shared", "candidates"}:
        raise RequestError('the body must be an object with exactly the keys "shared" and "candidates"')
    for name, section in request.items():
        if not isinstance(section, dict):
            raise RequestError(f"{name}: must be an object, one key a field")
    return request["shared"], request["candidates"]


def _check_names(shared: Json, candidates: Json, schema: Schema) -> None:
    known = {*schema.names, *(h.name for h in schema.histories)}
    for section, names in (("shared", shared), ("candidates", candidates)):
        for name in names:
            if name not in known:
                raise RequestError(f"{section}: {_shown(name)} is no field; the fields are {', '.join(schema.names)}")
    for name in shared:
        if name in candidates:
            raise RequestError(f"{name}: stands in both shared and candidates; give it once")
    for name in schema.names:
        if name not in shared and name not in candidates:
            raise RequestError(f"{name}: is missing; give it in shared or in candidates")


def _number_of_candidates(candidates: Json) -> int:
    if not candidates:
        raise RequestError("candidates: give at least one field as a list, one id per candidate")
    for name, values in candidates.items():
        if not isinstance(values, list):
            raise RequestError(f"candidates.{name}: must be a list, one entry per candidate")
    sizes = {name: len(values) for name, values in candidates.items()}
    first, size = next(iter(sizes.items()))
    for name, other in sizes.items():
        if other != size:
            raise RequestError(f"candidates: {first} has {size} entries but {name} has {other}; give as many of each")
    if not 1 <= size <= MAX_CANDIDATES:
        raise RequestError(f"candidates: are {size}; send 1 to {MAX_CANDIDATES}")
    return size


def _ids(where: str, values: list[Any]) -> list[int]:
    for value in values:
        if type(value) is not int or not 0 <= value <= LARGEST_ID:  # bool is an int to isinstance
            raise RequestError(f"{where}: {_shown(value)} is no id; ids are whole numbers from 0 to {LARGEST_ID}")
    return values


def _numbers(where: str, values: list[Any]) -> list[float]:
    """The numbers, NaN for null."""
    for value in values:
        is_number = type(value) in (int, float) and abs(value) <= LARGEST_NUMBER  # false of NaN
        if value is not None and not is_number:
            raise RequestError(f"{where}: {_shown(value)} is no number; give a finite one of 32 bits, or null")
    return [math.nan if value is None else value for value in values]


def _list(where: str, values: Any) -> list[int]:
    """The ids of a list, none for null."""
    if values is not None and not isinstance(values, list):
        raise RequestError(f"{where}: {_shown(values)} is no list; give a list of ids, or null")
    return [value for value in _history(where, values or [], kept="first") if value != MISSING]


def _vector(length: int, where: str, values: Any) -> list[float]:
    """The entries of a vector, all NaN for null."""
    if values is None:
        return [math.nan] * length
    if not isinstance(values, list) or len(values) != length:
        raise RequestError(f"{where}: {_shown(values)} is no vector; give a list of {length} numbers, or null")
    if None in values:
        raise RequestError(f"{where}: holds null; give {length} numbers, or null in place of all")
    return _numbers(where, values)


def _history(where: str, values: Any, kept: str = "latest") -> list[int]:
    if not isinstance(values, list):
        raise RequestError(f"{where}: must be a list of ids, oldest first")
    if len(values) > MAX_HISTORY:
        raise RequestError(f"{where}: has {len(values)} ids; send the {kept} {MAX_HISTORY} at most")
    return _ids(where, values)


def _padded(rows: list[list[Any]], kind: type[np.number]) -> np.ndarray:
    """Lists of B rows -> [B, longest], MISSING behind the last; at least one column."""
    padded = np.full((len(rows), max(1, *map(len, rows))), MISSING, dtype=kind)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded


def _shown(value: Any) -> str:
    """A value from outside, short enough for one line."""
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."

"""Bodies of `POST /v1/score` -> columns of values, bounded in size and depth, every fault told with its place.

JSON: {"request": {FIELD: value, ...}, "candidates": [{FIELD: value, ...}, ...]}; what stands in `request` is shared by
all candidates, and each field stands in one of the two. Or an Arrow IPC stream with a row for each candidate.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from operator import itemgetter
from typing import Any

import pyarrow as pa

from simulator.config.kinds import near
from simulator.serve.arrow_messages import refuse_what_unfolds
from simulator.serve.request import MAX_CANDIDATES, RequestError
from simulator.stream.asked import Reader
from simulator.stream.asked_columns import Column, Odd, shown

JSON = "application/json"
ARROW = "application/vnd.apache.arrow.stream"
_DECODER = json.JSONDecoder(parse_constant=Odd)
Columns = tuple[dict[str, Column], int]  # of each field; the number of candidates


def columns_of(body: bytes, kind: str, reader: Reader) -> Columns:
    """Read a body of a content type; RequestError says what is wrong with it."""
    columns, rows = _of_arrow(body) if kind == ARROW else _of_json(body)
    for name in columns:
        if name not in reader.names:
            known = ", ".join(reader.names)
            raise RequestError(f"{shown(name)}: is no field; the fields are {known}{near(name[:100], reader.names)}")
    for name in reader.given:
        if name not in columns:
            raise RequestError(
                f"{name}: is missing; give it in request or in each candidate, null where it has no value"
            )
    return columns, rows


def _of_json(body: bytes) -> Columns:
    try:
        request = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(
            f"the body is not UTF-8: {error.reason} at byte {error.start}", HTTPStatus.BAD_REQUEST
        ) from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", HTTPStatus.BAD_REQUEST) from None
    if not isinstance(request, dict) or not {"candidates"} <= request.keys() <= {"request", "candidates"}:
        raise RequestError('the body must be an object with the keys "request" and "candidates"')
    shared, candidates = request.get("request", {}), request["candidates"]
    if not isinstance(shared, dict):
        raise RequestError("request: must be an object, one key a field")
    if not isinstance(candidates, list):
        raise RequestError("candidates: must be a list of objects, one for each candidate")
    _check_number(len(candidates))
    columns = {name: Column(name=name, values=[value], shared=True) for name, value in shared.items()}
    for name, values in _of_candidates(candidates).items():
        if name in shared:
            raise RequestError(f"{shown(name)}: stands in request and in candidates; give it in one of them")
        columns[name] = Column(name=name, values=values, shared=False)
    return columns, len(candidates)


def _of_candidates(candidates: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
    """The values of each key that the candidates have."""
    if set(map(type, candidates)) != {dict}:
        row = next(row for row, candidate in enumerate(candidates) if type(candidate) is not dict)
        raise RequestError(f"candidates[{row}]: is {shown(candidates[row])}; give an object, one key a field")
    names = list(candidates[0])
    for row, candidate in enumerate(candidates):
        if candidate.keys() != candidates[0].keys():
            name = next(iter(candidate.keys() ^ candidates[0].keys()))
            where = f"candidates[{row if name not in candidate else 0}].{shown(name)}"
            raise RequestError(f"{where}: is missing, though other candidates have it; null where there is no value")
    if len(names) == 1:
        return {names[0]: [candidate[names[0]] for candidate in candidates]}
    if not names:
        return {}
    return dict(zip(names, zip(*map(itemgetter(*names), candidates), strict=True), strict=True))


def _of_arrow(body: bytes) -> Columns:
    try:
        refuse_what_unfolds(body)
        with pa.ipc.open_stream(body) as stream:
            batches = []
            rows = 0
            for batch in stream:
                rows += batch.num_rows
                if rows > MAX_CANDIDATES:
                    break
                batch.validate(full=True)
                batches.append(batch)
            _check_number(rows)
            table = pa.Table.from_batches(batches, stream.schema)
        names = table.column_names
        arrays = [_with_short_offsets(column.combine_chunks()) for column in table.columns]
    except (pa.ArrowException, OSError, ValueError) as error:  # a name that is not UTF-8 is a ValueError
        said = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RequestError(f"the body is no Arrow stream: {said}", HTTPStatus.BAD_REQUEST) from None
    if len(set(names)) < len(names):
        raise RequestError("the body has two columns of one name; give each field once")
    return {n: Column(name=n, values=values, shared=False) for n, values in zip(names, arrays, strict=True)}, rows


def _with_short_offsets(array: pa.Array) -> pa.Array:
    """Large texts and lists as plain ones."""
    is_list = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    inner = array.type.value_type if is_list else array.type
    inner = pa.string() if pa.types.is_large_string(inner) else inner
    return array.cast(pa.list_(inner) if is_list else inner)


def _check_number(candidates: int) -> None:
    if not 1 <= candidates <= MAX_CANDIDATES:
        raise RequestError(f"candidates: are {candidates:,}; send 1 to {MAX_CANDIDATES:,}")

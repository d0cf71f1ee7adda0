"""What an Arrow stream says of itself, looked at before it is read: nothing may unfold to more than was sent.

A compressed buffer may become a thousand times as large, a dictionary gives one long value to every row, and a view, a
run says with a few bytes that there are a billion values. So plain columns alone are taken. Messages
are flatbuffers (Arrow's `Message.fbs`), of which four fields are read here.
"""

from __future__ import annotations

from http import HTTPStatus

import pyarrow as pa

from simulator.serve.request import RequestError
from simulator.stream.raw import is_list

RECORDS = 3  # a message's header that is a record batch
HEADER_TYPE, HEADER = 1, 2  # fields of a message
COMPRESSION = 3  # field of a record batch
PLAIN = (
    *(pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_timestamp),
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_null),
)


def refuse_what_unfolds(body: bytes) -> None:
    """RequestError if a stream has columns that are not plain, or is compressed; ArrowInvalid if it is no stream."""
    for number, message in enumerate(pa.ipc.MessageReader.open_stream(body)):
        if number == 0:
            if message.type != "schema":  # read as one, it would end the process
                raise pa.ArrowInvalid("it does not begin with a schema")
            _refuse_kinds(pa.ipc.read_schema(message))
        elif message.type != "record batch":
            raise RequestError(f"the body holds a {message.type}; send record batches alone")
        elif _is_compressed(message.metadata.to_pybytes()):
            raise RequestError("the body is compressed; send plain buffers", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _refuse_kinds(schema: pa.Schema) -> None:
    for field in schema:
        inner = field.type.value_type if is_list(field.type) else field.type
        if not any(is_plain(inner) for is_plain in PLAIN) or pa.types.is_fixed_size_list(field.type):
            raise RequestError(
                f"{field.name[:40]!r}: is {str(field.type)[:60]}; send texts, numbers, booleans, timestamps, or lists"
                " of these"
            )


def _is_compressed(metadata: bytes) -> bool:
    root = _number(metadata, 0, 4)
    header = _field(metadata, root, HEADER_TYPE)
    batch = _field(metadata, root, HEADER)
    if header is None or batch is None or metadata[header] != RECORDS:
        raise pa.ArrowInvalid("a message is no record batch")
    return _field(metadata, batch + _number(metadata, batch, 4), COMPRESSION) is not None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Where a field of a flatbuffer's table stands; None if it is left out."""
    entries = table - _number(data, table, 4, signed=True)
    place = 4 + 2 * number
    if place + 2 > _number(data, entries, 2):
        return None
    offset = _number(data, entries + place, 2)
    return table + offset if offset else None


def _number(data: bytes, at: int, size: int, *, signed: bool = False) -> int:
    if not 0 <= at <= len(data) - size:
        raise pa.ArrowInvalid("a message ends early")
    return int.from_bytes(data[at : at + size], "little", signed=signed)

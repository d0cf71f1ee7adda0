"""What is no request is told by its place, with what was wanted."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from simulator.serve.body import ARROW
from simulator.serve.request import MAX_BODY_BYTES, MAX_CANDIDATES
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.asking import Row, as_arrow, valid, with_candidate


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"price": "cheap"}, 422, r"candidates[1].price: 'cheap' is not a finite number of 32 bits; give one, or null"),
        ({"price": float("nan")}, 422, "candidates[1].price: NaN is not a finite number"),
        ({"price": float("-inf")}, 422, "candidates[1].price: -Infinity is not a finite number"),
        ({"price": 1e39}, 422, "candidates[1].price: 1e+39 is not a finite number"),
        ({"price": 10**400}, 422, "candidates[1].price: 1000000000000000000000000000000000000000... is not"),
        ({"price": [1]}, 422, "candidates[1].price: a list is not a finite number"),
        ({"item": {"a": 1}}, 422, "candidates[1].item: an object is no value of a field; give one text"),
        ({"item": float("nan")}, 422, "candidates[1].item: NaN is no value"),
        ({"item": "\ud800"}, 422, r"candidates[1].item: '\ud800' is no text: it holds half a character"),
        ({"item": "x" * 5_000}, 422, "candidates[1].item: has 5,000 bytes; send a text of 4,096 at most"),
        ({"tags": 7}, 422, "candidates[1].tags: 7 is no list; give a list of values, or null"),
        ({"tags": ["a", {"b": 1}]}, 422, "candidates[1].tags[1]: an object is no value"),
        ({"tags": ["a"] * 1_001}, 422, "candidates[1].tags: has 1,001 values; send 1,000 at most"),
        ({"tags": "[a, 'b"}, 422, 'candidates[1].tags: "[a, \'b" is no list'),
        ({"text": [1, 2]}, 422, "candidates[1].text: a list is no vector; give a list of 3 numbers, or null"),
        ({"text": [1, 2, None]}, 422, "candidates[1].text: None is not a finite number"),
        ({"text": [1, 2, 1e39]}, 422, "candidates[1].text: 1e+39 is not a finite number"),
        ({"time": "yesterday"}, 422, "candidates[1].time: 'yesterday' is no time; give seconds since 1970, or a text"),
        ({"time": -1}, 422, "candidates[1].time: -1 is no time"),
        ({"time": 1e300}, 422, "candidates[1].time: 1e+300 is no time"),
        ({"more": 1}, 422, "candidates[0].'more': is missing, though other candidates have it"),
    ],
)
def test_what_is_wrong_is_told_by_its_place_and_what_was_wanted(
    client: Client, raw: list[Row], changed: Row, status: int, said: str
) -> None:
    answer = client.score(with_candidate(valid(raw), **changed))
    assert answer.status == status
    assert answer.json["error"].startswith(said)


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda body: b"", 400, "the body is not JSON"),
        (lambda body: b"\xff\xfe{", 400, "the body is not UTF-8"),
        (lambda body: b"[" * 100_000, 400, "the body is not JSON"),
        (lambda body: b'{"candidates": [' + b'{"a":' * 90_000, 400, "the body is not JSON"),
        (lambda body: b" " * (MAX_BODY_BYTES + 1), 413, "the body is larger than"),
        (lambda body: [], 422, 'the body must be an object with the keys "request" and "candidates"'),
        (lambda body: body | {"more": 1}, 422, "the body must be an object"),
        (lambda body: body | {"request": []}, 422, "request: must be an object"),
        (lambda body: body | {"candidates": {}}, 422, "candidates: must be a list of objects"),
        (lambda body: body | {"candidates": []}, 422, "candidates: are 0; send 1 to 1,000"),
        (lambda body: body | {"candidates": [{}] * (MAX_CANDIDATES + 1)}, 422, "candidates: are 1,001"),
        (lambda body: body | {"candidates": [{}, 3]}, 422, "candidates[1]: is 3; give an object"),
        (lambda body: body | {"candidates": [{}]}, 422, "country: is missing; give it in request or in each"),
        (lambda body: body | {"request": {}}, 422, "user: is missing"),
        (
            lambda body: body | {"request": {"user": "a", "item": "b"}},
            422,
            "'item': stands in request and in",
        ),
        (lambda body: body | {"request": {"user": "a", "prize": 1}}, 422, "'prize': is no field; the fields are user,"),
        (lambda body: body | {"request": {"user": "a", "item_age": 1}}, 422, "'item_age': is no field"),
    ],
)
def test_a_body_that_is_none_is_told(client: Client, raw: list[Row], make: Any, status: int, said: str) -> None:
    answer = client.score(make(valid(raw)))
    assert answer.status == status, answer.body
    assert answer.json["error"].startswith(said)
    assert "\n" not in answer.json["error"]


def test_what_is_computed_of_the_time_needs_one(client: Client, raw: list[Row]) -> None:
    rows = [{name: value for name, value in row.items() if name != "time"} for row in raw[:2]]
    answer = client.score({"candidates": rows})
    assert answer.status == 422
    assert answer.json["error"].startswith("time: is missing; hour, day, item_age, pause")


def packed(rows: list[Row], columns: Any = None, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(columns or {"item": ["x" * 1_000_000]})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    written: bytes = sink.getvalue().to_pybytes()
    return written


def beheaded(stream: bytes) -> bytes:
    """Without its first message, as which Arrow would read the second one."""
    return stream[8 + int.from_bytes(stream[4:8], "little") :]


@pytest.mark.parametrize(
    ("make", "status", "said"),
    [
        (lambda rows: packed(rows, compression="zstd"), 415, "the body is compressed; send plain buffers"),
        (lambda rows: packed(rows, compression="lz4"), 415, "the body is compressed"),
        (lambda rows: packed(rows, {"item": pa.array(["a"]).dictionary_encode()}), 422, "'item': is dictionary"),
        (lambda rows: packed(rows, {"item": pa.array(["a"], pa.string_view())}), 422, "'item': is string_view"),
        (lambda rows: packed(rows, {"item": pa.nulls(10**9)}), 422, "candidates: are "),
        (
            lambda rows: packed(rows, {"item": pa.array([["a"]], pa.list_(pa.string(), 1))}),
            422,
            "'item': is fixed",
        ),
        (lambda rows: b"", 400, "the body is no Arrow stream"),
        (lambda rows: b"\xff\xff\xff\xff\x10\x00\x00\x00", 400, "the body is no Arrow stream"),
        (lambda rows: as_arrow(rows)[:-200], 400, "the body is no Arrow stream"),
        (lambda rows: beheaded(as_arrow(rows)), 400, "the body is no Arrow stream: it does not begin with a schema"),
        (lambda rows: as_arrow(rows[:0] or rows, item=pa.array([None] * len(rows))), 200, ""),
        (lambda rows: as_arrow(rows, price=pa.array([["a"]] * len(rows))), 422, "price: is list"),
        (
            lambda rows: as_arrow(rows, price=pa.array(["x"] * len(rows))),
            422,
            "candidates[0].price: 'x' is not",
        ),
        (
            lambda rows: as_arrow(rows, text=pa.array([[1.0]] * len(rows))),
            422,
            "candidates[0].text: a list is no",
        ),
        (lambda rows: as_arrow(rows, time=pa.array([None] * len(rows))), 422, "candidates[0].time: None is no time"),
    ],
)
def test_an_arrow_body_that_is_none_or_would_unfold_is_told(
    client: Client, raw: list[Row], make: Any, status: int, said: str
) -> None:
    answer = client.score(make(raw[:3]), content_type=ARROW)
    assert answer.status == status, answer.body
    assert status == 200 or answer.json["error"].startswith(said)


def test_other_types_encodings_methods_and_addresses_are_refused(client: Client) -> None:
    assert client.score(b"{}", content_type="text/html").status == 415
    assert client.score(b"\x1f\x8b" * 100, content_encoding="gzip").status == 415
    assert client.ask("PUT", "/v1/score", [b"{}"], {}).status == 405
    assert client.get("/v1/scores").status == 404
    for version in ("7", "-1", "x", "1" * 100, "²"):
        assert client.score(b"{}", query=f"version={version}".encode().decode("latin-1")).status == 404
    large = client.ask("POST", "/v1/score", [b" " * 2**20] * 5, {"content-type": "application/json"})
    assert large.status == 413
    assert client.ask("POST", "/v1/score", [b""], {"content-length": "9" * 30}).status == 413

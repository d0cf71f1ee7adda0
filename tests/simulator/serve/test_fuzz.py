"""Whatever is sent, the answer is no 5xx, and one line says what was wrong.

FUZZED=100000 python -m pytest tests/simulator/serve/test_fuzz.py sends so many over HTTP to a process of its own,
instead of a few hundred of each kind to the application; it may not grow by what is left of them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.serve.asgi import make_app
from simulator.serve.body import ARROW
from simulator.serve.ports import free_port
from simulator.serve.settings import ServeSettings
from tests.simulator.serve.asgi_client import Answered, Client
from tests.simulator.serve.http_client import WARM, HttpClient
from tests.simulator.serve.played_run import played_run

MANY = int(os.environ.get("FUZZED", "900"))
GROWS_BY = 5_000_000  # bytes, at most, of a server's memory
some = settings(
    max_examples=MANY // 3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.large_base_example],
)
numbers = st.one_of(
    st.floats(),
    st.integers(),
    st.sampled_from([10**30, -(10**400), 1e308, 5e-324, -0.0, 2**53 + 1, 2**63, True, float("nan"), float("inf")]),
)
texts = st.one_of(
    st.text(),
    st.text(st.characters(codec=None)),  # halves of characters, too
    st.sampled_from(
        ["1e9", "nan", "-1", "12", "2026-01-31T12:00:00+01:00", "[1, 2", "a;b", "['a']", "x" * 5_000, "\0"]
    ),
)
values = st.recursive(
    st.one_of(st.none(), numbers, texts),
    lambda inside: st.one_of(st.lists(inside, max_size=5), st.dictionaries(texts, inside, max_size=3)),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, list[dict[str, Any]]]]:
    """A server, and rows that it scores."""
    played = played_run(tmp_path_factory.mktemp("fuzzed"), days=2, rows=150)
    for index in range(2):
        played.commit(index)
    raw = played.raw(played.rows(1).select(slice(3)))
    if "FUZZED" in os.environ:
        with HttpClient(played.run.path, free_port(ServeSettings(port=0))) as far:
            yield far, raw
            assert far.asked <= WARM or far.grown < GROWS_BY
            print(f"{far.asked} requests, the server grew by {far.grown / 1e6:.1f} MB")
        return
    versions = played.versions()
    versions.swap_to(1)
    with Client(make_app(versions)) as client:
        yield client, raw


def hold(answer: Answered) -> None:
    assert answer.status == 200 or 400 <= answer.status < 500, answer
    if answer.status == 200:
        assert all(0 <= score <= 1 for score in answer.json["scores"])
    else:
        assert "\n" not in answer.json["error"]
        assert 10 < len(answer.json["error"]) < 600


@some
@given(data=st.data())
def test_values_of_any_kind(asked: tuple[Client, list[dict[str, Any]]], data: st.DataObject) -> None:
    client, rows = asked
    names = [*rows[0], "more"]
    changed = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=4))
    shared = data.draw(st.dictionaries(st.sampled_from(names), values, max_size=2))
    left_out = data.draw(st.sets(st.sampled_from(names), max_size=1)) | set(shared)
    row = {name: value for name, value in (rows[0] | changed).items() if name not in left_out}
    body: Any = {"request": shared, "candidates": [row, *({**row} for _ in range(data.draw(st.integers(0, 2))))]}
    if data.draw(st.integers(0, 9)) == 0:
        body = data.draw(values)
    hold(client.score(body))


@some
@given(data=st.data())
def test_bytes_of_any_kind(asked: tuple[Client, list[dict[str, Any]]], data: st.DataObject) -> None:
    client, rows = asked
    whole = json.dumps({"candidates": rows}).encode()
    sent = bytearray(data.draw(st.one_of(st.binary(), st.just(whole))))
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=8)):
        if sent:
            sent[place % len(sent)] = byte
    cut = data.draw(st.integers(0, len(sent)))
    kind = data.draw(
        st.sampled_from(["application/json", ARROW, "text/plain", "application/json; charset=latin-1", ""])
    )
    headers = {"content_type": kind, "content_encoding": data.draw(st.sampled_from(["identity", "gzip", "br", ""]))}
    if data.draw(st.integers(0, 9)) == 0:  # of a server that wants one
        headers["authorization"] = data.draw(st.sampled_from(["", "Bearer", "Bearer wrong", "Basic d3Jvbmc="]))
    hold(client.score(bytes(sent[:cut] if data.draw(st.booleans()) else sent), **headers))


@some
@given(data=st.data())
def test_arrow_streams_of_any_kind(asked: tuple[Client, list[dict[str, Any]]], data: st.DataObject) -> None:
    client, rows = asked
    kinds = [pa.int8(), pa.uint64(), pa.float64(), pa.float16(), pa.bool_(), pa.string(), pa.large_string(), pa.null()]
    kinds += [pa.timestamp("us"), pa.timestamp("ns", "No/Where"), pa.list_(pa.int64()), pa.large_list(pa.string())]
    kinds += [pa.list_(pa.float32()), pa.date32(), pa.binary(), pa.decimal128(5, 2), pa.struct([("a", pa.int8())])]
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    for name in data.draw(st.sets(st.sampled_from(list(columns)), max_size=3)):
        columns[name] = pa.nulls(len(rows), data.draw(st.sampled_from(kinds)))
    table, sink = pa.table(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    sent = bytearray(sink.getvalue().to_pybytes())
    for place, byte in data.draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6)):
        sent[place % len(sent)] = byte
    hold(client.score(bytes(sent), content_type=ARROW))

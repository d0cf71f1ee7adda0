"""Questions and answers on the wire: the exact numbers, and a clear refusal of everything else."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from pkb.center import Answer
from simulator.center.wire import (
    ARROW,
    JSON,
    MAX_ROWS,
    Question,
    read_answer,
    read_question,
    write_answer,
    write_question,
)
from simulator.serve.request import RequestError

DRAW = np.random.default_rng(0)
ANSWER = Answer(
    version=7,
    knowledge={
        "user": DRAW.standard_normal((5, 1, 4), np.float32),
        "item of any name, ü": DRAW.standard_normal((5, 3, 2), np.float32) / np.float32(3),
    },
)


def test_answers_arrive_as_the_exact_float32_values_in_both_kinds() -> None:
    of_arrow = read_answer(write_answer(ANSWER, ARROW))
    of_json = json.loads(write_answer(ANSWER, JSON))
    assert of_arrow.version == of_json["version"] == 7
    for name, part in ANSWER.knowledge.items():
        assert np.array_equal(of_arrow.knowledge[name], part)
        assert np.array_equal(np.array(of_json["knowledge"][name]), part.astype(np.float64))


@pytest.mark.parametrize("version", [None, 0, 12])
def test_a_question_is_read_as_it_was_asked_in_both_kinds(version: int | None) -> None:
    asked = Question(
        user_B=np.array([3, 3, 3]), item_B=np.array([5, 6, 2**31 - 1]), category_B=np.arange(3), version=version
    )
    raw = {"user": 3, "item": asked.item_B.tolist(), "category": [0, 1, 2], "version": version}
    for read in (read_question(write_question(asked), ARROW), read_question(json.dumps(raw).encode(), JSON)):
        assert read.version == version
        for name in ("user_B", "item_B", "category_B"):
            assert np.array_equal(getattr(read, name), getattr(asked, name))


def test_a_version_of_more_digits_than_python_reads_is_refused() -> None:
    ids = np.array([1])
    body = write_question(Question(user_B=ids, item_B=ids, category_B=ids, version=0))
    with pa.ipc.open_stream(body) as stream:
        table = stream.read_all().replace_schema_metadata({"version": "9" * 5_000})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as written:
        written.write_table(table)
    with pytest.raises(RequestError, match="version: is a whole number"):
        read_question(sink.getvalue().to_pybytes(), ARROW)


def asked(**changed: object) -> bytes:
    return json.dumps({"user": [1], "item": [2], "category": [3]} | changed).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "is not JSON"),
        (b"[]", "must be an object with user, item, category"),
        (asked(more=1), "must be an object with user, item, category"),
        (asked(user=[1, 2], item=[3, 4, 5]), "user: has 2 entries and others have 3"),
        (asked(item=[-1]), "item: ids are whole numbers from 0"),
        (asked(item=[2**31]), "item: ids are whole numbers from 0"),
        (asked(item=[1.0]), "item: ids are whole numbers from 0"),
        (asked(user=[True]), "user: ids are whole numbers from 0"),
        (asked(user="1"), "user: ids are whole numbers from 0"),
        (asked(user=[]), "send 1 to"),
        (asked(item=[1] * (MAX_ROWS + 1)), "send 1 to 10000 rows"),
        (asked(version=-1), "version: is a whole number"),
        (asked(version="7"), "version: is a whole number"),
    ],
)
def test_a_question_at_fault_is_told_what_is_wrong(body: bytes, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        read_question(body, JSON)


def stream(columns: dict[str, pa.Array], **metadata: str) -> bytes:
    batch = pa.record_batch(columns).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    written: bytes = sink.getvalue().to_pybytes()
    return written


ONE = pa.array([1])


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"ARROW1 or not", "is no Arrow stream"),
        (stream({"user": ONE, "item": ONE}), "one column of whole numbers"),
        (stream({"user": ONE, "item": ONE, "category": pa.array(["1"])}), "category: give one column of whole"),
        (stream({"user": ONE, "item": ONE, "category": pa.array([None], pa.int64())}), "category: has a null"),
        (stream({"user": ONE, "item": ONE, "category": pa.array([2**40])}), "category: ids are whole numbers"),
        (stream({"user": ONE, "item": ONE, "category": ONE}, version="new"), "version: is a whole number"),
    ],
)
def test_an_arrow_stream_at_fault_is_told_what_is_wrong(body: bytes, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        read_question(body, ARROW)


def test_narrower_whole_numbers_are_taken_in_arrow() -> None:
    body = stream({name: pa.array([5], pa.uint16()) for name in ("user", "item", "category")})
    assert read_question(body, ARROW).user_B.tolist() == [5]


def test_another_content_type_is_refused() -> None:
    with pytest.raises(RequestError, match="text/html: send application/json or"):
        read_question(asked(), "text/html")


def test_a_stream_that_would_unfold_or_crash_its_reader_is_refused_unread() -> None:
    table = pa.table({name: pa.array([1, 1], pa.int64()) for name in ("user", "item", "category")})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(table)
    without_schema = table.to_batches()[0].serialize().to_pybytes()
    for body in (sink.getvalue().to_pybytes(), without_schema):
        with pytest.raises(RequestError, match="the body"):
            read_question(body, ARROW)

"""A serving request: what is well formed becomes rows, everything else becomes one clear line."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Field, History, Schema
from simulator.serve.request import (
    LARGEST_ID,
    MAX_CANDIDATES,
    MAX_HISTORY,
    RequestError,
    encode_request,
    parse_request,
)

SCHEMA = Schema(
    fields=(Field(name="user", role="user"), Field(name="item", role="item"), Field(name="hour", role="context")),
    user="user",
    item="item",
    histories=(History(name="clicked", field="item"),),
)
ids = st.integers(0, LARGEST_ID)


def body(shared: Any = None, candidates: Any = None, **more: Any) -> bytes:
    """A good request, with parts replaced."""
    shared = {"user": 7, "hour": 9} if shared is None else shared
    candidates = {"item": [4, 5, 6]} if candidates is None else candidates
    return json.dumps({"shared": shared, "candidates": candidates, **more}).encode()


@given(st.data())
def test_rows_hold_the_ids_that_were_sent_whichever_section_they_stand_in(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 20))
    expected = np.empty((size, 3), np.int64)
    shared: dict[str, Any] = {}
    candidates: dict[str, Any] = {"item": data.draw(st.lists(ids, min_size=size, max_size=size))}
    expected[:, 1] = candidates["item"]
    for column, name in ((0, "user"), (2, "hour")):
        if data.draw(st.booleans()):
            shared[name] = expected[:, column] = data.draw(ids)
        else:
            candidates[name] = expected[:, column] = data.draw(st.lists(ids, min_size=size, max_size=size))
    batch = parse_request(encode_request(shared, candidates), SCHEMA)
    assert np.array_equal(batch.ids_BF.numpy(), expected)
    assert len(batch.row_id.unique()) == size
    assert (batch.row_id < 0).all(), "they must not pass for rows of the log"


def test_a_shared_history_is_every_candidates_history() -> None:
    batch = parse_request(body(shared={"user": 7, "hour": 9, "clicked": [3, 1]}), SCHEMA)
    assert batch.histories["clicked"].tolist() == [[3, 1]] * 3


def test_histories_per_candidate_are_padded_behind_their_last_entry() -> None:
    batch = parse_request(body(candidates={"item": [4, 5, 6], "clicked": [[3, 1], [], [2]]}), SCHEMA)
    assert batch.histories["clicked"].tolist() == [[3, 1], [0, 0], [2, 0]]


def test_a_history_that_is_left_out_is_empty() -> None:
    assert parse_request(body(), SCHEMA).histories["clicked"].tolist() == [[0]] * 3


BAD = {
    "not JSON": (b"{", "not JSON"),
    "not text": (b"\xff\xfe", "not JSON"),
    "nothing": (b"", "not JSON"),
    "nested beyond reason": (b"[" * 100_000, "not JSON"),
    "a number of many digits": (b"9" * 10_000, "not JSON"),
    "a list": (b"[]", "exactly the keys"),
    "one section": (b'{"shared": {}}', "exactly the keys"),
    "a third section": (body(extra={}), "exactly the keys"),
    "a section that is a list": (body(shared=[]), "shared: must be an object"),
    "an unknown field": (body(shared={"user": 7, "hour": 9, "hours": 1}), '"hours" is no field; the fields are user'),
    "an unknown field in odd letters": (body(shared={"user": 7, "hour": 9, "\ud800": 1}), '"\\ud800" is no field'),
    "a missing field": (body(shared={"user": 7}), "hour: is missing"),
    "a field given twice": (body(candidates={"item": [4], "hour": [9]}), "hour: stands in both"),
    "no candidates": (body(shared={"user": 7, "hour": 9, "item": 4}, candidates={}), "at least one field as a list"),
    "candidates of length 0": (body(candidates={"item": []}), "are 0; send 1 to"),
    "too many candidates": (body(candidates={"item": [4] * (MAX_CANDIDATES + 1)}), f"send 1 to {MAX_CANDIDATES}"),
    "ragged candidates": (
        body(shared={"user": 7}, candidates={"item": [4, 5], "hour": [9]}),
        "item has 2 entries but hour has 1",
    ),
    "a candidate that is no list": (body(candidates={"item": 4}), "candidates.item: must be a list"),
    "a negative id": (body(candidates={"item": [4, -1]}), "candidates.item: -1 is no id"),
    "an id beyond int32": (body(candidates={"item": [LARGEST_ID + 1]}), "2147483648 is no id"),
    "an id with a fraction": (body(candidates={"item": [4.0]}), "4.0 is no id"),
    "an id that is text": (body(candidates={"item": ["4"]}), '"4" is no id'),
    "an id that is true": (body(candidates={"item": [True]}), "true is no id"),
    "an id that is null": (body(shared={"user": None, "hour": 9}), "shared.user: null is no id"),
    "a long wrong value": (body(candidates={"item": ["x" * 10_000]}), "x... is no id"),
    "a history that is no list": (body(shared={"user": 7, "hour": 9, "clicked": 3}), "shared.clicked: must be a list"),
    "a history with a wrong id": (
        body(candidates={"item": [4, 5], "clicked": [[], [-1]]}),
        "candidates.clicked[1]: -1 is no id",
    ),
    "a history beyond reason": (
        body(shared={"user": 7, "hour": 9, "clicked": [3] * (MAX_HISTORY + 1)}),
        f"send the latest {MAX_HISTORY}",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_told_in_one_line_what_is_wrong(case: str) -> None:
    sent, expected = BAD[case]
    with pytest.raises(RequestError) as caught:
        parse_request(sent, SCHEMA)
    message = str(caught.value)
    assert expected in message
    assert "\n" not in message
    assert len(message) < 250
    assert 400 <= caught.value.status < 500


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["user", "item", "hour", "clicked", "x"]), inner),
    max_leaves=20,
)


@given(shared=anything, candidates=anything)
def test_nothing_that_is_sent_fails_in_any_other_way(shared: Any, candidates: Any) -> None:
    try:
        batch = parse_request(json.dumps({"shared": shared, "candidates": candidates}).encode(), SCHEMA)
    except RequestError:
        return
    assert len(batch) >= 1


@given(st.binary())
def test_bytes_that_are_no_request_are_refused(sent: bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(sent, SCHEMA)

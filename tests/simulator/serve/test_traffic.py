"""Requests made of the log's rows."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Batch, Field, History, Schema
from simulator.serve.request import MAX_BODY_BYTES, MAX_CANDIDATES, parse_request
from simulator.serve.traffic import evenly_spaced, requests_for, sampled_requests

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="brand", role="item"),
        Field(name="hour", role="context"),
    ),
    user="user",
    item="item",
    histories=(History(name="clicked", field="item"),),
)


@pytest.fixture(scope="module")
def rows() -> Batch:
    draw = torch.Generator().manual_seed(0)
    size = 97
    history = torch.randint(1, 1000, (size, 6), generator=draw, dtype=torch.int32)
    length = torch.randint(0, 7, (size, 1), generator=draw)
    return Batch(
        row_id=torch.arange(size),
        ids_BF=torch.randint(0, 1000, (size, 4), generator=draw, dtype=torch.int32),
        label=torch.zeros(size),
        histories={"clicked": torch.where(torch.arange(6) < length, history, 0)},
    )


def test_a_sampled_request_is_one_rows_user_with_the_items_of_other_rows(rows: Batch) -> None:
    known = rows.ids_BF.tolist()
    for body in sampled_requests(rows, SCHEMA, number=5, candidates=20, seed=1):
        request = json.loads(body)
        shared, candidates = request["shared"], request["candidates"]
        assert [shared["user"], shared["hour"]] in [[row[0], row[3]] for row in known]
        offered = list(zip(candidates["item"], candidates["brand"], strict=True))
        assert len(offered) == 20
        assert set(offered) <= {(row[1], row[2]) for row in known}
        assert len(parse_request(body, SCHEMA)) == 20


def test_requests_differ_from_each_other_and_the_seed_decides_them(rows: Batch) -> None:
    first, again, other = (sampled_requests(rows, SCHEMA, number=50, candidates=10, seed=seed) for seed in (1, 1, 2))
    assert len(set(first)) == 50
    assert first == again
    assert not set(first) & set(other)


def test_requests_for_rows_give_back_those_rows_in_their_order(rows: Batch) -> None:
    parts = [parse_request(body, SCHEMA) for body in requests_for(rows, SCHEMA, size=10)]
    assert [len(part) for part in parts] == [10] * 9 + [7]
    assert torch.equal(torch.cat([part.ids_BF for part in parts]), rows.ids_BF)
    histories = [row[row > 0].tolist() for part in parts for row in part.histories["clicked"]]
    assert histories == [row[row > 0].tolist() for row in rows.histories["clicked"]]


@given(rows=st.integers(1, 5000), most=st.integers(1, 5000))
def test_evenly_spaced_rows_are_different_ascending_and_no_more_than_asked(rows: int, most: int) -> None:
    chosen = evenly_spaced(rows, most)
    assert len(chosen) == min(rows, most)
    assert chosen[0] == 0
    assert chosen[-1] == (rows - 1 if len(chosen) > 1 else 0)
    assert (chosen.diff() > 0).all()


@pytest.mark.parametrize("length", [1, 500, 1_000])
def test_rows_with_long_histories_are_asked_for_in_requests_that_a_server_takes(length: int) -> None:
    schema = Schema(
        fields=SCHEMA.fields,
        user="user",
        item="item",
        histories=(History(name="clicked", field="item"), History(name="viewed", field="item")),
    )
    size = MAX_CANDIDATES + 3
    ids = torch.full((size, length), 1_000_000, dtype=torch.int32)
    rows = Batch(
        row_id=torch.arange(size),
        ids_BF=torch.arange(4 * size, dtype=torch.int32).reshape(size, 4),
        label=torch.zeros(size),
        histories={"clicked": ids, "viewed": ids},
    )
    bodies = list(requests_for(rows, schema, size=MAX_CANDIDATES))
    assert max(map(len, bodies)) <= MAX_BODY_BYTES
    parts = [parse_request(body, schema) for body in bodies]
    assert torch.equal(torch.cat([part.ids_BF for part in parts]), rows.ids_BF)
    assert all(part.histories["viewed"].shape[1] == length for part in parts)

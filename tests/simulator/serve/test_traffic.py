"""Requests made of the log's rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Batch
from simulator.serve.check import bodies_of
from simulator.serve.request import MAX_BODY_BYTES
from simulator.serve.traffic import asked_again, evenly_spaced, sampled_requests
from tests.simulator.serve.played_run import GIVEN, PlayedRun, played_run


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> PlayedRun:
    return played_run(tmp_path_factory.mktemp("played"), days=2, rows=150)


@pytest.fixture(scope="module")
def rows(played: PlayedRun) -> Batch:
    return played.log.read(played.log.periods[0], histories=True)


def sampled(played: PlayedRun, rows: Batch, *, number: int, candidates: int, seed: int) -> list[bytes]:
    stream = played.settings.stream
    return sampled_requests(rows, played.log, stream, number=number, candidates=candidates, seed=seed)


def test_a_sampled_request_is_one_rows_user_with_the_items_of_other_rows(played: PlayedRun, rows: Batch) -> None:
    raw = played.raw(rows)
    shared = {*GIVEN, "time"} - {"item"}
    asking = [{name: row[name] for name in shared} for row in raw]
    for body in sampled(played, rows, number=5, candidates=20, seed=1):
        request = json.loads(body)
        assert request["request"] in asking
        assert len(request["candidates"]) == 20
        assert all(candidate.keys() == {"item"} for candidate in request["candidates"])
        assert {candidate["item"] for candidate in request["candidates"]} <= {row["item"] for row in raw}


def test_requests_differ_from_each_other_and_the_seed_decides_them(played: PlayedRun, rows: Batch) -> None:
    first, again, other = (sampled(played, rows, number=50, candidates=10, seed=seed) for seed in (1, 1, 2))
    assert len(set(first)) == 50
    assert first == again
    assert not set(first) & set(other)


def test_rows_that_are_asked_for_again_come_in_their_order_with_their_own_values(
    played: PlayedRun, rows: Batch
) -> None:
    chosen, requests = asked_again(rows, played.log, played.settings.stream, size=20, most=50)
    assert [len(asked["item"]) for asked in requests] == [20, 20, 10]
    asked = [row for request in requests for body in bodies_of(request) for row in json.loads(body)["candidates"]]
    assert asked == played.raw(chosen)


@given(rows=st.integers(1, 5000), most=st.integers(1, 5000))
def test_evenly_spaced_rows_are_different_ascending_and_no_more_than_asked(rows: int, most: int) -> None:
    chosen = evenly_spaced(rows, most)
    assert len(chosen) == min(rows, most)
    assert chosen[0] == 0
    assert chosen[-1] == (rows - 1 if len(chosen) > 1 else 0)
    assert (chosen.diff() > 0).all()


@pytest.mark.parametrize(("length", "bodies"), [(1, 1), (1_000, 4)])
def test_rows_with_long_histories_are_asked_for_in_requests_that_a_server_takes(length: int, bodies: int) -> None:
    asked: dict[str, list[Any]] = {"item": list(range(999)), "clicked": [[f"item {n}"] * length for n in range(999)]}
    made = list(bodies_of(asked))
    assert len(made) == bodies
    assert max(map(len, made)) <= MAX_BODY_BYTES
    assert [row["item"] for body in made for row in json.loads(body)["candidates"]] == asked["item"]

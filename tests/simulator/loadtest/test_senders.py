"""The generator's processes, held against servers whose latency is known, and against one that does nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from pkb.errors import DataError, RunError
from simulator.loadtest.null_server import null_server
from simulator.loadtest.offering import percentile
from simulator.loadtest.senders import Senders, read_bodies
from tests.simulator.loadtest.servers import on_a_thread

NUMBER = 40  # bodies in the file


@pytest.fixture(scope="module")
def senders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Senders]:
    file = tmp_path_factory.mktemp("bodies") / "requests.jsonl"
    lines = [json.dumps({"request": {"n": n}, "candidates": [{"item": "i"}]}) for n in range(NUMBER)]
    file.write_text("\n".join(lines))
    with Senders(file, processes=2) as started:
        yield started


def test_latencies_are_those_of_a_server_that_is_known_and_every_body_is_sent(senders: Senders) -> None:
    came: list[int] = []

    async def slow_for_each_tenth(request: web.Request) -> web.StreamResponse:
        came.append((await request.json())["request"]["n"])
        await asyncio.sleep(0.15 if came[-1] % 10 == 0 else 0.02)
        return web.json_response({"scores": [0.5]})

    schedule = np.arange(1, 101) * 0.02
    with on_a_thread(slow_for_each_tenth) as url:
        load = senders.offer(url, schedule, 5.0, first=7)
    sent = (7 + np.arange(100)) % NUMBER
    assert load.completed == 100
    assert sorted(came) == sorted(sent.tolist())
    slow = sent % 10 == 0
    assert load.latencies[slow].min() >= 0.15
    assert 0.02 <= load.latencies.min() < 0.15


def test_a_server_that_does_nothing_answers_every_request(senders: Senders) -> None:
    with null_server() as url:
        assert json.loads(senders.one_by_one(url, 5, 2.0)) == {"scores": []}
        load = senders.offer(url, np.sort(np.random.default_rng(0).random(150)), 2.0)
    assert load.completed == load.sent == 150
    assert (percentile(load.latencies, 50) or 1) < 0.05
    assert (load.latencies >= load.lags).all()
    assert (load.lags >= 0).all()


def test_what_is_not_answered_as_it_should_be_is_told_in_one_line(senders: Senders) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": "item_id: is missing"}, status=422)

    with on_a_thread(refuses) as url:
        with pytest.raises(RunError, match=r"answered 422: .*item_id: is missing"):
            senders.one_by_one(url, 3, 2.0)
        load = senders.offer(url, np.zeros(4), 2.0)
    assert load.errors == {"status 422": 4}
    with pytest.raises(RunError, match="does not answer: ClientConnectorError"):
        senders.one_by_one("http://127.0.0.1:9/v1/score", 1, 2.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"request": {}, "candidates": []}\n[1]\n', "line 2: is no object"),
        ('{"request": {}}\n', "line 1: is no object"),
        ("{\n", "line 1: is no object"),
        ("\n\n", "holds no requests"),
    ],
)
def test_a_file_that_holds_no_requests_is_refused_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "requests.jsonl"
    file.write_text(text)
    with pytest.raises(DataError, match=said):
        read_bodies(file)
    with pytest.raises(DataError, match=r"absent\.jsonl: No such file"):
        read_bodies(tmp_path / "absent.jsonl")

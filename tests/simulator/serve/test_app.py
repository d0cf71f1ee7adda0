"""A contender behind real HTTP: exact answers, and a clear refusal of everything else."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from simulator.serve.deploy import Endpoint, deployed
from simulator.serve.request import MAX_BODY_BYTES, MAX_CANDIDATES, encode_request
from simulator.serve.settings import ServeSettings
from tests.simulator.serve.stand_in import load_one_over_id


@pytest.fixture(scope="module")
def endpoint(local_ray: None) -> Iterator[Endpoint]:
    with deployed("app", ServeSettings(port=0), Path("nowhere"), [("edk", 1)], load_one_over_id) as endpoints:
        yield endpoints[0]


def ask(url: str, body: bytes, method: str = "POST") -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.request(method, url, data=io.BytesIO(body)) as response:
            return response.status, await response.text()

    return asyncio.run(main())


def test_probabilities_arrive_as_the_exact_float32_values(endpoint: Endpoint) -> None:
    items = list(range(1, MAX_CANDIDATES + 1))
    status, text = ask(endpoint.url, encode_request({"user": 1}, {"item": items}))
    answer = json.loads(text)
    assert status == 200
    assert (answer["arm"], answer["seed"], answer["trained_through"]) == ("edk", 1, 3)
    expected = (1 / np.array(items)).astype(np.float32)
    assert np.array_equal(np.array(answer["probabilities"], np.float64), expected.astype(np.float64))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", 400),
        (encode_request({"user": 1}, {"item": [-1]}), 422),
        (encode_request({"user": 1, "\ud800": 1}, {"item": [1]}), 422),
        (b"[" * 100_000, 400),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
    ids=["not JSON", "a negative id", "a name that is no text", "nested beyond reason", "too large"],
)
def test_a_bad_body_gets_a_4xx_and_one_line(endpoint: Endpoint, body: bytes, expected: int) -> None:
    status, text = ask(endpoint.url, body)
    assert status == expected
    assert "\n" not in json.loads(text)["error"]


def test_a_body_of_the_largest_size_is_read(endpoint: Endpoint) -> None:
    body = encode_request({"user": 1}, {"item": [1, 2]})
    status, text = ask(endpoint.url, body + b" " * (MAX_BODY_BYTES - len(body)))
    assert status == 200, text


@pytest.mark.parametrize(("method", "expected"), [("GET", 405), ("PUT", 405), ("DELETE", 405)])
def test_other_methods_than_post_are_refused(endpoint: Endpoint, method: str, expected: int) -> None:
    status, text = ask(endpoint.url, b"", method)
    assert status == expected
    assert "use POST" in json.loads(text)["error"]


@pytest.mark.parametrize("path", ["/more", "/", "0"])
def test_nothing_else_is_served_beside_a_contender(endpoint: Endpoint, path: str) -> None:
    status, _ = ask(endpoint.url + path, encode_request({"user": 1}, {"item": [1]}))
    assert status == 404

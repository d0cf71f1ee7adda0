"""A model whose center is gone or late scores without knowledge, soon; that is counted, told, and over when it ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from aiohttp import web
from ray.exceptions import RayActorError, RaySystemError
from ray.serve.exceptions import RayServeException

from pkb.backbones.base import make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch
from pkb.center import Cached, Center, MissingVersionError
from pkb.errors import DataError
from simulator.center.client import ByHandle, ByHttp, Remote, UnansweredError
from simulator.center.wire import ARROW, read_question, write_answer
from tests.pkb.backbones.check_backbone import stir
from tests.pkb.center.says import SCHEMA, numbers_in, publish, someone

pytestmark = pytest.mark.usefixtures("one_thread")


class Slow:
    """A center behind a server of its own that may stop to answer, or drip."""

    def __init__(self, center: Center) -> None:
        self.center, self.status, self.drips = center, 200, False
        self.answering = True

    async def answer(self, request: web.Request) -> web.StreamResponse:
        while not self.answering:
            await asyncio.sleep(0.01)
        asked = read_question(await request.read(), ARROW)
        if self.status != 200:
            return web.json_response({"error": "as it was told to"}, status=self.status)
        body = write_answer(self.center.ask(asked.user_B, asked.item_B, asked.category_B, asked.version), ARROW)
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        for start in range(0, len(body), 100):
            if self.drips:
                await asyncio.sleep(0.02)
            await response.write(body[start : start + 100])
        return response


@contextmanager
def serving(slow: Slow) -> Iterator[str]:
    """The address of such a server, in a thread of its own."""
    loop = asyncio.new_event_loop()

    async def start() -> tuple[web.AppRunner, str]:
        app = web.Application()
        app.router.add_post("/", slow.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner, "http://{}:{}/".format(*runner.addresses[0])

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner, url = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield url
    finally:
        slow.answering = True
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def asking(url: str, timeout_s: float = 0.2) -> Iterator[ByHttp]:
    client = ByHttp(url, timeout_s)
    try:
        yield client
    finally:
        client.close()


def rows() -> Batch:
    ids_BF = torch.from_numpy(np.stack(someone(), axis=1)).int()
    return Batch(row_id=torch.arange(8), ids_BF=ids_BF, label=torch.zeros(8))


def test_a_model_scores_without_knowledge_while_its_center_is_away_and_says_so(tmp_path: Path) -> None:
    publish(tmp_path, 3)
    center, told = Center(tmp_path), list[str]()
    version = center.version(3)
    model = make_click_model(DeepFM, SCHEMA, DeepFM.Settings(width=4, hidden=(8,)), version.manifest.parts)
    model.backbone.grow(200, torch.Generator().manual_seed(0))
    stir(model).eval()
    slow = Slow(center)
    with serving(slow) as url, asking(url) as client:
        source = Remote(client, version.manifest, SCHEMA, retry_s=0.3, tell=told.append)
        known = model(rows(), Cached(version, SCHEMA).knowledge(rows()))
        assert torch.equal(model(rows(), source.knowledge(rows())), known)
        slow.answering = False
        since = time.monotonic()
        for _ in range(20):
            assert torch.equal(model(rows(), source.knowledge(rows())), model(rows()))
        assert time.monotonic() - since < 2, "it is not asked again at once"
        assert (source.asked, source.unanswered) == (21, 20)
        assert len(told) == 1
        assert "scores are without knowledge until it answers again" in told[0]
        slow.answering = True
        time.sleep(0.3)
        assert torch.equal(model(rows(), source.knowledge(rows())), known)
        assert told[1:] == ["the center answers again; 20 of 22 batches went without knowledge"]
        assert not torch.equal(known, model(rows()))


@pytest.mark.parametrize("fault", ["silent", "dripping", "refusing", "closed"])
def test_no_fault_of_a_service_takes_longer_than_the_time_out(tmp_path: Path, fault: str) -> None:
    publish(tmp_path, 0)
    slow = Slow(Center(tmp_path))
    with serving(slow) as url, asking(url) as client:
        assert numbers_in(client.ask(*someone())) == {0}
        match fault:
            case "silent":
                slow.answering = False
            case "dripping":
                slow.drips = True
            case "refusing":
                slow.status = 503
            case "closed":
                client.url = "http://127.0.0.1:9/"
        user, item, category = (np.resize(ids, 900) for ids in someone())
        since = time.monotonic()
        with pytest.raises(UnansweredError):
            client.ask(user, item, category)
        assert time.monotonic() - since < 1


class Raises:
    """Stands for a handle, of which any method, once asked, ends like this."""

    def __init__(self, error: Exception) -> None:
        self.ask = self.about = self
        self.error = error

    def remote(self, *_: object) -> Raises:
        return self

    def result(self, timeout_s: float) -> None:
        raise self.error


@pytest.mark.parametrize("outage", [TimeoutError(), RayActorError(), RaySystemError("gone"), RayServeException("gone")])
def test_by_handle_an_outage_is_no_answer_and_a_mistake_is_told(outage: Exception) -> None:
    with pytest.raises(UnansweredError, match=f"gave no answer: {type(outage).__name__}"):
        ByHandle(Raises(outage)).ask(*someone())  # type: ignore[arg-type]
    for mistake in (RuntimeError("Sync methods should not be called"), MissingVersionError("there is no version 5")):
        with pytest.raises(type(mistake), match=str(mistake)):
            ByHandle(Raises(mistake)).about()  # type: ignore[arg-type]


@pytest.mark.parametrize(("status", "error"), [(404, MissingVersionError), (422, DataError), (500, DataError)])
def test_what_is_wrong_with_a_question_or_a_version_is_no_outage(
    tmp_path: Path, status: int, error: type[Exception]
) -> None:
    publish(tmp_path, 0)
    slow = Slow(Center(tmp_path))
    slow.status = status
    with serving(slow) as url, asking(url) as client:
        source = Remote(client, replace(slow.center.version().manifest), SCHEMA)
        with pytest.raises(error, match="as it was told to"):
            source.knowledge(rows())
    assert source.unanswered == 0

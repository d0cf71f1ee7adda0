"""Who asks a center's service: never longer than a time-out, and a model scores without knowledge where it is gone.

Shapes: B rows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import aiohttp
import torch
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from pkb.batch import Batch, Schema
from pkb.center import Answer, MissingVersionError
from pkb.center.keys import Ids, ids_of
from pkb.center.manifest import Manifest
from pkb.center.store import Reader
from pkb.errors import DataError, Error
from pkb.knowledge import Knowledge, Part
from simulator.center.wire import ARROW, Question, read_answer, write_question

TIMEOUT_SECONDS = 0.1
RETRY_SECONDS = 1.0
LOG = logging.getLogger(__name__)


class UnansweredError(Error):
    """A center that gave no answer in time."""


class ByHandle:
    """Asks by a handle of Ray Serve; from outside of event loops, in which a handle is awaited."""

    def __init__(self, handle: DeploymentHandle[Any], timeout_s: float = TIMEOUT_SECONDS) -> None:
        self.handle, self.timeout_s = handle, timeout_s

    def ask(self, user_B: Ids, item_B: Ids, category_B: Ids, version: int | None = None) -> Answer:
        """Say what a version knows; UnansweredError if the service is gone or late."""
        answer: Answer = self._got(lambda: self.handle.ask.remote(user_B, item_B, category_B, version))
        return answer

    def about(self) -> list[Manifest]:
        """List what versions there are, ascending."""
        versions: list[Manifest] = self._got(self.handle.about.remote)
        return versions

    def _got(self, call: Callable[[], Any]) -> Any:
        try:
            return call().result(timeout_s=self.timeout_s)
        except DataError:
            raise
        # Any other error is of whoever asks, as in an event loop.
        except (TimeoutError, RayError, RayServeException) as error:
            raise UnansweredError(f"the center gave no answer: {type(error).__name__}") from None


class ByHttp:
    """Asks by HTTP, in Arrow, over connections that are kept; from anywhere."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_SECONDS, token: str | None = None) -> None:
        self.url, self.timeout_s = url, timeout_s
        self._headers = {"Content-Type": ARROW} | ({} if token is None else {"Authorization": f"Bearer {token}"})
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._session = self._wait(self._opened(), None)

    async def _opened(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(total=self.timeout_s))

    def close(self) -> None:
        """Close connections and thread."""
        self._wait(self._session.close(), None)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def ask(self, user_B: Ids, item_B: Ids, category_B: Ids, version: int | None = None) -> Answer:
        """Say what a version knows; UnansweredError if the service is gone or late."""
        question = Question(user_B=user_B, item_B=item_B, category_B=category_B, version=version)
        return read_answer(self._got("POST", write_question(question)))

    def about(self) -> list[Manifest]:
        """List what versions there are, ascending."""
        return [Manifest.of(raw) for raw in json.loads(self._got("GET", b""))["versions"]]

    def _got(self, method: str, body: bytes) -> bytes:
        try:
            # aiohttp keeps the time-out; the thread that waits gives its loop a little longer.
            status, text = self._wait(self._exchange(method, body), 2 * self.timeout_s)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise UnansweredError(f"{self.url}: gave no answer: {type(error).__name__}") from None
        if status == 200:
            return bytes(text)
        if status in (404, 422, 500):
            try:
                why = json.loads(text)["error"]
            except (ValueError, KeyError, TypeError):
                why = None
            if why:
                raise (MissingVersionError if status == 404 else DataError)(why)
        raise UnansweredError(f"{self.url}: answered {status}")

    async def _exchange(self, method: str, body: bytes) -> tuple[int, bytes]:
        async with self._session.request(method, self.url, data=body, headers=self._headers) as response:
            return response.status, await response.read()

    def _wait(self, work: Any, timeout_s: float | None) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            raise


class Remote:
    """A model's source of knowledge behind a service, pinned to the version that the model was trained with.

    Where the service is gone or late it says nothing, so that the model scores as without knowledge, and does not ask
    again for `retry_s`; such answers are counted (`unanswered`, of `asked`), and the first of each outage is told.
    """

    def __init__(
        self,
        reader: Reader,
        version: Manifest,
        schema: Schema,
        *,
        retry_s: float = RETRY_SECONDS,
        tell: Callable[[str], None] = LOG.warning,
    ) -> None:
        self.reader, self.version, self.schema, self.retry_s, self.tell = reader, version, schema, retry_s, tell
        self.asked = self.unanswered = 0  # batches
        self._silent_until = 0.0
        self._out = False

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.version.parts

    @property
    def built_until(self) -> int | None:
        return self.version.built_until

    def knowledge(self, batch: Batch) -> Knowledge | None:
        """Ask what is known of each row; None if there is no answer. MissingVersionError if the version has left."""
        self.asked += 1
        if time.monotonic() < self._silent_until:
            self.unanswered += 1
            return None
        try:
            answer = self.reader.ask(*ids_of(batch, self.schema, self.version.category), self.version.version)
        except UnansweredError as error:
            self.unanswered += 1
            self._silent_until = time.monotonic() + self.retry_s
            if not self._out:
                self.tell(f"{error}; scores are without knowledge until it answers again")
            self._out = True
            return None
        if self._out:
            self.tell(f"the center answers again; {self.unanswered} of {self.asked} batches went without knowledge")
        self._out = False
        return {name: torch.from_numpy(part).to(batch.ids_BF.device) for name, part in answer.knowledge.items()}

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge | None:
        """Answer the same: nothing of it learns."""
        return self.knowledge(batch)

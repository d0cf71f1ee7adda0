"""A center behind Ray Serve, for any number of models: by handle, and by HTTP at `/center`.

POST a question of `simulator.center.wire` as JSON or Arrow: the answer comes in the same. GET lists the versions. A
request at fault gets a 4xx status and {"error": one line}; 404 names the versions that there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.handle import DeploymentHandle
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response

from pkb.center import Answer, Center, MissingVersionError
from pkb.center.keys import Ids
from pkb.center.manifest import Manifest
from pkb.center.writing import versions_in
from pkb.errors import DataError, RunError, SettingError
from simulator.center.wire import JSON, read_question, write_answer
from simulator.serve.deploy import Address, replicated, shut_down, wait_until_routed, where_served
from simulator.serve.guard import REFUSED, bears, is_loopback
from simulator.serve.ports import free_port, refuse_open_pages
from simulator.serve.request import RequestError, read_body
from simulator.serve.settings import ServeSettings

NAME, ROUTE = "center", "/center"
FOLLOW_SECONDS = 0.5  # between two looks for versions
REQUEST_SECONDS = 5.0
START_SECONDS = 60
CPUS = 0.1  # of a core, reserved by the replica


class CenterService:
    """Answers from the versions in a folder, and follows them as they come and go."""

    def __init__(self, folder: Path, token: str | None) -> None:
        self.center, self.token = Center(folder), token
        self.center.version()  # one there must be
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.center.refresh()
            time.sleep(FOLLOW_SECONDS)

    async def ask(self, user_B: Ids, item_B: Ids, category_B: Ids, version: int | None = None) -> Answer:
        """Say what a version knows: the newest, if none is named."""
        if version is not None and version not in self.center.open:
            await asyncio.to_thread(self.center.version, version)  # its hashes take a while, others need not wait
        return self.center.ask(user_B, item_B, category_B, version)

    async def about(self) -> list[Manifest]:
        """List what versions there are, ascending."""
        return [version.manifest for version in self.center.versions]

    async def __call__(self, request: Request) -> Response:
        try:
            if not bears(request.scope["headers"], self.token):
                raise RequestError(REFUSED, HTTPStatus.UNAUTHORIZED)
            if request.method == "GET":
                versions = [asdict(manifest) for manifest in await self.about()]
                told = {"versions": versions, "refused": [*map(self._said, self.center.refused.values())]}
                return Response(json.dumps(told), media_type=JSON)
            if request.method != "POST":
                raise RequestError(f"{request.method} is not answered here; POST", HTTPStatus.METHOD_NOT_ALLOWED)
            kind = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
            asked = read_question(await read_body(request), kind)
            answer = await self.ask(asked.user_B, asked.item_B, asked.category_B, asked.version)
        except RequestError as error:
            return _error(error.status, str(error))
        except MissingVersionError as error:
            return _error(HTTPStatus.NOT_FOUND, self._said(error))
        except DataError as error:
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, self._said(error))
        return Response(write_answer(answer, kind), media_type=kind)

    def _said(self, why: object) -> str:
        """Say what is wrong with which version, and not where on this machine it lies."""
        folder = str(self.center.folder)
        return str(why).replace(f"{folder}/", "").removeprefix(f"{folder}: ")


def _error(status: HTTPStatus, why: str) -> Response:
    return Response(json.dumps({"error": why}), status, media_type=JSON)


@dataclass(frozen=True, kw_only=True)
class Served:
    """Where a center is served."""

    handle: DeploymentHandle[Any]
    url: str  # by Serve's proxy, which stays
    direct: str  # at the replica, while it lives; the proxy's where it does not listen itself


@contextlib.contextmanager
def served(folder: Path, *, host: str = "127.0.0.1", port: int = 0, token: str | None = None) -> Iterator[Served]:
    """Serve a center for as long as the block runs, to who bears the token if there is one; Ray must be initialised.

    Where Serve runs already it stays where it listens. MissingVersionError before there is any version, SettingError if
    nothing can listen at the port (0 takes a free one), or Serve listens elsewhere than asked, or where others can ask
    without a token; RunError if the service does not come up.
    """
    if not versions_in(folder):
        raise MissingVersionError(f"{folder}: there is no version; build one first")
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
    refuse_open_pages()
    free = free_port(ServeSettings(host=host, port=port))
    beside_others, begun = bool(serve.status().applications), False
    try:
        serve.start(
            proxy_location=ProxyLocation.HeadOnly,
            http_options=HTTPOptions(host=host, port=free, request_timeout_s=REQUEST_SECONDS),
            logging_config=quiet,
        )
        address = _address(port, token)
        try:
            begun = True
            application = replicated(NAME, CPUS)(CenterService).bind(folder.resolve(), token)
            handle = serve.run(application, name=NAME, route_prefix=ROUTE, logging_config=quiet)
        except RuntimeError as error:
            raise RunError(f"{folder}: could not be served: {' '.join(str(error).split())[-300:]}") from None
        wait_until_routed(address.proxy, {ROUTE}, time.monotonic() + START_SECONDS)
        yield Served(handle=handle, url=address.proxy + ROUTE, direct=address.replicas(ROUTE)[0])
    finally:
        if not beside_others:
            shut_down()
        elif begun and NAME in serve.status().applications:
            serve.delete(NAME)


def _address(port: int, token: str | None) -> Address:
    """Where Serve is asked, which may run for others already."""
    host, there = where_served()
    if port not in (0, there):
        raise SettingError(f"port={port}: Ray Serve on this cluster listens at {there} already; leave the port out")
    if token is None and not is_loopback(host):
        raise SettingError(
            f"host={host}: Ray Serve on this cluster listens there, others could ask, and no token is set"
        )
    return Address(host=host, port=there)

"""The server on Ray Serve."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from ray import serve

from simulator.serve.alone import announce
from simulator.serve.app import one_replica
from simulator.serve.asgi import make_app
from simulator.serve.deploy import running
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source, Versions

POLL_SECONDS = 1.0
Tell = Callable[[str], None]


class Replica:
    """One process that serves a contender."""

    def __init__(self, source: Source, token: str | None, follow: bool) -> None:
        versions = Versions(source, lambda line: None)  # who deployed it asks for what was told
        versions.begin(follow=follow)
        self._app = make_app(versions, token)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app


def application(source: Source, token: str | None, *, follow: bool, cpus: float = 1.0) -> serve.Application:
    """The Serve application of one contender: one replica, which reserves `cpus` of a core."""
    return one_replica("score", cpus)(serve.ingress()(Replica)).bind(source, token, follow)


def serve_on_ray(source: Source, settings: ServeSettings, token: str | None, *, follow: bool, tell: Tell) -> None:
    """Serve until interrupted. Ray must be initialised; RunError if the contender does not come up."""
    applications = {(source.key, "/"): application(source, token, follow=follow)}
    with running(source.run.name, settings, applications) as root:
        announce(source, root, tell)
        last = 0
        while True:
            for number, line in _told(root, token):
                if number > last:
                    last = number
                    tell(line)
            time.sleep(POLL_SECONDS)


def _told(root: str, token: str | None) -> list[tuple[int, str]]:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # by no proxy that the environment names
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with direct.open(urllib.request.Request(f"{root}/v1/versions", headers=headers), timeout=10) as response:
            answer: dict[str, Any] = json.load(response)
    except OSError:
        return []
    return [(number, line) for number, line in answer["told"]]

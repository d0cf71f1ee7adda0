"""The server on Ray Serve: of one contender until interrupted, or of several for as long as a block runs."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from ray import serve

from pkb.errors import Error, RunError
from simulator.loadtest.target import Target
from simulator.serve.alone import announce
from simulator.serve.asgi import make_app
from simulator.serve.deploy import START_SECONDS, START_SECONDS_EACH, replicated, route_of, running
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source, Versions
from simulator.stream.log import Log
from simulator.stream.stored_words import stored_words

POLL_SECONDS = 1.0
TOGETHER_CPUS = 0.5  # of a core, reserved by all contenders of a run, so that they fit beside a waiting trainer
Tell = Callable[[str], None]


class Replica:
    """One process that serves contenders, each under a route of its own.

    They are one process as each process takes seconds to import Ray and torch; whoever measures asks one at a time.
    """

    def __init__(self, sources: Mapping[str, Source], token: str | None, follow: bool) -> None:
        self._app = FastAPI(openapi_url=None)
        for route, source in sources.items():
            try:
                versions = Versions(source, lambda line: None)  # who deployed it asks for what was told
                versions.begin(follow=follow)
                self._app.mount(route, make_app(versions, token))
            except Exception as error:  # whatever it is, it must be said of whom
                why = str(error) if isinstance(error, Error) else f"{type(error).__name__}: {error}"
                raise RunError(f"{source.key}: {' '.join(why.split())}") from error

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._app


def application(
    sources: Mapping[str, Source], token: str | None, *, follow: bool, cpus: float = 1.0, replicas: int = 1
) -> serve.Application:
    """The Serve application of contenders, by their routes: replicas, each of which reserves `cpus` of a core."""
    return replicated("score", cpus, replicas)(serve.ingress()(Replica)).bind(sources, token, follow)


@contextlib.contextmanager
def deployed(sources: Sequence[Source], settings: ServeSettings, token: str | None) -> Iterator[list[Target]]:
    """Put contenders of one run behind HTTP, and say where each is asked; errors as those of `running`."""
    stored_words(Log(sources[0].log), sources[0].folder.vocabulary)  # before the patience with a replica begins
    by_route = {route_of(source.arm, source.seed): source for source in sources}
    everyone = application(by_route, token, follow=False, cpus=TOGETHER_CPUS)
    patience = START_SECONDS + START_SECONDS_EACH * len(sources)
    with running(sources[0].run.name, settings, {("contenders", "/"): everyone}, patience) as address:
        root = address.replicas("/")[0]
        yield [
            Target(arm=source.arm, seed=source.seed, url=f"{root}{quote(route)}/v1/score")
            for route, source in by_route.items()
        ]


def serve_on_ray(
    source: Source, settings: ServeSettings, token: str | None, *, follow: bool, replicas: int, tell: Tell
) -> None:
    """Serve until interrupted. Ray must be initialised; RunError if the contender does not come up."""
    served = application({"/": source}, token, follow=follow, cpus=1 / replicas, replicas=replicas)
    with running(source.run.name, settings, {(source.key, "/"): served}) as address:
        announce(source, address.proxy, tell)
        last, known = 0, {address.proxy}
        while True:
            for url in address.replicas("/"):
                if url not in known:
                    known.add(url)
                    tell(f"{source.key}: a replica is asked without Serve's proxy at {url}/v1/score while it lives")
            for number, line in _told(address.proxy, token):
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

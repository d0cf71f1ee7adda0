"""The server alone in this process, without Ray."""

from __future__ import annotations

from collections.abc import Callable

import uvicorn

from simulator.serve.asgi import make_app
from simulator.serve.ports import free_port, reachable
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source, Versions

Tell = Callable[[str], None]


def serve_alone(source: Source, settings: ServeSettings, token: str | None, *, follow: bool, tell: Tell) -> None:
    """Serve from this process, without Ray, until interrupted."""
    port = free_port(settings)
    versions = Versions(source, tell)
    versions.begin(follow=follow)
    announce(source, f"http://{reachable(settings.host)}:{port}", tell)
    try:
        uvicorn.run(
            make_app(versions, token),
            host=settings.host,
            port=port,
            log_level="error",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    finally:
        versions.end()


def announce(source: Source, root: str, tell: Tell) -> None:
    """Tell where a contender is served."""
    tell(f"{source.key} of {source.run.name} is served at {root}/v1/score (see {root}/docs); Ctrl-C ends it")

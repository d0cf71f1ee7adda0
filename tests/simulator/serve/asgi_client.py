"""Asks an ASGI application in this process, without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True)
class Answered:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One loop for all that is asked."""

    def __init__(self, app: ASGIApp, headers: dict[str, str] | None = None) -> None:
        self._app, self._headers = app, headers or {}
        self._runner = asyncio.Runner()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self._runner.close()

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, [b""], headers)

    def score(self, body: Any, query: str = "", **headers: str) -> Answered:
        """POST a body, of bytes or what becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", "/v1/score", [data], {"content-type": "application/json"} | headers, query)

    def ask(
        self, method: str, path: str, chunks: Sequence[bytes], headers: dict[str, str], query: str = ""
    ) -> Answered:
        return self._runner.run(self._ask(method, path, chunks, headers, query))

    async def _ask(
        self, method: str, path: str, chunks: Sequence[bytes], headers: dict[str, str], query: str
    ) -> Answered:
        sent: list[Message] = [
            {"type": "http.request", "body": chunk, "more_body": place + 1 < len(chunks)}
            for place, chunk in enumerate(chunks)
        ]
        got: list[Message] = []

        async def receive() -> Message:
            return sent.pop(0) if sent else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            got.append(message)

        given = {name.replace("_", "-"): value for name, value in (self._headers | headers).items()}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self._app(scope, receive, send)
        first = next(message for message in got if message["type"] == "http.response.start")
        body = b"".join(message.get("body", b"") for message in got if message["type"] == "http.response.body")
        return Answered(first["status"], {k.decode(): v.decode() for k, v in first["headers"]}, body)

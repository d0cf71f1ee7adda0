"""Who may ask: loopback by default; elsewhere, and wherever one is configured, whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import json
import os
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from pkb.errors import SettingError

VARIABLE = "SIMULATOR_TOKEN"  # of the environment: a setting would be written into the run's folder
SHORTEST = 16
REFUSED = "the header Authorization must be 'Bearer' and the token of this server"
OPEN = "/healthz"  # to whoever balances loads


def token_of_environment(host: str) -> str | None:
    """The token that requests must bear; SettingError if it is weak, or absent where others may ask."""
    token = os.environ.get(VARIABLE)
    if token is None and not is_loopback(host):
        raise SettingError(
            f"host={host}: others could ask there, and no token is set; set ${VARIABLE} to a secret of {SHORTEST} or"
            " more characters, or listen on 127.0.0.1"
        )
    if token is not None and (len(token) < SHORTEST or not token.isascii() or not token.isprintable() or " " in token):
        raise SettingError(f"${VARIABLE}: must be {SHORTEST} or more letters, digits and signs, without blanks")
    return token


def is_loopback(host: str) -> bool:
    """Whether this machine alone can ask there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bears(headers: Iterable[tuple[bytes, bytes]], token: str | None) -> bool:
    """Whether a request's headers hold the token, or none is asked for."""
    given = [value for name, value in headers if name == b"authorization"]
    return token is None or (len(given) == 1 and hmac.compare_digest(given[0], f"Bearer {token}".encode()))


class Guard:
    """An ASGI application behind a token."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _path(scope) == OPEN or bears(scope["headers"], self._token):
            await self._app(scope, receive, send)
            return
        body = json.dumps({"error": REFUSED}).encode()
        headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _path(scope: Scope) -> str:
    """The path below that at which the application is mounted."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))

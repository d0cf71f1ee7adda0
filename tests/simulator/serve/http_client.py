"""Asks a server of its own process over HTTP, as the client of an application in this process does."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.simulator.serve.asgi_client import Answered, Client

START_SECONDS = 120
WARM = 2_000  # requests after which the server's memory is looked at first


class HttpClient(Client):
    """A run served by `serve --plain` with a token, on one connection."""

    def __init__(self, run: Path, port: int) -> None:
        token = "fuzzed" * 4
        super().__init__(None, {"authorization": f"Bearer {token}"})  # type: ignore[arg-type]
        self._port, self.asked, self._warm_bytes = port, 0, 0
        command = [sys.executable, "-m", "simulator", "serve", str(run), "--plain", "--port", str(port)]
        self._server = subprocess.Popen(command, env={**os.environ, "SIMULATOR_TOKEN": token})
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                assert self.get("/healthz").status == 200
                return
            except OSError:
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.2)

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._server.terminate()
        self._server.wait(30)
        super().__exit__(*error)

    def __enter__(self) -> HttpClient:
        return self

    @property
    def grown(self) -> int:
        """Bytes of memory that the server has gained since it was warm."""
        return self._bytes() - self._warm_bytes

    def ask(
        self, method: str, path: str, chunks: Sequence[bytes], headers: dict[str, str], query: str = ""
    ) -> Answered:
        given: dict[str, Any] = {name.replace("_", "-"): value for name, value in (self._headers | headers).items()}
        sent = (method, f"{path}?{query}" if query else path, b"".join(chunks), given)
        try:
            response, body = self._answer(*sent)
        except ConnectionError:  # a server ends a connection that was idle for seconds, as on a busy machine
            response, body = self._answer(*sent)
        self.asked += 1
        if self.asked == WARM:
            self._warm_bytes = self._bytes()
        return Answered(response.status, {name.lower(): value for name, value in response.getheaders()}, body)

    def _answer(self, *sent: Any) -> tuple[http.client.HTTPResponse, bytes]:
        try:
            self._connection.request(*sent)
            response = self._connection.getresponse()
            return response, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request connects again
            raise

    def _bytes(self) -> int:
        status = Path(f"/proc/{self._server.pid}/status").read_text()
        return 1024 * int(status.partition("VmRSS:")[2].split()[0])

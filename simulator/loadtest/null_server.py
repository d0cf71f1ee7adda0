"""A server that does nothing: what a load generator sees of it, it has added itself.

It is one process that answers every POST with the same few bytes, as soon as the body is there.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import cast

BODY = b'{"scores": []}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
LENGTH = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)
START_SECONDS = 60


@contextmanager
def null_server() -> Iterator[str]:
    """Give the address of one for as long as the block lasts."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        if not ours.poll(START_SECONDS):
            raise TimeoutError("the null server did not start")
        yield f"http://127.0.0.1:{ours.recv()}/"
    finally:
        process.terminate()
        process.join()


class _Null(asyncio.Protocol):
    """One connection; requests on it may follow each other at once."""

    def __init__(self) -> None:
        self.held = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.held, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.held) < whole:
                return
            del self.held[:whole]
            self.transport.write(ANSWER)


def _serve(pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started it ends it

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Null, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())

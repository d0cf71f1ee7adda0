"""Servers of known behaviour, each on a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextmanager
def on_a_thread(handler: Handler) -> Iterator[str]:
    """The address of a server that does nothing but `handler`."""
    loop, started, address = asyncio.new_event_loop(), threading.Event(), ""

    async def start() -> web.AppRunner:
        nonlocal address
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/v1/score", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        address = f"http://{host}:{port}/v1/score"
        return runner

    def serve() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    started.wait()
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

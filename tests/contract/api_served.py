"""The API of a simulated federation on a loopback port, for clients that know nothing but a URL and a token."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import Receive, Scope, Send

from tests.contract.api_rig import Rig


@contextmanager
def served(rig: Rig) -> Iterator[str]:
    """nantes' URL. Before each request a second passes in the federation, whose time stands still otherwise."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        rig.do(asyncio.sleep(1))
        await rig.app(scope, receive, send)

    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="off", interface="asgi3")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()

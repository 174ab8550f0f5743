"""A federation whose API is called from synchronous code: its virtual time runs in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from intertie.testing.federation import OPERATOR, World
from intertie.testing.virtual_time import VirtualLoop
from tests.unit.api_lab import api_of

T = TypeVar("T")
STREAM = 2
"""Pieces of a stream that does not end by itself which a caller gets to see."""


class Rig:
    """nantes and lyon, enrolled, each home to a Vpn between them. `app`: nantes' API, for callers on any loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="federation")
        self._loop = VirtualLoop()  # type: ignore[abstract]
        self.world, self.served, self.token, self.spare = self.do(_made())

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Let it happen in the federation's time."""
        return self._thread.submit(self._run, work).result()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        self.do(self.world.close())
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: the request is read here, answered there, and the answer sent here."""
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        for part in self.do(_answered(self.served, {**scope, "state": {}}, body)):
            await send(part)


async def _made() -> tuple[World, FastAPI, str, str]:
    world = World()
    for name in ("nantes", "lyon"):
        await world.site(name)
    await world.enrol("nantes", "lyon")
    await world.net("nantes", "blue", "10.0.0.0/24")
    await world.net("nantes", "idle", "10.1.0.0/24")
    await world.net("lyon", "east", "10.3.0.0/24")
    await world.net("nantes", "west", "10.2.0.0/24")
    await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
    await world.vpn("lyon", "far", "l3", "lyon:east", "nantes:west")
    await world.running["nantes"].networks.create_host(OPERATOR, "h", "blue")
    api = api_of(world.running["nantes"])
    tokens = world.running["nantes"].tokens
    token, spare = await tokens.create("demo", "admin"), await tokens.create("demo", "reader")
    return world, api.app, token.token, spare.id


async def _answered(app: Callable[..., Awaitable[None]], scope: Scope, body: bytes) -> list[Message]:
    said: list[Message] = []
    asked = False
    enough = asyncio.get_running_loop().create_future()

    async def receive() -> Message:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}
        await enough
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)
        if len(said) > STREAM and message.get("more_body") and not enough.done():
            enough.set_result(None)

    await app(scope, receive, send)
    if said and said[-1].get("more_body"):
        said.append({"type": "http.response.body", "body": b"", "more_body": False})
    return said

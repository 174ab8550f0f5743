"""The port of the user API: uvicorn's HTTP, behind a door like that of the peer port.

What an unknown client may cost is bounded before anything of it is looked at: connections and handshakes by
`federation.peer_door`, the head of a request by its size and by the time it takes to come. A connection is a
stranger's until a token was recognised on it; then it has a place of its own, which no number of strangers takes
from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import h11
import structlog
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from intertie.api.auth import CONNECTION
from intertie.api.problems import CODES, MEDIA_TYPE
from intertie.federation.http_stream import watch
from intertie.federation.peer_door import Door, Guest, Limits, source_of
from intertie.federation.peer_server import arrivals
from intertie.model.codec import dumps
from intertie.model.views import Problem

log = structlog.get_logger()

MAX_HEAD = 16 * 1024
"""Octets of a request's head; a browser's have about 1,000."""
SLICE = 8 * 1024
"""What is parsed at a time: a head that is whole when its limit is looked at can be larger by this much."""
KEPT = 5.0
"""Seconds that a connection stays open between two requests."""
LIMITS = Limits(strangers_per_source=64, per_peer=128)
HERE = source_of(str(IPv4Address("127.0.0.1")))


class Server(uvicorn.Server):
    """Two of them run in one agent: signals are the agent's."""

    def __init__(self, config: uvicorn.Config, limits: Limits = LIMITS) -> None:
        super().__init__(config)
        self.door = Door(limits)
        self._accepting: list[asyncio.Task[None]] = []
        self._greeting: set[asyncio.Task[None]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.servers = []
        for sock in sockets or ():
            sock.listen(self.config.backlog)
            sock.setblocking(False)
            self._accepting.append(asyncio.create_task(self._accept(sock)))
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """As uvicorn's; a door that cannot be opened any more ends the server."""
        for task in self._accepting:
            if task.done():
                task.result()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in (*self._accepting, *self._greeting):
            task.cancel()
        await asyncio.gather(*self._accepting, *self._greeting, return_exceptions=True)
        await super().shutdown(sockets)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        async for sock, address in arrivals(listening):
            # On the site's own socket there are no strangers: whoever may open it is the operator.
            own = sock.family == socket.AF_UNIX
            guest = Guest(HERE if own else source_of(address[0]), sock.close)
            if not own and not self.door.opens(guest.source, loop.time()):
                sock.close()
                continue
            task = loop.create_task(self._greet(sock, guest))
            guest.abort = partial(_cancel, task)
            if own:
                self.door.recognise(guest, "operator")
            else:
                self.door.enter(guest)
            self._greeting.add(task)
            task.add_done_callback(self._greeting.discard)

    async def _greet(self, sock: socket.socket, guest: Guest) -> None:
        """The handshake, where there is one; from then on the connection lives by itself."""
        greeted = False
        try:
            if sock.family != socket.AF_UNIX:
                watch(sock)
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(_Connection, self.config, self.server_state, self.door, guest),
                sock,
                ssl=self.config.ssl,
                ssl_handshake_timeout=self.door.limits.handshake if self.config.ssl else None,
            )
            greeted = True
        except OSError:
            # Rude, slow or gone, and nobody to say it to.
            pass
        finally:
            if not greeted:
                self.door.leave(guest)
                sock.close()


class _Connection(H11Protocol):
    """A connection with a guest at the door, and a deadline for the head of each request."""

    def __init__(self, config: uvicorn.Config, state: ServerState, door: Door, guest: Guest) -> None:
        super().__init__(config, state, {})
        self._door = door
        self._guest = guest
        self._served: ASGIApp = self.app
        self.app = self._serve
        self._under_way = 0
        self._head: asyncio.TimerHandle | None = None
        self._heads = 0

    # ── What `auth` may ask and say ────────────────────────────────────────────────────────────────────────

    @property
    def known(self) -> bool:
        return bool(self._guest.peer)

    def recognised(self, token: str) -> None:
        """The request that is under way brought a good token."""
        if self._guest.peer != token:
            self._door.recognise(self._guest, token)

    # ── What comes and goes ────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._guest.abort = transport.abort
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._door.leave(self._guest)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._under_way:
            self._await_head()
        for at in range(0, len(data), SLICE):
            if self.transport.is_closing():
                return
            super().data_received(data[at : at + SLICE])

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it, hears so in the shape of every other refusal."""
        words = f"not HTTP/1.1 as it should be, or a head of more than {MAX_HEAD} octets"
        problem = Problem(
            type="/docs#problem-invalid", title=CODES["invalid"].title, status=400, detail=words, code="invalid"
        )
        body = dumps(problem)
        headers = [("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close")]
        # Nothing is said in the middle of another answer.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(self.conn.send(h11.Response(status_code=400, headers=headers)) or b"")
            self.transport.write((self.conn.send(h11.Data(data=body)) or b"") + self.conn.send(h11.EndOfMessage()))
        self.transport.close()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._forget_head()
        self._under_way += 1
        scope.setdefault("extensions", {})[CONNECTION] = self
        try:
            await self._served(scope, receive, send)
        finally:
            self._under_way -= 1

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(self._door.limits.head, self._late)

    def _forget_head(self) -> None:
        self._heads += 1
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _late(self) -> None:
        # A moment more: after a long pause of the whole agent a head may be there and only not be looked at yet.
        self._head = None
        self.loop.call_soon(self._cut, self._heads)

    def _cut(self, heads: int) -> None:
        if heads == self._heads:
            self.transport.abort()


def server(app: ASGIApp, *, certificate: str = "", key: str = "", limits: Limits = LIMITS) -> Server:
    """With the paths of a certificate and its key, over TLS; without, in clear."""
    return Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Who calls is who is at the other end: a header that says otherwise may be anybody's.
            proxy_headers=False,
            ssl_certfile=certificate or None,
            ssl_keyfile=key or None,
            timeout_keep_alive=int(KEPT),
            timeout_graceful_shutdown=3,
            h11_max_incomplete_event_size=MAX_HEAD,
        ),
        limits,
    )


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()

"""Sites with real sockets on loopback, for the tests of the peer transport."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from intertie.federation.certificates import LIFETIME, issue, server_context
from intertie.federation.keys import RootKey, create
from intertie.federation.peer_door import Limits
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import Caller, PeerAddress

LOOPBACK = IPv4Address("127.0.0.1")
Handler = Callable[[Caller | None, bytes], Awaitable[bytes]]


class Clock:
    """The machine's clock, with a hand that tests can turn."""

    def __init__(self) -> None:
        self.offset = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


@dataclass
class Site:
    """A site that answers `caller:body`, or as `handler` says."""

    key: RootKey
    transport: TlsTransport
    port: int
    clock: Clock
    host: str = "127.0.0.1"
    heard: list[tuple[Caller | None, bytes]] = field(default_factory=list)
    handler: Handler | None = None

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def der(self) -> bytes:
        return self.key.root.der

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def peer(self) -> PeerAddress:
        return PeerAddress(name=self.name, address=self.address, root=self.der)

    def pin(self, *others: Site) -> None:
        self.transport.trust({other.name: other.der for other in others})

    async def call(self, other: Site, body: bytes = b"hello", seconds: float = 5.0) -> bytes:
        return await self.transport.call(other.peer, body, seconds)

    async def answer(self, caller: Caller | None, body: bytes) -> bytes:
        self.heard.append((caller, body))
        if self.handler is not None:
            return await self.handler(caller, body)
        return (caller.name if caller else "stranger").encode() + b":" + body

    def client_context(self, *roots: bytes) -> ssl.SSLContext:
        """For a client of our own making: this site's certificate, trusting these roots."""
        from intertie.federation.certificates import client_context

        return client_context(issue(self.key, self.clock()), b"".join(roots))


@asynccontextmanager
async def serving(
    folder: Path,
    name: str,
    *,
    limits: Limits | None = None,
    lifetime: timedelta = LIFETIME,
    host: IPv4Address | IPv6Address | None = LOOPBACK,
) -> AsyncIterator[Site]:
    """A site at a port of its own, for as long as the block runs."""
    clock = Clock()
    key = create(folder / name, name)
    sock = listen(host, 0)
    transport = TlsTransport(key, clock, [sock], limits=limits or Limits(), lifetime=lifetime)
    text = f"[{host}]" if isinstance(host, IPv6Address) else "127.0.0.1"
    site = Site(key, transport, sock.getsockname()[1], clock, text)
    task = asyncio.create_task(transport.serve(site.answer))
    try:
        yield site
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        transport.close()
        assert sock.fileno() == -1


@asynccontextmanager
async def pair(folder: Path, *, limits: Limits | None = None) -> AsyncIterator[tuple[Site, Site]]:
    """nantes and lyon, which have pinned each other; the limits are lyon's."""
    async with serving(folder, "nantes") as nantes, serving(folder, "lyon", limits=limits) as lyon:
        nantes.pin(lyon)
        lyon.pin(nantes)
        yield nantes, lyon


async def raw(site: Site, context: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> Wire:
    """A connection to the site, for saying anything at all; without a context not even TLS."""
    reader, writer = await asyncio.open_connection(
        site.host,
        site.port,
        ssl=context,
        server_hostname="" if context else None,
        local_addr=(source, 0),
    )
    return Wire(reader, writer)


@dataclass
class Wire:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> bytes:
        """Say this; everything that comes until the site closes the connection."""
        self.writer.write(request)
        return await self.rest()

    async def rest(self, seconds: float = 5.0) -> bytes:
        """What comes until the connection ends, by whatever means."""
        async with asyncio.timeout(seconds):
            parts = []
            try:
                while part := await self.reader.read(65536):
                    parts.append(part)
            except OSError:
                pass
            self.writer.transport.abort()
            return b"".join(parts)


@dataclass
class Impostor:
    """A TLS server of our own making, at a port where somebody is expected."""

    port: int
    connections: int = 0
    received: bytearray = field(default_factory=bytearray)


@asynccontextmanager
async def impostor(context: ssl.SSLContext, reply: bytes = b"") -> AsyncIterator[Impostor]:
    """Takes one request a connection, says `reply`, and closes."""
    fake = Impostor(0)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fake.connections += 1
        fake.received += await reader.read(65536)
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()


def serving_as(key: RootKey, *roots: bytes, lifetime: timedelta = LIFETIME) -> ssl.SSLContext:
    """A server context with a leaf by that root."""
    return server_context(issue(key, datetime.now(UTC), lifetime), b"".join(roots))


def post(body: bytes, *more: str) -> bytes:
    """A request as it is on the wire."""
    lines = ["POST /peer/v1/exchange HTTP/1.1", "host: x", f"content-length: {len(body)}", *more, "", ""]
    return "\r\n".join(lines).encode() + body

"""One HTTP/1.1 connection (RFC 9112): h11 for the protocol, an asyncio stream for the octets.

Shared by both ends of a peer call; knows nothing of TLS, sites or trust.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import h11

MAX_HEADER = 16 * 1024
"""Octets of a message's head; ours have about 100."""
_CHUNK = 256 * 1024


class TooLarge(Exception):
    """A body is beyond its limit."""


class Gone(Exception):
    """The other end closed the connection."""


class HttpStream:
    """Messages over a stream, in one of h11's two roles."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, role: type[h11.CLIENT | h11.SERVER]
    ) -> None:
        self.http = h11.Connection(role, max_incomplete_event_size=MAX_HEADER)
        self._reader = reader
        self._writer = writer

    async def wait(self) -> None:
        """Return when something has come that is not yet parsed. Raises Gone when nothing ever will."""
        if self.http.trailing_data[0]:
            return
        data = await self._reader.read(_CHUNK)
        if not data:
            raise Gone
        self.http.receive_data(data)

    async def event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event. Raises h11.RemoteProtocolError for what is not HTTP, or is broken off."""
        while True:
            event = self.http.next_event()
            if event is not h11.NEED_DATA:
                return event
            self.http.receive_data(await self._reader.read(_CHUNK))

    async def body(self, limit: int) -> bytes:
        """The body of the message whose head was just read. Raises TooLarge as soon as it is."""
        parts: list[bytes] = []
        size = 0
        while isinstance(event := await self.event(), h11.Data):
            size += len(event.data)
            if size > limit:
                raise TooLarge
            parts.append(bytes(event.data))
        if not isinstance(event, h11.EndOfMessage):
            raise Gone
        return b"".join(parts)

    async def send(self, head: h11.Request | h11.Response, body: bytes) -> None:
        """Write one whole message; returns when the kernel has taken most of it."""
        out = [self.http.send(head), self.http.send(h11.Data(data=body)), self.http.send(h11.EndOfMessage())]
        self._writer.write(b"".join(part for part in out if part))
        await self._writer.drain()

    @property
    def reusable(self) -> bool:
        """Whether another message may follow once this exchange is over."""
        return self.http.our_state is h11.DONE and self.http.their_state is h11.DONE

    @property
    def closing(self) -> bool:
        """Whether either end has closed the connection, as far as is known here."""
        return self._writer.is_closing() or self._reader.at_eof()

    async def discard(self) -> None:
        """Read and forget until the other end closes: closing first would reset it, and it might not have read
        yet what was just written (RFC 9112, 9.6)."""
        with suppress(ConnectionError):
            while await self._reader.read(_CHUNK):
                pass

    def abort(self) -> None:
        """Cut the connection: nothing more goes out or comes in."""
        self._writer.transport.abort()

    async def finish(self, timeout: float) -> None:
        """Close once what was written has gone out, within `timeout` seconds."""
        self._writer.close()
        with suppress(OSError):
            async with asyncio.timeout(timeout):
                await self._writer.wait_closed()


def length(head: h11.Request | h11.Response) -> int | None:
    """The announced length of the body; None if it is chunked. h11 has already refused nonsense."""
    for name, value in head.headers:
        if name == b"content-length":
            return int(value)
    return None


def head_size(head: h11.Request) -> int:
    """Octets of the header fields. h11 bounds only a head that is not yet whole."""
    return len(head.target) + sum(len(name) + len(value) + 4 for name, value in head.headers)


def watch(sock: socket.socket) -> None:
    """Have the kernel find out that the other end is gone: idle for 25 s, or 20 s with data unacknowledged."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

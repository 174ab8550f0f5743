"""The called end: POST /peer/v1/exchange over mutual TLS 1.3, and nothing else.

A connection's life: a share of the door, before it costs more than a socket; the handshake, in 5 s; who it
is, by its certificate and the table of pins as it is now; then request after request, each bounded in time
and size. A client without a certificate has one request, a small one, and the handler is told that nobody
vouches for it. One connection is one task: whatever goes wrong in it ends with it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import h11
import structlog

from intertie.federation.http_stream import MAX_HEADER, Gone, HttpStream, TooLarge, head_size, length, watch
from intertie.federation.peer_door import Door, Guest, Limits, source_of
from intertie.federation.transport import MAX_BODY, PATH, Caller, Handler
from intertie.federation.trust import Identity, Trust
from intertie.model.errors import Forbidden, IntertieError, Unauthenticated, Unavailable

log = structlog.get_logger()

_STATUS: dict[type[IntertieError], int] = {Unauthenticated: 401, Forbidden: 403, Unavailable: 503}
_OUT_OF = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listen(
    host: IPv4Address | IPv6Address | None, port: int, options: tuple[int, ...] = (socket.SO_REUSEADDR,)
) -> socket.socket:
    """A listening TCP socket; None: every address, of both IP versions where the machine has both. `options` of
    SOL_SOCKET are switched on before it is bound: with SO_REUSEPORT several processes of a user share the port, and
    each new connection goes to one that lives.

    Raises OSError. Connections queue in it until it is served.
    """
    family = socket.AF_INET6 if host is None or host.version == 6 else socket.AF_INET
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if host is not None:
            raise
        return listen(IPv4Address(0), port, options)
    try:
        for option in options:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host is not None))
        sock.bind((str(host) if host is not None else "", port))
        sock.listen(512)
    except OSError:
        sock.close()
        # IPv6 can also be compiled in and switched off, and then only binding says so.
        if host is None and family == socket.AF_INET6:
            return listen(IPv4Address(0), port, options)
        raise
    sock.setblocking(False)
    return sock


async def arrivals(listening: socket.socket) -> AsyncIterator[tuple[socket.socket, Any]]:
    """Every connection that comes, and its address: for ever, also when the machine is short of something."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            yield await loop.sock_accept(listening)
        except OSError as error:
            if error.errno in _OUT_OF:
                # The next connection is still waiting, so without a pause this would spin.
                log.warning("not accepted", error=str(error))
                await asyncio.sleep(0.5)


class PeerServer:
    def __init__(self, trust: Trust, limits: Limits) -> None:
        self.door = Door(limits)
        self._trust = trust
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, sockets: Iterable[socket.socket], handler: Handler) -> None:
        """Answer on these listening sockets until cancelled; closes them then, and every connection."""
        sockets = list(sockets)
        try:
            async with asyncio.TaskGroup() as group:
                for sock in sockets:
                    sock.setblocking(False)
                    group.create_task(self._accept(sock, handler))
        finally:
            for sock in sockets:
                sock.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, name: str) -> None:
        """Break every connection of that peer at once; what a call in progress answers reaches nobody."""
        for guest in self.door.of(name):
            guest.abort()

    async def _accept(self, listening: socket.socket, handler: Handler) -> None:
        loop = asyncio.get_running_loop()
        async for sock, address in arrivals(listening):
            guest = Guest(source_of(address[0]), sock.close)
            if not self.door.opens(guest.source, loop.time()):
                sock.close()
                continue
            task = loop.create_task(self._receive(sock, guest, handler))
            # At first there is no transport to abort: ending the task ends the handshake.
            guest.abort = partial(_cancel, task)
            self.door.enter(guest)
            self._tasks.add(task)
            task.add_done_callback(partial(self._ended, sock))

    def _ended(self, sock: socket.socket, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        sock.close()
        if not task.cancelled() and (error := task.exception()):
            log.error("peer-call-crashed", exc_info=error)

    async def _receive(self, sock: socket.socket, guest: Guest, handler: Handler) -> None:
        """The whole life of one connection."""
        stream = None
        try:
            watch(sock)
            stream, shown = await self._shake_hands(sock)
            guest.abort = stream.abort
            conversation = _Conversation(stream, self.door, handler)
            if shown is None:
                await conversation.with_stranger(guest)
            else:
                identity = self._trust.identify(shown)
                self.door.recognise(guest, identity.caller.name)
                await conversation.with_peer(self._trust, identity)
        except Forbidden as error:
            log.warning("peer-refused", source=str(guest.source), why=error.detail)
        except (OSError, Gone):
            # Rude, slow or gone: nothing to say, and nobody to say it to.
            pass
        finally:
            self.door.leave(guest)
            if stream is not None:
                stream.abort()

    async def _shake_hands(self, sock: socket.socket) -> tuple[HttpStream, bytes | None]:
        """The stream, and the certificate that the client showed and proved to hold the key of."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            sock,
            ssl=self._trust.server_context(),
            ssl_handshake_timeout=self._limits.handshake,
            ssl_shutdown_timeout=1.0,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        shown = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return HttpStream(reader, writer, h11.SERVER), shown


class _No(Exception):
    """A request is refused, and the connection with it."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.words = words


class _Conversation:
    """Requests and replies on one connection."""

    def __init__(self, stream: HttpStream, door: Door, handler: Handler) -> None:
        self._stream = stream
        self._door = door
        self._limits = door.limits
        self._handler = handler

    async def with_stranger(self, guest: Guest) -> None:
        """Nobody vouches for it: one request, to join."""
        try:
            async with asyncio.timeout(self._limits.join):
                body = await self._read(self._limits.join_body, partial(_welcome, self._door, guest))
            if await self._answer(None, body):
                self._door.joined(guest)
        except _No as no:
            await self._refuse(no)
        await self._stream.finish(self._limits.reply)

    async def with_peer(self, trust: Trust, identity: Identity) -> None:
        """A pinned site may ask again and again, for as long as it is trusted."""
        try:
            while await self._turn(trust, identity):
                self._stream.http.start_next_cycle()
        except _No as no:
            await self._refuse(no)
        await self._stream.finish(self._limits.reply)

    async def _turn(self, trust: Trust, identity: Identity) -> bool:
        """One request and its reply; whether another may follow."""
        async with asyncio.timeout(self._limits.idle):
            await self._stream.wait()
        loop, name = asyncio.get_running_loop(), identity.caller.name
        # Not read meanwhile, what it sends fills its own buffers and nobody else's time.
        await asyncio.sleep(self._door.turn(name, loop.time()))
        body = await self._read(MAX_BODY)
        self._door.called(name, len(body), loop.time())
        # Asked at every call: it may have been forgotten since, or its certificate have run out.
        if not trust.holds(identity):
            raise Gone
        await self._answer(identity.caller, body)
        return self._stream.reusable

    async def _read(self, largest: int, first: Callable[[], None] | None = None) -> bytes:
        """The body of the next request; `first` may refuse it by its head alone. Raises _No, or Gone."""
        try:
            async with asyncio.timeout(self._limits.head):
                head = await self._stream.event()
            if not isinstance(head, h11.Request):
                raise Gone
            _check(head, largest)
            if first is not None:
                first()
            async with asyncio.timeout(self._limits.body):
                return await self._stream.body(largest)
        except TooLarge as error:
            raise _No(413, f"more than {largest} octets") from error
        except h11.RemoteProtocolError as error:
            raise _No(error.error_status_hint, "not HTTP/1.1 as it should be") from error

    async def _answer(self, caller: Caller | None, body: bytes) -> bool:
        """Have the handler answer, and send what it says; whether that was more than a refusal."""
        try:
            reply = await self._handler(caller, body)
        except IntertieError as error:
            # By the family: a full disk is an Unavailable of its own name.
            status = next((number for family, number in _STATUS.items() if isinstance(error, family)), 422)
            await self._send(status, f"{error.code}: {error.detail}".encode())
            return False
        except OSError as error:
            # Not the connection's: must not pass for a client that went away.
            raise RuntimeError("the handler of peer calls failed") from error
        if len(reply) > MAX_BODY:
            raise ValueError(f"a reply of {len(reply)} octets is too large")
        await self._send(200, reply)
        return True

    async def _refuse(self, no: _No) -> None:
        """Say no, and give the client a moment to stop talking and hear it."""
        if self._stream.http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(no.status, no.words.encode(), ("connection", "close"))
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.linger):
                    await self._stream.discard()

    async def _send(self, status: int, body: bytes, *more: tuple[str, str]) -> None:
        head = h11.Response(status_code=status, headers=[("content-length", str(len(body))), *more])
        async with asyncio.timeout(self._limits.reply):
            await self._stream.send(head, body)


def _welcome(door: Door, guest: Guest) -> None:
    if not door.may_join(guest, asyncio.get_running_loop().time()):
        raise _No(429, "too many joins came to nothing: try again later")


def _check(head: h11.Request, largest: int) -> None:
    if head_size(head) > MAX_HEADER:
        raise _No(431, f"a head of more than {MAX_HEADER} octets")
    if head.target != PATH.encode():
        raise _No(404, "nothing here")
    if head.method != b"POST":
        raise _No(405, "POST only")
    if (length(head) or 0) > largest:
        raise _No(413, f"more than {largest} octets")


def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()

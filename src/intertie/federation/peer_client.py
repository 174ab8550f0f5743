"""The calling end: one warm connection a peer, and a second one while the first is held open.

A call is written once. A warm connection is looked at before it is used, and if its other end has closed it,
or its certificates have run out, or the pin has changed, a fresh one takes its place: nothing was sent yet.
From the first octet on the call may have been delivered, and whatever breaks after that is Unavailable.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime

import h11

from intertie.federation.http_stream import Gone, HttpStream, TooLarge, watch
from intertie.federation.transport import MAX_BODY, PATH, PeerAddress, parse_address
from intertie.federation.trust import Clock, Identity, Trust
from intertie.model.errors import Forbidden, Refused, Unavailable

PER_PEER = 2
HANDSHAKE = 10.0
"""Seconds; a call's own timeout may be shorter."""
IDLE = 240.0
"""Seconds; shorter than the serving end's, so that the two do not meet in the middle."""


@dataclass(eq=False, slots=True)
class _Connection:
    peer: PeerAddress
    stream: HttpStream
    socket: socket.socket
    identity: Identity | None
    """None on a join's connection, which serves one call."""
    until: datetime
    """When it is retired, well before either certificate ends."""
    used: float = 0.0


@dataclass(eq=False, slots=True)
class _Line:
    """What leads to one peer: the turns to take, and the connections."""

    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PER_PEER))
    idle: list[_Connection] = field(default_factory=list)
    busy: set[_Connection] = field(default_factory=set)


class _Denied(Forbidden):
    """The peer proved who it is, and answered no."""


class PeerClient:
    def __init__(self, trust: Trust, clock: Clock) -> None:
        self._trust = trust
        self._clock = clock
        self._lines: dict[str, _Line] = {}
        self._joining: set[_Connection] = set()

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        """See PeerTransport.call. Raises also Refused(too-large) for a body over 4 MiB, which is never sent."""
        if len(body) > MAX_BODY:
            raise Refused(f"a call of {len(body)} octets is too large", code="too-large")
        try:
            async with asyncio.timeout(timeout):
                if peer.join_key:
                    return await self._join(peer, body)
                return await self._call(peer, body)
        except TimeoutError as error:
            # With a number it is the kernel's, which has lost sight of the peer's machine.
            raise _silent(peer, error.strerror or f"no reply within {timeout:g} s") from error
        except (OSError, Gone, TooLarge, h11.RemoteProtocolError) as error:
            raise _silent(peer, _words(error)) from error
        except _Denied as error:
            if peer.join_key:
                raise Forbidden(f"{peer.name} does not let this site in: {error.detail}", hint=error.hint) from error
            raise _silent(peer, error.detail, error.hint) from error
        except Forbidden as error:
            raise _silent(peer, error.detail, error.hint) from error

    def cut(self, name: str) -> None:
        """Break every connection to that peer, calls in flight included."""
        line = self._lines.get(name, _Line())
        joins = {c for c in self._joining if c.peer.name == name}
        for connection in [*line.idle, *line.busy, *joins]:
            connection.stream.abort()
        line.idle.clear()

    def close(self) -> None:
        """Break every connection."""
        for name in [*self._lines, *{c.peer.name for c in self._joining}]:
            self.cut(name)

    async def _call(self, peer: PeerAddress, body: bytes) -> bytes:
        if not self._trust.pinned(peer):
            raise Forbidden(f"{peer.name} is not pinned with this root")
        line = self._lines.setdefault(peer.name, _Line())
        async with line.turns:
            connection = self._warm(line, peer) or await self._open(peer)
            line.busy.add(connection)
            try:
                reply = await _exchange(connection, body)
            except BaseException:
                # Also when cancelled: the reply to this call must not become the reply to the next.
                connection.stream.abort()
                raise
            finally:
                line.busy.discard(connection)
            self._keep(line, connection)
            return reply

    async def _join(self, peer: PeerAddress, body: bytes) -> bytes:
        connection = await self._open(peer)
        self._joining.add(connection)
        try:
            return await _exchange(connection, body)
        finally:
            self._joining.discard(connection)
            connection.stream.abort()

    def _warm(self, line: _Line, peer: PeerAddress) -> _Connection | None:
        """An idle connection that nothing speaks against, the latest used first."""
        while line.idle:
            connection = line.idle.pop()
            if connection.peer == peer and self._fresh(connection) and _quiet(connection):
                return connection
            connection.stream.abort()
        return None

    def _fresh(self, connection: _Connection) -> bool:
        trusted = connection.identity is not None and self._trust.holds(connection.identity)
        idle = asyncio.get_running_loop().time() - connection.used
        return trusted and idle < IDLE and self._clock() < connection.until

    def _keep(self, line: _Line, connection: _Connection) -> None:
        if connection.stream.reusable:
            connection.stream.http.start_next_cycle()
            connection.used = asyncio.get_running_loop().time()
            line.idle.append(connection)
        else:
            connection.stream.abort()

    async def _open(self, peer: PeerAddress) -> _Connection:
        """A new connection to the peer, which has proved that it is the peer."""
        host, port = parse_address(peer.address)
        context = self._trust.join_context() if peer.join_key else self._trust.client_context()
        # No server name: it would tell the path between two sites who they are.
        reader, writer = await asyncio.open_connection(
            host,
            port,
            ssl=context,
            server_hostname="",
            ssl_handshake_timeout=HANDSHAKE,
            ssl_shutdown_timeout=2.0,
        )
        try:
            tls = writer.get_extra_info("ssl_object")
            identity = self._identify(tls.getpeercert(binary_form=True) or b"", peer)
        except Forbidden:
            writer.transport.abort()
            raise
        sock = writer.get_extra_info("socket")
        watch(sock)
        until = self._clock() + self._trust.connection_life
        return _Connection(peer, HttpStream(reader, writer, h11.CLIENT), sock, identity, until)

    def _identify(self, shown: bytes, peer: PeerAddress) -> Identity | None:
        if peer.join_key:
            self._trust.identify_inviter(shown, peer)
            return None
        # Asked again, because the table may have changed during the handshake.
        identity = self._trust.identify(shown)
        if identity.caller.name != peer.name or not self._trust.pinned(peer):
            raise Forbidden(f"{identity.caller.name} answers at {peer.address}, and not {peer.name}")
        return identity


async def _exchange(connection: _Connection, body: bytes) -> bytes:
    """One request and its reply."""
    stream = connection.stream
    headers = [("host", connection.peer.address), ("content-length", str(len(body)))]
    await stream.send(h11.Request(method="POST", target=PATH, headers=headers), body)
    head = await stream.event()
    while isinstance(head, h11.InformationalResponse):
        head = await stream.event()
    if not isinstance(head, h11.Response):
        raise Gone
    reply = await stream.body(MAX_BODY)
    if head.status_code != 200:
        words = reply[:500].decode("utf-8", errors="replace")
        raise _Denied(f"it answered {head.status_code}: {words}")
    return reply


def _quiet(connection: _Connection) -> bool:
    """Whether the connection is open and nothing waits to be read: when idle, that could only be its end.

    The kernel is asked too, because the event loop may not have come round to seeing the end yet.
    """
    if connection.stream.closing:
        return False
    poll = select.poll()
    poll.register(connection.socket.fileno(), select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, TooLarge):
        return f"its reply is larger than {MAX_BODY} octets"
    if isinstance(error, Gone | h11.RemoteProtocolError | ConnectionResetError | BrokenPipeError | ssl.SSLError):
        return "it closed the connection without a reply"
    return str(error)


def _silent(peer: PeerAddress, why: str, hint: str = "") -> Unavailable:
    return Unavailable(
        f"{peer.name} did not answer at {peer.address}: {why}",
        code="owner-silent",
        hint=hint,
        sites=(peer.name,),
    )

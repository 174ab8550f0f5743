"""A TCP proxy that stands between peers and spoils what passes, one direction of one pair at a time.

    caller ──► [listening socket of TARGET] ─ octets SOURCE→TARGET ─► TARGET
                                           ◄─ octets TARGET→SOURCE ─

It listens once for every target; who calls is told by the source address. A fault belongs to a *way*, an ordered pair
of names, and holds for every connection between the two, whoever opened it, from the moment it is set until it is
lifted. It knows nothing of TLS or of what is said: it moves octets.

What a real network does to a connection that lost octets is kept up: it stays lost, also after the fault is lifted
(there is nobody to send them again), and whoever speaks into it then is reset. What is clogged is only held, and goes
on in order when the clog is lifted; links clogged together may be lifted in any order.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

Way = tuple[str, str]
"""(from whom, to whom) octets go."""

_CHUNK = 1 << 16
_TICKS = 20
"""Pieces a second in which a slow way lets octets pass."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: the kernel sends a reset in place of an orderly end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to octets that go one way."""

    delay: float = 0.0
    """Seconds by which whatever is sent comes later."""
    rate: float = 0.0
    """Octets a second; 0: as fast as they come."""
    cut: bool = False
    """Swallowed. Nobody hears of it, and connections that lost octets stay lost."""
    clog: bool = False
    """Held until the fault is lifted."""
    half_open: bool = False
    """The sender's end (FIN or reset) is not passed on: the other side believes in the connection."""
    reset_after: int | None = None
    """After so many octets more of a connection, both its ends are reset."""


@dataclass(slots=True)
class Traffic:
    """What went one way so far."""

    connections: int = 0
    """Opened by the way's source."""
    turns: int = 0
    """How often the source of the way, having opened the connection, began to speak: calls, and one a handshake."""
    octets: int = 0
    swallowed: int = 0
    resets: int = 0


SOUND = Fault()


@dataclass(eq=False, slots=True)
class _End:
    """One of a connection's two ends, as the proxy holds it."""

    name: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    lost: bool = False
    """Octets from here were swallowed."""
    gone: bool = False
    """It closed, and the other end was not told."""
    counted: Fault = SOUND
    passed: int = 0
    """Octets from here since the fault `counted` was set."""

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.writer.transport.abort()


@dataclass(eq=False, slots=True)
class _Connection:
    caller: _End
    target: _End
    speaker: str = ""

    def reset(self) -> None:
        self.caller.reset()
        self.target.reset()


class FaultProxy:
    """See the module's docstring. All methods belong to the event loop that serves."""

    def __init__(self, name_of: Callable[[str], str]) -> None:
        """`name_of`: who calls from a source address."""
        self._name_of = name_of
        self._faults: dict[Way, Fault] = {}
        self._changed = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._live: set[_Connection] = set()
        self.traffic: defaultdict[Way, Traffic] = defaultdict(Traffic)

    async def listen(self, target: str, sock: socket.socket, host: str, port: int) -> None:
        """Pass on to `target`, at host and port, whatever connects to the listening socket."""

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            caller = _End(self._name_of(writer.get_extra_info("peername")[0]), reader, writer)
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            with suppress(asyncio.CancelledError):  # by `close` alone, and asyncio's own server complains of it
                await self._serve(caller, target, host, port)

        self._servers.append(await asyncio.start_server(accepted, sock=sock))

    async def close(self) -> None:
        """Stop listening and reset what is open."""
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────

    def set(self, source: str, target: str, fault: Fault) -> None:
        """From now on this happens to what goes from `source` to `target`, and nothing else."""
        self._faults[source, target] = fault
        self._ring()

    def lift(self, *ways: Way) -> None:
        """End the faults of these ways; of all, if none is named."""
        for way in ways or tuple(self._faults):
            self._faults.pop(way, None)
        self._ring()

    def break_off(self, one: str, other: str) -> int:
        """Reset all connections between the two now; how many."""
        found = [c for c in self._live if {c.caller.name, c.target.name} == {one, other}]
        for connection in found:
            connection.reset()
        return len(found)

    def _fault(self, source: str, target: str) -> Fault:
        return self._faults.get((source, target), SOUND)

    def _ring(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # ── Connections ────────────────────────────────────────────────────────────────────────────────────────

    async def _serve(self, caller: _End, target: str, host: str, port: int) -> None:
        """The whole life of one connection."""
        self.traffic[caller.name, target].connections += 1
        connection: _Connection | None = None
        try:
            # While the way is cut the caller's kernel would knock again and again: nothing is lost of that.
            while self._fault(caller.name, target).cut or self._fault(caller.name, target).clog:
                await self._changed.wait()
            reader, writer = await self._reach(caller, target, host, port)
            connection = _Connection(caller, _End(target, reader, writer))
            self._live.add(connection)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(connection, connection.caller, connection.target))
                both.create_task(self._pump(connection, connection.target, connection.caller))
        except* OSError:
            pass  # an end was reset, or the target cannot be reached: what is left is reset too
        finally:
            caller.reset()
            if connection is not None:
                connection.reset()
                self._live.discard(connection)

    async def _reach(
        self, caller: _End, target: str, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the target. That it refuses is not heard by a caller to whom nothing of it comes."""
        try:
            return await asyncio.open_connection(host, port)
        except OSError:
            back = self._fault(target, caller.name)
            if back.cut or back.half_open:
                await self._swallow(caller, target)
            raise

    async def _swallow(self, end: _End, other: str) -> None:
        """Nothing of what `end` says reaches anybody, until it gives up."""
        with suppress(OSError):
            while data := await end.reader.read(_CHUNK):
                self.traffic[end.name, other].swallowed += len(data)

    async def _pump(self, connection: _Connection, source: _End, target: _End) -> None:
        """Move octets one way until the source ends. OSError when the connection is over for both."""
        try:
            while data := await source.reader.read(_CHUNK):
                await self._pass(connection, source, target, data)
        except OSError:
            if not self._hidden(source, target):
                raise
        if self._hidden(source, target):
            source.gone = True
            return
        if target.gone:
            raise ConnectionResetError
        with suppress(OSError):
            target.writer.write_eof()

    def _hidden(self, source: _End, target: _End) -> bool:
        """Whether the target hears nothing of the source's end."""
        fault = self._fault(source.name, target.name)
        return fault.half_open or fault.cut

    async def _pass(self, connection: _Connection, source: _End, target: _End, data: bytes) -> None:
        """Do to `data` what the way's fault says."""
        traffic = self.traffic[source.name, target.name]
        if source is connection.caller and connection.speaker != source.name:
            traffic.turns += 1
        connection.speaker = source.name
        await self._hold(source.name, target.name)
        fault = self._fault(source.name, target.name)
        if fault.delay:
            await asyncio.sleep(fault.delay)
            await self._hold(source.name, target.name)
            fault = self._fault(source.name, target.name)
        source.lost = source.lost or fault.cut
        if target.gone and not self._hidden(target, source):
            raise ConnectionResetError
        if source.lost or target.gone:
            traffic.swallowed += len(data)
            return
        if fault is not source.counted:
            source.counted, source.passed = fault, 0
        if fault.reset_after is not None and source.passed + len(data) > fault.reset_after:
            await self._forward(target, data[: fault.reset_after - source.passed], fault)
            traffic.resets += 1
            raise ConnectionResetError
        source.passed += len(data)
        traffic.octets += len(data)
        await self._forward(target, data, fault)

    async def _forward(self, target: _End, data: bytes, fault: Fault) -> None:
        piece = max(1, int(fault.rate / _TICKS)) if fault.rate else len(data)
        for start in range(0, len(data), piece or 1):
            part = data[start : start + piece]
            if fault.rate:
                await asyncio.sleep(len(part) / fault.rate)
            target.writer.write(part)
            await target.writer.drain()

    async def _hold(self, source: str, target: str) -> None:
        while self._fault(source, target).clog:
            await self._changed.wait()

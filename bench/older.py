"""The shape of the older tool (DIMINET): to make one service, a site asks every other one three things, verify,
create, refresh, each an HTTP request on a connection of its own: one after the other, or each of the three to all at
once.

The far end answers at once and keeps nothing, so what is measured is the shape, at its cheapest. A fresh connection
is a round trip for TCP, one for TLS 1.3 (RFC 8446 section 2), and one for the request.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from time import perf_counter

from bench.loopback import LIMITS, Lag
from intertie.federation.keys import create
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.transport import Caller, PeerAddress

PHASES = 3
REQUEST = b'{"type":"L2","params":["10.200.0.0/16"],"global":"f0f1a2","resources":["s1","s2"]}' * 6
TIMEOUT = 60.0


def _now() -> datetime:
    return datetime.now(UTC)


async def _answer(caller: Caller | None, body: bytes) -> bytes:
    return body


class Older:
    """A site that asks, and those that answer."""

    def __init__(self, directory: Path, count: int, lag: Lag) -> None:
        self._lag = lag
        self._servers: list[TlsTransport] = []
        self._tasks: list[asyncio.Task[None]] = []
        key = create(directory / "asker", "asker")
        self._asker = TlsTransport(key, _now, limits=LIMITS)
        self.others: list[PeerAddress] = []
        for number in range(2, count + 1):
            root = create(directory / f"o{number}", f"o{number}")
            sock = listen(IPv4Address("127.0.0.1"), 0)
            server = TlsTransport(root, _now, [sock], limits=LIMITS)
            server.trust({"asker": key.root.der})
            self._servers.append(server)
            address = f"127.0.0.1:{sock.getsockname()[1]}"
            self.others.append(PeerAddress(name=root.name, address=address, root=root.root.der))
        self._asker.trust({peer.name: peer.root for peer in self.others})

    def start(self) -> None:
        self._tasks = [asyncio.create_task(server.serve(_answer)) for server in self._servers]

    async def ask(self, peer: PeerAddress) -> None:
        """One request on a connection of its own."""
        await asyncio.sleep(self._lag.rtt * 2.5)
        await self._asker.call(peer, REQUEST, TIMEOUT)
        self._asker.cut(peer.name)
        await asyncio.sleep(self._lag.rtt * 0.5)

    async def serial(self) -> float:
        """Seconds."""
        begun = perf_counter()
        for _ in range(PHASES):
            for peer in self.others:
                await self.ask(peer)
        return perf_counter() - begun

    async def waves(self) -> float:
        """Seconds."""
        begun = perf_counter()
        for _ in range(PHASES):
            await asyncio.gather(*(self.ask(peer) for peer in self.others))
        return perf_counter() - begun

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._asker.close()

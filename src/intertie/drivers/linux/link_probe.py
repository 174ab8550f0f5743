"""Link probes: does the underlay carry packets between two endpoints? UDP port 7577, a nonce there and back.

    "itp1" | 1 request, 2 reply | 3 octets of zero | 64-bit nonce

A reply is as long as its request, so that nobody is helped by forging a request's source; a nonce that was not sent
from here is ignored. What comes back proves the path and a living agent, nothing about any Vpn.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import time
from typing import cast

from intertie.model.bodies import Address

PORT = 7577
_FORMAT = struct.Struct("!4sB3xQ")
_MAGIC, _REQUEST, _REPLY = b"itp1", 1, 2


class LinkProbes(asyncio.DatagramProtocol):
    """Asks and answers on one socket, bound to the site's underlay address."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[int, asyncio.Future[float]] = {}

    async def open(self, address: Address, port: int = PORT) -> None:
        """Bind. OSError if the address is not this machine's or the port is taken."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        await loop.create_datagram_endpoint(lambda: self, local_addr=(str(address), port), family=family)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    async def probe(self, address: Address, timeout: float) -> float | None:
        """RTT in ms to the agent at `address`; None if nothing came back."""
        if self._transport is None:
            return None
        nonce = secrets.randbits(64)
        answer: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting[nonce] = answer
        begun = time.perf_counter()
        try:
            self._transport.sendto(_FORMAT.pack(_MAGIC, _REQUEST, nonce), (str(address), PORT))
            async with asyncio.timeout(timeout):
                return (await answer - begun) * 1000
        except TimeoutError:
            return None
        finally:
            del self._waiting[nonce]

    # asyncio.DatagramProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not isinstance: uvloop's transport has the methods, not the class.
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        if len(data) != _FORMAT.size or self._transport is None:
            return
        magic, kind, nonce = _FORMAT.unpack(data)
        if magic != _MAGIC:
            return
        if kind == _REQUEST:
            self._transport.sendto(_FORMAT.pack(_MAGIC, _REPLY, nonce), source)
        elif kind == _REPLY and (waiting := self._waiting.get(nonce)) is not None and not waiting.done():
            waiting.set_result(time.perf_counter())

    def error_received(self, exc: Exception) -> None:
        """ICMP errors: the probe's silence says as much."""


class SharedLinkProbes(LinkProbes):
    """Of one of several agents at one address: they share the port where they are asked, and any of them answers;
    each asks from a port of its own, so that the answer comes to who asked."""

    def __init__(self) -> None:
        super().__init__()
        self._door: asyncio.DatagramTransport | None = None

    async def open(self, address: Address, port: int = PORT) -> None:
        await super().open(address, 0)
        loop = asyncio.get_running_loop()
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        place = (str(address), port)
        self._door, _ = await loop.create_datagram_endpoint(
            LinkProbes, local_addr=place, family=family, reuse_port=True
        )

    def close(self) -> None:
        super().close()
        if self._door is not None:
            self._door.close()

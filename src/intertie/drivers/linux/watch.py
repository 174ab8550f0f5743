"""What the kernel says has changed, in several namespaces at once: devices, addresses, routes, static neighbour and
forwarding entries, and nf_tables tables.

The news is only *where* to look: a device's index, or a table's name. What was learnt from traffic is no news.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

from intertie.drivers.linux import nfnetlink
from intertie.drivers.linux.netns import Namespaces, Netns

ROUTE, NETFILTER, NFTABLES_GROUP = 0, 12, 7
GROUPS = 0x1 | 0x4 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_ LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE."""
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
LINKS, ADDRESSES, ROUTES, NEIGHBOURS = (16, 17), (20, 21), (24, 25), (28, 29)
STATIC = 0xC0
RTA_OIF, ROUTE_HEADER = 4, 12
GENERATION = nfnetlink.SUBSYSTEM << 8 | 15

Where = tuple[Netns | None, int | str]
"""(namespace, a device's index or a table's name); "" for "anything there": news was lost."""


class Watch:
    """Follow namespaces, and iterate. One reader; `close` ends the iteration."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._sockets: dict[Netns | None, tuple[socket.socket, ...]] = {}
        self._news: asyncio.Queue[Where | None] = asyncio.Queue()

    async def follow(self, ns: Netns | None) -> None:
        """Hear of this namespace too. FileNotFoundError if it is not there."""
        if ns in self._sockets:
            return
        opened = await self._namespaces.run(ns, _listen)
        if ns in self._sockets:
            for each in opened:
                each.close()
            return
        self._sockets[ns] = opened
        for each in opened:
            asyncio.get_running_loop().add_reader(each, self._readable, ns, each)

    def leave(self, ns: Netns | None) -> None:
        """Hear no more of it: a namespace lives for as long as a socket is open in it."""
        for each in self._sockets.pop(ns, ()):
            asyncio.get_running_loop().remove_reader(each)
            each.close()

    def followed(self) -> tuple[Netns | None, ...]:
        return tuple(self._sockets)

    def close(self) -> None:
        for ns in list(self._sockets):
            self.leave(ns)
        self._news.put_nowait(None)

    async def news(self) -> AsyncIterator[Where]:
        """The same place twice in a row is told once."""
        while (where := await self._news.get()) is not None:
            seen = {where}
            with suppress(asyncio.QueueEmpty):
                while (more := self._news.get_nowait()) is not None:
                    seen.add(more)
            for each in sorted(seen, key=str):
                yield each

    def _readable(self, ns: Netns | None, opened: socket.socket) -> None:
        try:
            data = opened.recv(1 << 17)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._news.put_nowait((ns, ""))
            return
        for place in _places(data):
            self._news.put_nowait((ns, place))


def _listen() -> tuple[socket.socket, ...]:
    """Sockets in the calling thread's namespace."""
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, ROUTE)
    rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETFILTER)
    try:
        route.bind((0, GROUPS))
        rules.bind((0, 0))
        rules.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFTABLES_GROUP)
    except OSError:
        route.close()
        rules.close()
        raise
    return route, rules


def _places(data: bytes) -> Iterator[int | str]:
    while len(data) >= nfnetlink.HEADER.size:
        length, kind, _, _, _ = nfnetlink.HEADER.unpack_from(data)
        body = data[nfnetlink.HEADER.size : length]
        data = data[(length + 3) & ~3 :]
        place = _place(kind, body)
        if place is not None:
            yield place


def _place(kind: int, body: bytes) -> int | str | None:
    if kind in LINKS or kind in ADDRESSES:
        return int(struct.unpack_from("=i", body, 4)[0])
    if kind in NEIGHBOURS:
        index, state = struct.unpack_from("=iH", body, 4)
        return int(index) if state & STATIC else None
    if kind in ROUTES:
        out = nfnetlink.fields(body[ROUTE_HEADER:]).get(RTA_OIF)
        return int(struct.unpack("=i", out)[0]) if out else None
    if kind >> 8 == nfnetlink.SUBSYSTEM and kind != GENERATION:
        name = nfnetlink.fields(body[4:]).get(1)
        return nfnetlink.string(name) if name else None
    return None

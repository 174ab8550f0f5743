"""Reading the kernel's network state: links, addresses, routes, neighbours, and the news of links.

Observation is most of what a driver does, over thousands of links, and must cost microseconds for each: this is
a small reader of rtnetlink(7) that decodes only what is used. Writing is rare and is pyroute2's.

A `Reader` belongs to the namespace of the thread that opens it: open it inside `Namespaces.run`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_interface
from types import TracebackType

from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.bodies import Address
from intertie.model.items import Interface

NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_GETADDR, RTM_GETROUTE, RTM_GETNEIGH = 22, 26, 30
RTMGRP_LINK = 1
SOL_NETLINK, NETLINK_GET_STRICT_CHK = 270, 12

IFF_UP = 1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_IFALIAS, IFLA_AF_SPEC, IFLA_EXT_MASK, IFLA_PROP_LIST, IFLA_ALT_IFNAME = 20, 26, 29, 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA = 1, 2
IFLA_INET6_CONF, DEVCONF_DISABLE_IPV6 = 2, 26
SKIP_STATISTICS = 8
IFLA_BR_STP_STATE, IFLA_BR_MCAST_SNOOPING = 5, 23

IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_PERMANENT = 0x80
SCOPE_UNIVERSE = 0
RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 4, 5, 6
RT_TABLE_MAIN = 254
NDA_DST, NDA_LLADDR, NDA_PORT, NDA_IFINDEX = 1, 2, 6, 8

NLA_TYPE_MASK = 0x3FFF
BUFFER = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network device. `master` is the index of its bridge, 0 for none; `ipv6` is False where it is disabled."""

    index: int
    name: str
    kind: str = ""
    """"" for a device without one: hardware, loopback."""
    up: bool = False
    mtu: int = 0
    mac: str = ""
    alias: str = ""
    altnames: tuple[str, ...] = ()
    master: int = 0
    ipv6: bool = True
    info: bytes = b""
    """The attributes of its kind as they came (IFLA_BR_* for a bridge): few readers want them."""

    def number(self, kind: int) -> int:
        """An attribute of the device's kind, as a number; 0 when it is not there."""
        return next((_number(value) for which, value in attributes(self.info) if which == kind), 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldAddress:
    """An address on a device. `permanent` is False for one that was learnt (SLAAC)."""

    index: int
    interface: Interface
    scope: int
    permanent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRoute:
    index: int
    gateway: Address
    protocol: int
    metric: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """An entry of a neighbour table, or of a bridge's forwarding table: which MAC is behind device `index`."""

    index: int
    mac: str
    address: Address | None
    state: int = field(default=0, compare=False)
    """NUD_* bits."""
    port: int = field(default=0, compare=False)
    """VXLAN: the UDP port there; 0: the device's own."""


class Reader:
    """A route netlink socket for dumps. Raises OSError with the kernel's errno."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self._socket.bind((0, 0))
        self._seq = 0

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def links(self) -> tuple[Link, ...]:
        """Every device of the namespace."""
        body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + attribute(IFLA_EXT_MASK, struct.pack("=I", SKIP_STATISTICS))
        return tuple(parse_link(data) for _, data in self._ask(RTM_GETLINK, body, NLM_F_DUMP))

    def link(self, name: str) -> Link | None:
        """The device of that name, None if there is none."""
        return self._link(0, attribute(IFLA_IFNAME, name.encode() + b"\0"))

    def link_at(self, index: int) -> Link | None:
        """The device of that index, None if there is none."""
        return self._link(index, b"")

    def _link(self, index: int, which: bytes) -> Link | None:
        body = struct.pack("=BxHiII", 0, 0, index, 0, 0)
        body += attribute(IFLA_EXT_MASK, struct.pack("=I", SKIP_STATISTICS)) + which
        try:
            return next((parse_link(data) for _, data in self._ask(RTM_GETLINK, body, 0)), None)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def addresses(self) -> tuple[HeldAddress, ...]:
        answers = self._ask(RTM_GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0), NLM_F_DUMP)
        return tuple(parse_address(data) for _, data in answers)

    def default_routes(self) -> tuple[DefaultRoute, ...]:
        """Routes of the main table to everywhere, through a gateway."""
        found: list[DefaultRoute] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, RT_TABLE_MAIN, 0, 0, 0, 0)
            try:
                answers = list(self._ask(RTM_GETROUTE, body, NLM_F_DUMP))
            except FileNotFoundError:  # with strict checks, a table that has never held a route
                continue
            found.extend(route for _, data in answers if (route := parse_default_route(data)) is not None)
        return tuple(found)

    def neighbours(self, family: int = 0, index: int = 0) -> tuple[Neighbour, ...]:
        """The neighbour tables; with AF_BRIDGE the forwarding tables of all bridges. `index`: of one device."""
        body = struct.pack("=BxHiHBB", family, 0, 0, 0, 0, 0)
        body += attribute(NDA_IFINDEX, struct.pack("=I", index)) if index else b""
        answers = self._ask(RTM_GETNEIGH, body, NLM_F_DUMP)
        return tuple(parse_neighbour(data) for _, data in answers)

    def _ask(self, kind: int, body: bytes, flags: int) -> Iterator[tuple[int, bytes]]:
        """The answers to one request; a dump that the kernel could not keep consistent is asked for again."""
        while True:
            self._seq += 1
            head = struct.pack("=IHHII", 16 + len(body), kind, NLM_F_REQUEST | flags, self._seq, 0)
            self._socket.send(head + body)
            answers, interrupted = self._collect(bool(flags))
            if not interrupted:
                return iter(answers)

    def _collect(self, dump: bool) -> tuple[list[tuple[int, bytes]], bool]:
        answers: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for kind, flags, data in messages(self._socket.recv(BUFFER)):
                interrupted = interrupted or bool(flags & NLM_F_DUMP_INTR)
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    number = -struct.unpack_from("=i", data)[0] if len(data) >= 4 else 0
                    if number:
                        raise OSError(number, os.strerror(number))
                    return answers, interrupted
                answers.append((kind, data))
            if not dump:
                return answers, False


async def link_news(spaces: Namespaces, ns: Netns | None = None) -> AsyncIterator[tuple[bool, Link] | None]:
    """(there, link) for each change of a link in a namespace (None: the agent's), gone ones with `there` False.

    None: the kernel had more news than the socket could hold, and some were lost; look for yourself.
    """
    sock = await spaces.run(ns, _listen)
    loop = asyncio.get_running_loop()
    try:
        while True:
            try:
                data = await loop.sock_recv(sock, BUFFER)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                yield None
                continue
            for kind, _, body in messages(data):
                if kind in (RTM_NEWLINK, RTM_DELLINK):
                    yield kind == RTM_NEWLINK, parse_link(body)
    finally:
        sock.close()


def _listen() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    sock.bind((0, RTMGRP_LINK))
    sock.setblocking(False)
    return sock


# ── The wire ───────────────────────────────────────────────────────────────────────────────────────────────


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, body) of each netlink message in what one recv gave."""
    while len(data) >= 16:
        length, kind, flags = struct.unpack_from("=IHH", data)
        if length < 16:
            return
        yield kind, flags, data[16:length]
        data = data[(length + 3) & ~3 :]


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + b"\0" * (-len(value) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, value) of each attribute; flags for nesting and byte order are taken off the type."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind & NLA_TYPE_MASK, data[4:length]
        data = data[(length + 3) & ~3 :]


def parse_link(data: bytes) -> Link:
    """An ifinfomsg with its attributes."""
    index, flags = struct.unpack_from("=iI", data, 4)
    have = dict(attributes(data[16:]))
    info = dict(attributes(have.get(IFLA_LINKINFO, b"")))
    properties = attributes(have.get(IFLA_PROP_LIST, b""))
    return Link(
        index=index,
        name=_text(have.get(IFLA_IFNAME, b"")),
        kind=_text(info.get(IFLA_INFO_KIND, b"")),
        up=bool(flags & IFF_UP),
        mtu=_number(have.get(IFLA_MTU, b"")),
        mac=have.get(IFLA_ADDRESS, b"").hex(":"),
        alias=_text(have.get(IFLA_IFALIAS, b"")),
        altnames=tuple(_text(value) for kind, value in properties if kind == IFLA_ALT_IFNAME),
        master=_number(have.get(IFLA_MASTER, b"")),
        ipv6=_has_ipv6(have.get(IFLA_AF_SPEC, b"")),
        info=info.get(IFLA_INFO_DATA, b""),
    )


def _has_ipv6(spec: bytes) -> bool:
    inet6 = dict(attributes(dict(attributes(spec)).get(socket.AF_INET6, b"")))
    settings = inet6.get(IFLA_INET6_CONF, b"")
    at = DEVCONF_DISABLE_IPV6 * 4
    return len(settings) < at + 4 or struct.unpack_from("=i", settings, at)[0] == 0


def parse_address(data: bytes) -> HeldAddress:
    """An ifaddrmsg. IFA_LOCAL is ours; IFA_ADDRESS is the other end's on a point-to-point link."""
    _, length, flags, scope, index = struct.unpack_from("=BBBBI", data)
    have = dict(attributes(data[8:]))
    address = _address(have.get(IFA_LOCAL) or have[IFA_ADDRESS])
    flags = _number(have[IFA_FLAGS]) if IFA_FLAGS in have else flags
    return HeldAddress(
        index=index,
        interface=ip_interface((address, length)),
        scope=scope,
        permanent=bool(flags & IFA_F_PERMANENT),
    )


def parse_default_route(data: bytes) -> DefaultRoute | None:
    """An rtmsg, if it is a default route through a gateway of its own family."""
    _, length, _, _, _, protocol, _, _, _ = struct.unpack_from("=BBBBBBBBI", data)
    have = dict(attributes(data[12:]))
    if length or RTA_GATEWAY not in have or RTA_OIF not in have:
        return None
    return DefaultRoute(
        index=_number(have[RTA_OIF]),
        gateway=_address(have[RTA_GATEWAY]),
        protocol=protocol,
        metric=_number(have.get(RTA_PRIORITY, b"")),
    )


def parse_neighbour(data: bytes) -> Neighbour:
    """An ndmsg."""
    index = struct.unpack_from("=i", data, 4)[0]
    have = dict(attributes(data[12:]))
    address = _address(have[NDA_DST]) if NDA_DST in have and NDA_LLADDR in have else None
    return Neighbour(
        index=index,
        mac=have.get(NDA_LLADDR, b"").hex(":"),
        address=address,
        state=struct.unpack_from("=H", data, 8)[0],
        port=int.from_bytes(have.get(NDA_PORT, b""), "big"),
    )


def _address(packed: bytes) -> Address:
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)

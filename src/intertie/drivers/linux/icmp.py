"""ICMP echo from inside a namespace: "does a packet of exactly this size arrive, and if not, what came back?"

`Pinger` keeps one raw socket an IP version in its namespace and waits for many answers at once. Packets are
never fragmented: IPv4 carries DF and the path MTU that the kernel has learnt is ignored (RFC 4821's need), so
that each call tells about the path as it is now. Sizes are those of whole IP packets, in octets.

Needs CAP_NET_RAW in the namespace, which the root of an ordinary user's namespace has. RFC 792, RFC 1191 (the
MTU in "fragmentation needed"), RFC 4443 (ICMPv6).
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import struct
import time
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType

from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.bodies import Address

HEADER = {4: 20 + 8, 6: 40 + 8}
"""Octets of the IP and ICMP headers: the smallest packet."""

ECHO = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
TOO_BIG_V4 = (3, 4)
TOO_BIG_V6 = 2
ERRORS = {4: (3, 11, 12), 6: (1, 2, 3, 4)}
"""Types that quote the packet they are about: unreachable, (v6) too big, time exceeded, parameter problem."""

SOL_RAW, ICMP_FILTER, ICMP6_FILTER = 255, 1, 1
IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU, IPV6_DONTFRAG = 10, 14, 23, 24, 62
PMTUDISC_PROBE = 3
"""Set DF, but send whatever the device takes: the cached path MTU does not decide."""


class Outcome(StrEnum):
    REPLY = "reply"
    TIMEOUT = "timeout"
    TOO_BIG = "too-big"
    """Fragmentation needed, or packet too big: `mtu` says what would pass, as whoever answered knows it."""
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What became of one packet. `rtt` in seconds; `source` is who answered, None for this machine or silence."""

    outcome: Outcome
    target: Address
    size: int
    rtt: float | None = None
    mtu: int | None = None
    source: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An ICMP message that concerns an echo of ours: `target` and `seq` name the echo."""

    outcome: Outcome
    target: Address
    seq: int
    source: Address
    mtu: int | None = None


class Pinger:
    """Sends echoes from namespace `ns` (None: the agent's own). An async context manager: it owns sockets."""

    def __init__(self, spaces: Namespaces, ns: Netns | None) -> None:
        self._spaces = spaces
        self._ns = ns
        self._sockets: dict[int, socket.socket] = {}
        self._opening = asyncio.Lock()
        self._ident = secrets.randbelow(1 << 16)
        self._seq = 0
        self._waiting: dict[tuple[Address, int], asyncio.Future[tuple[Message, float]]] = {}

    async def __aenter__(self) -> Pinger:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self._sockets.values():
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
        self._sockets.clear()

    async def ping(self, target: Address, *, size: int = 84, timeout: float = 1.0) -> Echo:
        """One echo of `size` octets, IP header included. ValueError: smaller than its headers, or too large."""
        if not HEADER[target.version] <= size <= 65535:
            raise ValueError(f"an IPv{target.version} echo has {HEADER[target.version]} to 65535 octets, not {size}")
        sock = await self._socket(target.version)
        self._seq = (self._seq + 1) & 0xFFFF
        awaited = (target, self._seq)
        answer = asyncio.get_running_loop().create_future()
        self._waiting[awaited] = answer
        try:
            sent = time.perf_counter()
            sock.sendto(echo_request(target.version, self._ident, self._seq, size), (str(target), 0))
            async with asyncio.timeout(timeout):  # not wait_for, which until 3.12 could swallow a cancellation
                message, arrived = await answer
        except TimeoutError:
            return Echo(outcome=Outcome.TIMEOUT, target=target, size=size)
        except OSError as error:
            return await self._not_sent(target, size, error)
        finally:
            del self._waiting[awaited]
        return Echo(
            outcome=message.outcome,
            target=target,
            size=size,
            rtt=arrived - sent if message.outcome is Outcome.REPLY else None,
            mtu=message.mtu,
            source=message.source,
        )

    async def _not_sent(self, target: Address, size: int, error: OSError) -> Echo:
        if error.errno == errno.EMSGSIZE:
            mtu = await self._spaces.run(self._ns, lambda: _known_mtu(target))
            return Echo(outcome=Outcome.TOO_BIG, target=target, size=size, mtu=mtu)
        if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.EINVAL):
            return Echo(outcome=Outcome.UNREACHABLE, target=target, size=size)
        raise error

    async def _socket(self, version: int) -> socket.socket:
        async with self._opening:
            if version not in self._sockets:
                sock = await self._spaces.run(self._ns, lambda: _open(version))
                self._sockets[version] = sock
                asyncio.get_running_loop().add_reader(sock, self._receive, version, sock)
            return self._sockets[version]

    def _receive(self, version: int, sock: socket.socket) -> None:
        while True:
            try:
                data, sender = sock.recvfrom(65536)
            except BlockingIOError:
                return
            except OSError:
                continue  # an error queued on the socket: the ICMP message that caused it comes as data too
            message = parse(version, data, ip_address(sender[0]), self._ident)
            answer = self._waiting.get((message.target, message.seq)) if message else None
            if message and answer and not answer.done():
                answer.set_result((message, time.perf_counter()))


async def ping(
    spaces: Namespaces,
    ns: Netns | None,
    target: Address,
    *,
    size: int = 84,
    timeout: float = 1.0,
) -> Echo:
    """One echo from `ns`, for callers that want no more than one."""
    async with Pinger(spaces, ns) as pinger:
        return await pinger.ping(target, size=size, timeout=timeout)


def echo_request(version: int, ident: int, seq: int, size: int) -> bytes:
    """The ICMP part of an IP packet of `size` octets. The kernel fills in ICMPv6's checksum, not ICMP's."""
    payload = bytes(i & 0xFF for i in range(size - HEADER[version]))
    header = struct.pack("!BBHHH", ECHO[version], 0, 0, ident, seq)
    if version == 6:
        return header + payload
    return struct.pack("!BBHHH", ECHO[version], 0, checksum(header + payload), ident, seq) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def parse(version: int, data: bytes, source: Address, ident: int) -> Message | None:
    """What a raw socket received, if it is about an echo of `ident`; IPv4 data begins with the IP header."""
    if version == 4:
        data = data[_header(data) :]
    if len(data) < 8:
        return None
    kind, code, _, rest = struct.unpack_from("!BBHI", data)
    if kind == ECHO_REPLY[version]:
        ours = rest >> 16 == ident
        return Message(outcome=Outcome.REPLY, target=source, seq=rest & 0xFFFF, source=source) if ours else None
    quoted = _quoted(version, data[8:], ident) if kind in ERRORS[version] else None
    if quoted is None:
        return None
    target, seq = quoted
    if version == 4 and (kind, code) == TOO_BIG_V4:
        return Message(outcome=Outcome.TOO_BIG, target=target, seq=seq, source=source, mtu=rest & 0xFFFF)
    if version == 6 and kind == TOO_BIG_V6:
        return Message(outcome=Outcome.TOO_BIG, target=target, seq=seq, source=source, mtu=rest)
    return Message(outcome=Outcome.UNREACHABLE, target=target, seq=seq, source=source)


def _quoted(version: int, packet: bytes, ident: int) -> tuple[Address, int] | None:
    """Target and sequence number of the echo that an ICMP error quotes, if it was ours."""
    start = 40 if version == 6 else _header(packet)
    if len(packet) < start + 8:
        return None
    kind, _, _, theirs, seq = struct.unpack_from("!BBHHH", packet, start)
    if kind != ECHO[version] or theirs != ident:
        return None
    target: Address = IPv6Address(packet[24:40]) if version == 6 else IPv4Address(packet[16:20])
    return target, seq


def _header(packet: bytes) -> int:
    """Octets of an IPv4 header (RFC 791), by its own word but at least 20: a quoted one may say anything."""
    return max((packet[0] & 0x0F) * 4, 20) if packet else 20


def _open(version: int) -> socket.socket:
    """A raw socket that hears echo replies and errors only."""
    heard = (ECHO_REPLY[version], *ERRORS[version])
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        blocked = ~sum(1 << kind for kind in heard) & 0xFFFFFFFF
        sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("=I", blocked))
        sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        masks = [~sum(1 << (k & 31) for k in heard if k >> 5 == word) & 0xFFFFFFFF for word in range(8)]
        sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *masks))
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.setblocking(False)
    return sock


def _known_mtu(target: Address) -> int | None:
    """The MTU of the way to `target` as this machine knows it: its device's, or less if it was told so."""
    family, level, option = (
        (socket.AF_INET, socket.IPPROTO_IP, IP_MTU)
        if target.version == 4
        else (socket.AF_INET6, socket.IPPROTO_IPV6, IPV6_MTU)
    )
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect((str(target), 9))
            return sock.getsockopt(level, option)
        except OSError:
            return None

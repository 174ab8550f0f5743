"""Sites with the `vxlan` driver around a backbone, and frames made by hand: what the driver's tests are built on."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any, TypeVar

from intertie.drivers.linux import nft
from intertie.drivers.linux.icmp import Outcome, Pinger
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.items import Remote, Segment
from intertie.planning.identity import segment_mac
from intertie.testing.backbone import Backbone

T = TypeVar("T")
VPN = "s1.01vpn"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
ETH_P_ALL = 3
ARP, IPV4, IPV6, PROBE = 0x0806, 0x0800, 0x86DD, 0x88B5
CONTROL = 0x88B6
"""The other experimental EtherType: nothing of ours filters it, so it shows that the way is open."""


class CountedNamespaces(Namespaces):
    """Counts what would change the kernel: route netlink commands other than dumps, and filters written."""

    writes = 0

    async def netlink(self, ns: Netns | None, fn: Callable[[Any], T]) -> T:
        return await super().netlink(ns, lambda nl: fn(_Counted(nl, self)))

    async def run(self, ns: Netns | None, fn: Callable[[], T]) -> T:
        def counted() -> T:
            kept = nft.replace, nft.delete
            nft.replace, nft.delete = (self._counting(each) for each in kept)
            try:
                return fn()
            finally:
                nft.replace, nft.delete = kept

        return await super().run(ns, counted)

    def _counting(self, change: Callable[..., None]) -> Callable[..., None]:
        def count(*arguments: Any) -> None:
            self.writes += 1
            change(*arguments)

        return count


class _Counted:
    """A netlink socket that reports its writes."""

    def __init__(self, nl: Any, spaces: CountedNamespaces) -> None:
        self._nl = nl
        self._spaces = spaces

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._nl, name)
        if name not in ("link", "addr", "route", "neigh", "fdb"):
            return method

        def call(command: str, **arguments: Any) -> Any:
            if command not in ("dump", "get"):
                self._spaces.writes += 1
            return method(command, **arguments)

        return call


class Fabric:
    """`sites` sites of the backbone, one driver each, and a host named `h<i><tag>` per site and network."""

    def __init__(self, spaces: CountedNamespaces, sites: int = 3) -> None:
        self.spaces = spaces
        self.lab = Backbone(spaces)
        self.sites = range(1, sites + 1)
        self.drivers = {i: self.driver(i) for i in self.sites}
        self.hosts: dict[tuple[int, str], Netns] = {}

    def driver(self, i: int) -> VxlanTransport:
        return VxlanTransport(
            site=f"s{i}", namespaces=self.spaces, underlay=self.lab.underlay(i), home=self.lab.site(i)
        )

    async def build(self) -> None:
        await self.lab.build(len(self.sites))

    async def network(self, i: int, tag: str, kind: VpnKind) -> None:
        """A bridge `br<tag>` and a host on it: .10·i of one network (L2), or .10 of the site's own (L3)."""
        await self.lab.bridge(i, f"br{tag}")
        if kind is VpnKind.L2:
            addresses, gateways = [f"10.0.0.{i}0/24", f"fd01::{i}0/64"], []
        else:
            addresses, gateways = [f"10.{i}.0.10/24", f"fd00:{i}::10/64"], [f"10.{i}.0.1", f"fd00:{i}::1"]
        self.hosts[i, tag] = await self.lab.host(
            i, f"br{tag}", f"h{i}{tag}", [ip_interface(a) for a in addresses], [ip_address(g) for g in gateways]
        )

    def endpoint(self, i: int, vpn: str = VPN, version: int = 4) -> Endpoint:
        return Endpoint(address=self.lab.underlay(i, version), mac=segment_mac(f"s{i}", vpn))

    def l2(self, i: int, remotes: Sequence[int], *, tag: str = "a", vni: int = 65537, version: int = 4) -> Segment:
        spans = ((f"10.0.0.{i}0", f"10.0.0.{i}9"), (f"fd01::{i}0", f"fd01::{i}f"))
        return Segment(
            vpn=VPN + tag,
            kind=VpnKind.L2,
            epoch=1,
            vni=vni,
            network=f"s{i}.net-{tag}",
            bridge=f"br{tag}",
            local=self.endpoint(i, VPN + tag, version),
            mtu=1450 if version == 4 else 1430,
            remotes=tuple(
                Remote(site=f"s{j}", endpoints=(self.endpoint(j, VPN + tag, version),)) for j in remotes if j != i
            ),
            gateways=(ip_interface(f"10.0.0.20{i}/24"),),
            ranges=tuple(Range(first=ip_address(a), last=ip_address(b)) for a, b in spans),
        )

    def l3(self, i: int, remotes: Sequence[int], *, tag: str = "a", vpn: str = "", vni: int = 7001) -> Segment:
        name = VPN + (vpn or tag)

        def remote(j: int) -> Remote:
            prefixes = (ip_network(f"10.{j}.0.0/24"), ip_network(f"fd00:{j}::/64"))
            return Remote(site=f"s{j}", endpoints=(self.endpoint(j, name),), prefixes=prefixes)

        return Segment(
            vpn=name,
            kind=VpnKind.L3,
            epoch=1,
            vni=vni,
            network=f"s{i}.net-{tag}",
            bridge=f"br{tag}",
            local=self.endpoint(i, name),
            mtu=1450,
            remotes=tuple(remote(j) for j in remotes if j != i),
            gateways=(ip_interface(f"10.{i}.0.1/24"), ip_interface(f"fd00:{i}::1/64")),
        )

    async def ensure(self, *segments: tuple[int, Segment]) -> None:
        for i, segment in segments:
            await self.drivers[i].ensure(segment)

    async def seen(self, i: int) -> list[Segment]:
        """What a driver that remembers nothing makes of the kernel."""
        found = await self.driver(i).observe(None)
        return sorted((s for s in found if isinstance(s, Segment)), key=lambda s: s.vni)

    async def pings(
        self, source: Netns, targets: Sequence[str], *, size: int = 84, timeout: float = 1.0
    ) -> list[bool]:
        async with Pinger(self.spaces, source) as pinger:
            echoes = [pinger.ping(ip_address(t), size=size, timeout=timeout) for t in targets]
            return [echo.outcome is Outcome.REPLY for echo in await asyncio.gather(*echoes)]

    async def mac(self, ns: Netns, device: str = "eth0") -> str:
        return await self.spaces.netlink(ns, lambda nl: str(nl.get_links(ifname=device)[0].get_attr("IFLA_ADDRESS")))


class Wire:
    """Raw frames on one device: sent, and heard from others (its own are not)."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened

    @classmethod
    async def open(cls, spaces: Namespaces, ns: Netns, device: str = "eth0") -> Wire:
        return cls(await spaces.run(ns, lambda: _packet_socket(device)))

    def send(self, data: bytes) -> None:
        self._socket.send(data.ljust(60, b"\0"))

    async def until(self, frame: bytes, timeout: float = 2.0) -> list[bytes]:
        """Everything heard up to `frame`, without it. TimeoutError if it does not come."""
        found: list[bytes] = []
        async with asyncio.timeout(timeout):
            while True:
                data = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
                if data[: len(frame)] == frame:
                    return found
                found.append(data)

    def close(self) -> None:
        self._socket.close()


def _packet_socket(device: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    opened.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    opened.bind((device, ETH_P_ALL))
    return opened


# ── Frames ─────────────────────────────────────────────────────────────────────────────────────────────────


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ethernet(target: str, source: str, ethertype: int, payload: bytes) -> bytes:
    return mac(target) + mac(source) + struct.pack("!H", ethertype) + payload


def control(source: str, number: int = 0) -> bytes:
    """A broadcast frame that nothing filters."""
    return ethernet(EVERYBODY, source, CONTROL, struct.pack("!Q", number))


def arp(source: str, sender: str, target: str, operation: int = 2) -> bytes:
    body = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    body += mac(source) + ip_address(sender).packed + bytes(6) + ip_address(target).packed
    return ethernet(EVERYBODY, source, ARP, body)


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0x4000, 64, protocol, 0)
    head += ip_address(source).packed + ip_address(target).packed
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def ipv6(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!IHBB", 0x60000000, len(payload), protocol, 255)
    return head + ip_address(source).packed + ip_address(target).packed + payload


def udp(source: int, target: int, payload: bytes = b"") -> bytes:
    return struct.pack("!HHHH", source, target, 8 + len(payload), 0) + payload


def icmp6(source: str, target: str, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip_address(source).packed + ip_address(target).packed + struct.pack("!II", len(message), 58)
    summed = checksum(pseudo + message)
    return ipv6(source, target, 58, message[:2] + struct.pack("!H", summed) + message[4:])


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def vxlan(vni: int, frame: bytes) -> bytes:
    """The UDP payload of RFC 7348."""
    return struct.pack("!II", 0x08000000, vni << 8) + frame

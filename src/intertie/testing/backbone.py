"""Sites around a routed backbone, in network namespaces: the ground on which every transport is tried.

    host ── bridge ── site 1 ──┐
    host ── bridge ── site 2 ──┤ backbone (routes; it is nobody's)
    host ── bridge ── site 3 ──┘

Each site has one underlay address of each IP version and reaches the others through the backbone only. Namespaces
are named `<prefix>-…` and need CAP_SYS_ADMIN, which the root of an ordinary user's namespace has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.bodies import Address
from intertie.model.items import Interface

NODAD = 0x02


class Backbone:
    def __init__(self, spaces: Namespaces, prefix: str = "lab", mtu: int = 1500) -> None:
        self.spaces = spaces
        self.prefix = prefix
        self.mtu = mtu
        self.core = Netns(f"{prefix}-core")
        self._made: list[Netns] = []

    def site(self, number: int) -> Netns:
        return Netns(f"{self.prefix}-s{number}")

    @staticmethod
    def underlay(number: int, version: int = 4) -> Address:
        """The site's underlay address."""
        if version == 4:
            return IPv4Address(f"10.255.{number}.2")
        return IPv6Address(f"fd00:255:{number}::2")

    async def build(self, sites: int) -> None:
        await self._create(self.core)
        await self.spaces.run(self.core, _forward)
        for number in range(1, sites + 1):
            await self.add_site(number)

    async def add_site(self, number: int) -> None:
        ns = self.site(number)
        await self._create(ns)
        port = f"s{number}"
        await self.cable(ns, "wan", self.core, port)
        for local, name, last in ((ns, "wan", 2), (self.core, port, 1)):
            await self.address(local, name, f"10.255.{number}.{last}", 24)
            await self.address(local, name, f"fd00:255:{number}::{last}", 64)
        for destination, gateway in (
            ("10.255.0.0/16", f"10.255.{number}.1"),
            ("fd00:255::/32", f"fd00:255:{number}::1"),
        ):
            await self.spaces.netlink(ns, _default(destination, gateway))

    async def bridge(self, number: int, name: str, mtu: int = 1500) -> None:
        """A bridge at a site, as somebody else would have made it."""

        def make(nl: IPRoute) -> None:
            nl.link("add", ifname=name, kind="bridge", mtu=mtu)
            nl.link("set", index=_index(nl, name), state="up")

        await self.spaces.netlink(self.site(number), make)

    async def host(
        self, number: int, bridge: str, name: str, interfaces: Sequence[Interface], gateways: Sequence[Address] = ()
    ) -> Netns:
        """A host on a site's bridge, with the MTU that hosts have when nobody tells them: 1500. It asks for its
        neighbours ten times a second, not once, so that a test need not wait for what has just been joined."""
        ns = await self.lonely_host(number, name, interfaces, gateways)
        port = f"p-{name}"
        await self.spaces.netlink(
            self.site(number), lambda nl: nl.link("set", index=_index(nl, port), master=_index(nl, bridge))
        )
        return ns

    async def lonely_host(
        self, number: int, name: str, interfaces: Sequence[Interface], gateways: Sequence[Address] = ()
    ) -> Netns:
        """The same, whose other end `p-<name>` at the site is the port of no bridge yet."""
        ns = Netns(f"{self.prefix}-{name}")
        await self._create(ns)
        await self.cable(self.site(number), f"p-{name}", ns, "eth0", mtu=1500)
        await self.spaces.run(ns, _hurry)
        for interface in interfaces:
            await self.address(ns, "eth0", str(interface.ip), interface.network.prefixlen)
        for gateway in gateways:
            everything = "0.0.0.0/0" if gateway.version == 4 else "::/0"
            await self.spaces.netlink(ns, _default(everything, str(gateway)))
        return ns

    async def cable(self, a: Netns, a_name: str, b: Netns, b_name: str, mtu: int = 0) -> None:
        path = self.spaces.directory / b

        def make(nl: IPRoute) -> None:
            with Path(path).open() as there:
                peer = {"ifname": b_name, "net_ns_fd": there.fileno(), "mtu": mtu or self.mtu}
                nl.link("add", ifname=a_name, kind="veth", peer=peer, mtu=mtu or self.mtu)
            nl.link("set", index=_index(nl, a_name), state="up")

        await self.spaces.netlink(a, make)
        await self.spaces.netlink(b, lambda nl: nl.link("set", index=_index(nl, b_name), state="up"))

    async def address(self, ns: Netns, name: str, address: str, length: int) -> None:
        flags = NODAD if ":" in address else 0

        def add(nl: IPRoute) -> None:
            nl.addr("add", index=_index(nl, name), address=address, prefixlen=length, flags=flags)

        await self.spaces.netlink(ns, add)

    async def destroy(self) -> None:
        for ns in reversed(self._made):
            await self.spaces.remove(ns)

    async def _create(self, ns: Netns) -> None:
        await self.spaces.create(ns)
        self._made.append(ns)
        await self.spaces.run(ns, _settle)


def _forward() -> None:
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path("/proc/sys/net", path).write_text("1")


def _settle() -> None:
    """Link-local addresses are of use at once: nobody here has the same."""
    Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")


def _hurry() -> None:
    for family in ("ipv4", "ipv6"):
        Path("/proc/sys/net", family, "neigh/eth0/retrans_time_ms").write_text("100")


def _index(nl: IPRoute, name: str) -> int:
    return int(nl.link_lookup(ifname=name)[0])


def _default(destination: str, gateway: str) -> Callable[[IPRoute], Any]:
    return lambda nl: nl.route("add", dst=destination, gateway=gateway)

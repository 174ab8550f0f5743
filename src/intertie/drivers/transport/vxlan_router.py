"""The router of a network: a namespace of its own, shared by the network's L3 segments.

    network's bridge ── vr… ═══ lan0 ┌────────┐ vx65537 ──► remotes of one Vpn
                                     │ router │
                        gateways on lan0      │ vx65540 ──► remotes of another
                                     └────────┘

Every router is its own routing table, so projects may use the same addresses. Transit is unnumbered: a remote's
prefixes are reached through an IPv6 link-local address made from its MAC (RFC 4291, appendix A), also for IPv4
(RFC 8950's next hop), with fixed neighbour and forwarding entries: nothing is asked on the way. Replies that the
router itself sends carry the network's gateway as their source. Between two Vpns nothing is forwarded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from intertie.drivers.linux import nft
from intertie.drivers.linux.frame_format import mac_bytes
from intertie.drivers.linux.nft_model import (
    Chain,
    Cmp,
    Code,
    Counter,
    Family,
    Hook,
    HookPoint,
    Meta,
    MetaKey,
    Op,
    Rule,
    Table,
    Verdict,
)
from intertie.drivers.linux.rtnl import SCOPE_UNIVERSE, Link, Reader
from intertie.drivers.transport import vxlan_kernel as kernel
from intertie.drivers.transport.vxlan_kernel import Device, Entry
from intertie.drivers.transport.vxlan_names import router_mac, router_port
from intertie.model.bodies import Address, Prefix
from intertie.model.items import Interface, Segment

LAN = "lan0"
TABLE = "intertie-router"
NODAD, PERMANENT, INET, INET6, MAIN, UNICAST = 0x02, 0x80, 2, 10, 254, 1
SETTINGS = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    "ipv4/conf/all/rp_filter": "0",
    f"ipv4/conf/{LAN}/rp_filter": "1",
    "ipv4/conf/all/send_redirects": "0",
    f"ipv4/conf/{LAN}/send_redirects": "0",
    f"ipv6/conf/{LAN}/accept_dad": "0",
}
"""Sources from remotes are checked by the segment's filter, those from the network by strict reverse path. The
router's link-local address, with which it looks for hosts, is of use at once and not after a second of doubt."""


@dataclass(frozen=True, slots=True)
class Route:
    """To `prefix` through `via` on the segment's device, `source` for what the router itself says."""

    prefix: Prefix
    via: IPv6Address
    source: Address | None


@dataclass(frozen=True, slots=True)
class Neighbour:
    via: IPv6Address
    mac: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One end of the router's cable: to the bridge (`master`), or `lan0`."""

    name: str
    mac: str
    mtu: int
    master: str = ""
    up: bool = True
    index: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class InRouter:
    """One segment within the router."""

    device: Device
    static: frozenset[Entry]
    routes: frozenset[Route]
    neighbours: frozenset[Neighbour]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a router's namespace holds."""

    lan: Port | None
    addresses: frozenset[Interface]
    settings: dict[str, str]
    table: Table | None
    paths: dict[str, InRouter]


# ── What is wanted ─────────────────────────────────────────────────────────────────────────────────────────


def via(mac: str) -> IPv6Address:
    """The link-local address of a MAC: fe80::/64 with its modified EUI-64."""
    octets = mac_bytes(mac)
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes((octets[0] ^ 2, *octets[1:3])) + b"\xff\xfe" + octets[3:])


def wanted_routes(segment: Segment) -> frozenset[Route]:
    """Each remote is reached through its first endpoint that has a MAC."""
    sources = {gateway.version: gateway.ip for gateway in reversed(segment.gateways)}
    return frozenset(
        Route(prefix, via(mac), sources.get(prefix.version))
        for remote in segment.remotes
        for mac in [e.mac for e in kernel.reachable(segment, remote) if e.mac][:1]
        for prefix in remote.prefixes
    )


def wanted_neighbours(segment: Segment) -> frozenset[Neighbour]:
    return frozenset(
        Neighbour(via(e.mac), e.mac) for r in segment.remotes for e in kernel.reachable(segment, r) if e.mac
    )


def wanted_ports(site: str, segment: Segment, mtu: int) -> tuple[Port, Port]:
    """(on the bridge, in the router); `mtu` is the bridge's."""
    name = router_port(site, segment.network)
    outside = Port(name=name, mac=router_mac(site, segment.network, port=True), mtu=mtu, master=segment.bridge)
    return outside, Port(name=LAN, mac=router_mac(site, segment.network, port=False), mtu=mtu)


def wanted_table() -> Table:
    """No transit: what came by one Vpn does not leave by another."""
    between = (Meta(MetaKey.IIFNAME), Cmp(Op.EQ, b"vx"), Meta(MetaKey.OIFNAME), Cmp(Op.EQ, b"vx"))
    rule = Rule((*between, Counter(), Verdict(Code.DROP)), "no transit between Vpns")
    return Table(Family.INET, TABLE, (Chain("forward", (rule,), Hook(HookPoint.FORWARD, 0)),))


def flaws(site: str, segment: Segment, inside: Inside, outside: Port | None) -> list[str]:
    """What the router and the segment within it lack, in words. The router's own addresses may be more."""
    found: list[str] = []
    mtu = outside.mtu if outside else kernel.ETHERNET_MTU
    want_outside, want_lan = wanted_ports(site, segment, mtu)
    if outside != want_outside or inside.lan != want_lan:
        found.append("the router's port is not as it should be")
    if missing := set(segment.gateways) - inside.addresses:
        found.append("gateway missing: " + ", ".join(sorted(map(str, missing))))
    if inside.settings != SETTINGS or inside.table != wanted_table():
        found.append("the router does not forward as it should")
    path = inside.paths.get(f"vx{segment.vni}")
    if path is not None:
        if path.routes != wanted_routes(segment):
            found.append("other routes")
        if path.neighbours != wanted_neighbours(segment):
            found.append("other neighbours")
    return found


# ── What is there ──────────────────────────────────────────────────────────────────────────────────────────


def port(name: str) -> Port | None:
    """A device of the calling thread's namespace, None if it is not there."""
    with Reader() as reader:
        link = reader.link(name)
        if link is None:
            return None
        return _port(link, reader.link_at(link.master) if link.master else None)


def ports() -> dict[str, Port]:
    """The routers' ports in the namespace of the bridges."""
    with Reader() as reader:
        links = {link.index: link for link in reader.links()}
    found = (_port(link, links.get(link.master)) for link in links.values() if link.name.startswith("vr"))
    return {each.name: each for each in found}


def _port(link: Link, master: Link | None) -> Port:
    return Port(
        name=link.name,
        mac=link.mac,
        mtu=link.mtu,
        master=master.name if master else "",
        up=link.up,
        index=link.index,
    )


def look(nl: IPRoute) -> Inside:
    """Everything in the calling thread's namespace, which is a router's."""
    found = kernel.devices()
    forwarding = kernel.entries(found.values())
    lan = port(LAN)
    return Inside(
        lan=lan,
        addresses=_addresses(lan.index) if lan else frozenset(),
        settings={path: _setting(path) for path in SETTINGS},
        table=nft.read(TABLE).get((Family.INET, TABLE)),
        paths={
            device.name: InRouter(
                device=device,
                static=forwarding[device.name][0],
                routes=_routes(nl, device.index),
                neighbours=_neighbours(device.index),
            )
            for device in found.values()
        },
    )


def _setting(path: str) -> str:
    try:
        return Path("/proc/sys/net", path).read_text().strip()
    except FileNotFoundError:
        return ""


def _addresses(index: int) -> frozenset[Interface]:
    with Reader() as reader:
        held = reader.addresses()
    return frozenset(each.interface for each in held if each.index == index and each.scope == SCOPE_UNIVERSE)


def _routes(nl: IPRoute, index: int) -> frozenset[Route]:
    found: set[Route] = set()
    for family, everything in ((INET, "0.0.0.0"), (INET6, "::")):
        for row in nl.get_routes(family=family, oif=index, table=MAIN):
            through = row.get_attr("RTA_VIA")
            gateway = through["addr"] if through else row.get_attr("RTA_GATEWAY")
            if row["type"] != UNICAST or gateway is None:
                continue
            prefix = ip_network(f"{row.get_attr('RTA_DST') or everything}/{row['dst_len']}")
            source = row.get_attr("RTA_PREFSRC")
            found.add(Route(prefix, IPv6Address(gateway), ip_address(source) if source else None))
    return frozenset(found)


def _neighbours(index: int) -> frozenset[Neighbour]:
    with Reader() as reader:
        rows = reader.neighbours(INET6, index)
    return frozenset(
        Neighbour(row.address, row.mac)
        for row in rows
        if row.state == PERMANENT and isinstance(row.address, IPv6Address)
    )


# ── Making it so ───────────────────────────────────────────────────────────────────────────────────────────


def fit_outside(nl: IPRoute, site: str, segment: Segment, where: Path, connected: bool) -> int:
    """The cable from the bridge to the router in the namespace `where`, made or mended here. The bridge's MTU.

    Not `connected`: the router has no end of it, so an end that is left here belongs to a router that is gone.
    """
    master, mtu = kernel.bridge(segment.bridge)
    want, lan = wanted_ports(site, segment, mtu)
    if not connected:
        kernel.remove(nl, want.name)
    have = port(want.name)
    if have is None:
        with where.open() as there:
            peer = {"ifname": LAN, "net_ns_fd": there.fileno(), "mtu": mtu, "address": lan.mac}
            nl.link("add", ifname=want.name, kind="veth", mtu=mtu, address=want.mac, peer=peer)
        have = port(want.name)
        assert have is not None
        kernel.silence(nl, have.index)
    if (have.mac, have.mtu, have.master) != (want.mac, want.mtu, want.master):
        nl.link("set", index=have.index, address=want.mac, mtu=want.mtu, master=master)
    if not have.up:
        nl.link("set", index=have.index, state="up")
    return mtu


def fit_lan(nl: IPRoute, lan: Port, gateways: Collection[Interface]) -> None:
    """The router's own end, in its namespace: gateways, forwarding, and the rule against transit."""
    have = port(LAN)
    if have is None:
        raise OSError(f"{LAN} has gone from its router")
    if (have.mac, have.mtu) != (lan.mac, lan.mtu):
        nl.link("set", index=have.index, address=lan.mac, mtu=lan.mtu)
    if nft.read(TABLE).get((Family.INET, TABLE)) != wanted_table():
        nft.replace([wanted_table()])
    for path, value in SETTINGS.items():
        if _setting(path) != value:
            Path("/proc/sys/net", path).write_text(value)
    if not have.up:
        nl.link("set", index=have.index, state="up")
    held = _addresses(have.index)
    for gateway in sorted(set(gateways) - held, key=str):
        flags = {"flags": NODAD} if gateway.version == 6 else {}
        nl.addr("add", index=have.index, address=str(gateway.ip), prefixlen=gateway.network.prefixlen, **flags)
    for gateway in sorted(held - set(gateways), key=str):
        nl.addr("del", index=have.index, address=str(gateway.ip), prefixlen=gateway.network.prefixlen)


def fit_path(nl: IPRoute, segment: Segment, device: Device) -> None:
    """Neighbours, then routes; what is too much goes last."""
    want, have = wanted_neighbours(segment), _neighbours(device.index)
    for each in _by_via(want - have):
        nl.neigh("replace", ifindex=device.index, family=INET6, dst=str(each.via), lladdr=each.mac, state=PERMANENT)
    wished, held = wanted_routes(segment), _routes(nl, device.index)
    for route in sorted(wished - held, key=lambda r: str(r.prefix)):
        nl.route("replace", **_route(route, device.index))
    kept = {route.prefix for route in wished}
    for route in sorted(held - wished, key=lambda r: str(r.prefix)):
        if route.prefix not in kept:
            nl.route("del", **_route(route, device.index))
    stay = {each.via for each in want}
    for each in _by_via(have - want):
        if each.via not in stay:
            nl.neigh("del", ifindex=device.index, family=INET6, dst=str(each.via), lladdr=each.mac)


def _by_via(found: Iterable[Neighbour]) -> list[Neighbour]:
    return sorted(found, key=lambda each: int(each.via))


def _route(route: Route, index: int) -> dict[str, Any]:
    arguments: dict[str, Any] = {"dst": str(route.prefix), "oif": index}
    if route.source is not None:
        arguments["prefsrc"] = str(route.source)
    if isinstance(route.prefix, IPv4Network):
        return {**arguments, "family": INET, "via": {"family": INET6, "addr": str(route.via)}}
    return {**arguments, "family": INET6, "gateway": str(route.via)}

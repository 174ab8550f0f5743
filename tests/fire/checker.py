"""Looks at clouds: what stands in the kernel of a site, and what is written to it. Tables and files of agents are
their own affair.

`always` says what is wrong at any instant, `settled.wrong` what is wrong when the fire is out; each in words that
name the invariant.
"""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pyroute2 import IPRoute

from intertie.drivers.linux.nfnetlink import attributes
from tests.net.topologies.hosts import Network
from tests.net.topologies.rig import Rig

OURS = "vx"
ROUTER = "r"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSeen:
    """A host's namespace: the addresses on its interface, and the bridge that it is plugged into ("": none)."""

    addresses: frozenset[str]
    bridge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSeen:
    """A VXLAN device: the bridge or router (namespace) that it leads to, and the Vpn (id) that its label names."""

    place: str
    vpn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """What stands at one site."""

    site: str
    hosts: dict[str, HostSeen]
    segments: dict[int, SegmentSeen]
    devices: frozenset[str]
    bridges: int

    @property
    def vpns(self) -> frozenset[str]:
        """Ids of those that have a segment here."""
        return frozenset(seen.vpn for seen in self.segments.values())


def look(rig: Rig, site: str) -> Cloud:
    """The site's kernel as it is now."""
    links = rig.at(site).netlink(lambda nl: [_link(link) for link in nl.get_links()])
    names = {link.index: link.name for link in links}
    segments = {link.vni: SegmentSeen(place=names.get(link.master, ""), vpn=link.vpn) for link in links if link.vni}
    hosts: dict[str, HostSeen] = {}
    masters = {link.index: names.get(link.master, "") for link in links}
    for name in rig.names(site):
        path = Network(f"/proc/{rig[site].anchor}/root/run/netns/{name}")
        try:
            inside = path.netlink(lambda nl: ([_link(each) for each in nl.get_links()], _addresses(nl)))
        except OSError:
            continue  # it went while we looked
        here, addresses = inside
        segments |= {link.vni: SegmentSeen(place=name, vpn=link.vpn) for link in here if link.vni}
        if not name.startswith(f"{site}-{ROUTER}-"):
            port = next((link.peer for link in here if link.name == "eth0"), 0)
            hosts[name.removeprefix(f"{site}-")] = HostSeen(addresses=addresses, bridge=masters.get(port, ""))
    bridges = sum(link.bridge for link in links)
    return Cloud(site=site, hosts=hosts, segments=segments, devices=frozenset(names.values()), bridges=bridges)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    index: int
    name: str
    master: int
    peer: int
    vni: int
    vpn: str
    bridge: bool


def _link(link: Any) -> _Link:
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_DATA") if info and info.get_attr("IFLA_INFO_KIND") == "vxlan" else None
    words = (link.get_attr("IFLA_IFALIAS") or "").split()
    return _Link(
        index=int(link["index"]),
        name=str(link.get_attr("IFLA_IFNAME")),
        master=int(link.get_attr("IFLA_MASTER") or 0),
        peer=int(link.get_attr("IFLA_LINK") or 0),
        vni=int(data.get_attr("IFLA_VXLAN_ID") or 0) if data is not None else 0,
        vpn=words[4] if len(words) == 6 else "",
        bridge=bool(info and info.get_attr("IFLA_INFO_KIND") == "bridge"),
    )


def _addresses(nl: IPRoute) -> frozenset[str]:
    index = nl.link_lookup(ifname="eth0")
    rows = nl.get_addr(index=index[0]) if index else []
    return frozenset(str(row.get_attr("IFA_ADDRESS")) for row in rows if row["scope"] == 0)


# ── What holds at any instant ──────────────────────────────────────────────────────────────────────────────


def always(clouds: Iterable[Cloud], projects: dict[tuple[str, str], str]) -> list[str]:
    """I1: no address and no VNI has two holders. I17: no bridge has hosts of two projects (`projects`: of a site's
    host)."""
    wrong = []
    holders: dict[tuple[int, str], set[str]] = defaultdict(set)
    vpns: dict[int, set[str]] = defaultdict(set)
    for cloud in clouds:
        by_bridge = {seen.place: vni for vni, seen in cloud.segments.items()}
        owners: dict[str, set[str]] = defaultdict(set)
        for vni, seen in cloud.segments.items():
            vpns[vni].add(seen.vpn)
        for name, host in cloud.hosts.items():
            if host.bridge:
                owners[host.bridge].add(projects.get((cloud.site, name), ""))
            for address in host.addresses:
                if host.bridge in by_bridge:
                    holders[by_bridge[host.bridge], address].add(f"{cloud.site}/{name}")
        wrong += [
            f"I17: bridge {b} at {cloud.site} joins {sorted(p)}" for b, p in owners.items() if len(p - {""}) > 1
        ]
    wrong += [f"I1: {a} in VNI {v} is held by {sorted(h)}" for (v, a), h in holders.items() if len(h) > 1]
    # A device without a label is just being made.
    wrong += [f"I1: VNI {v} is of {sorted(ids)}" for v, ids in vpns.items() if len(ids - {""}) > 1]
    return wrong


# ── What is written ────────────────────────────────────────────────────────────────────────────────────────

_ROUTE_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_ LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE. Neighbours are learnt from traffic: left out."""
_NETFILTER, _NFTABLES, _SOL_NETLINK, _ADD_MEMBERSHIP = 12, 7, 270, 1
_HEADER = struct.Struct("=IHHII")
_LINKS, _IFLA_IFNAME, _LINK_HEADER = (16, 17), 3, 16


@dataclass(frozen=True, slots=True)
class Told:
    """One message: in which namespace, its type, the device that it is about ("": none), and whether it is about that
    device as a port of a bridge."""

    place: str
    kind: int
    device: str
    port: bool


@dataclass(slots=True)
class Written:
    """Messages by which kernels told of changes to devices, addresses, routes and filters."""

    found: list[Told] = field(default_factory=list)


@contextmanager
def writes(places: dict[str, Network]) -> Iterator[Written]:
    """What the kernel changed in these namespaces meanwhile, whoever asked it to."""
    opened = {name: place.run(_listen) for name, place in places.items()}
    written = Written()
    try:
        yield written
        for name, sockets in opened.items():
            written.found += [Told(name, *told) for sock in sockets for told in _drain(sock)]
    finally:
        for sockets in opened.values():
            for sock in sockets:
                sock.close()


def _listen() -> tuple[socket.socket, ...]:
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    rules = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETFILTER)
    route.bind((0, _ROUTE_GROUPS))
    rules.bind((0, 0))
    rules.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _NFTABLES)
    return route, rules


def _drain(sock: socket.socket) -> Iterator[tuple[int, str, bool]]:
    while True:
        try:
            data = sock.recv(1 << 17)
        except BlockingIOError:
            return
        while len(data) >= _HEADER.size:
            length, kind = _HEADER.unpack_from(data)[:2]
            body = data[_HEADER.size : length]
            data = data[(length + 3) & ~3 :]
            words = dict(attributes(body[_LINK_HEADER:])) if kind in _LINKS else {}
            yield kind, words.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(), body[0] == socket.AF_BRIDGE


def everywhere(rig: Rig, site: str) -> dict[str, Network]:
    """A site's own namespace and those that have a name there."""
    named = {n: Network(f"/proc/{rig[site].anchor}/root/run/netns/{n}") for n in rig.names(site)}
    return {site: rig.at(site), **named}

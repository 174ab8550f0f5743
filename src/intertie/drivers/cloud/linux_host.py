"""Hosts of the `linux` cloud: a namespace, its `eth0`, and the bridge port at the other end. Pure but for
`look_inside`, which reads the namespace it is called in.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from intertie.drivers.cloud.linux_network import OWN, PORT_MTU, mac
from intertie.drivers.linux import marks
from intertie.drivers.linux.netns import Netns, netns_name
from intertie.drivers.linux.rtnl import SCOPE_UNIVERSE, DefaultRoute, Link, Reader
from intertie.drivers.linux.steps import (
    AddAddress,
    AddDefault,
    AddVeth,
    AltNames,
    Announce,
    DelAddress,
    DelDefault,
    DelLink,
    Script,
    SetLink,
    Setting,
    Step,
)
from intertie.model.items import Host, Interface

INNER = "eth0"
HOST = "host"
"""First word of a host's mark, on its port."""

RTPROT_RA = 9
NO_MAC = "00:00:00:00:00:00"
"""Of a bridge whose last port has left."""
METRIC = 100
"""Of the first default route; further gateways of the version follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """A host's own view: its interface with the addresses and gateways that were given, not those learnt."""

    mtu: int
    up: bool
    ipv6: bool = True
    interfaces: tuple[Interface, ...] = ()
    routes: tuple[DefaultRoute, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMark:
    id: str
    name: str
    project: str
    network: str
    ns: Netns


def port_name(id: str) -> str:
    """The bridge port of a host, from the host's id."""
    return "ih" + sha256(id.encode()).hexdigest()[:10]


def host_names(site: str, item: Host) -> tuple[Netns, ...]:
    """Names for the host's namespace, best first: another project may have a host of the same name."""
    return (
        netns_name(site, item.name),
        netns_name(site, item.name, item.project),
        netns_name(site, item.name, port_name(item.id)),
    )


def write_host_mark(item: Host, ns: Netns) -> marks.Mark:
    return marks.write(port_name(item.id), (HOST, item.id, item.project, item.network, ns, item.name))


def read_host_mark(link: Link) -> HostMark | None:
    found = marks.read(link.alias, link.altnames)
    if link.kind != "veth" or found is None or len(found) != 6 or found[0] != HOST:
        return None
    _, id, project, network, ns, name = found
    return HostMark(id=id, name=name, project=project, network=network, ns=Netns(ns))


def look_inside(reader: Reader) -> Inside | None:
    """The namespace that the thread is in, as a host; None without an `eth0`."""
    link = reader.link(INNER)
    if link is None:
        return None
    return Inside(
        mtu=link.mtu,
        up=link.up,
        ipv6=link.ipv6,
        interfaces=tuple(
            held.interface
            for held in reader.addresses()
            if held.index == link.index and held.permanent and held.scope == SCOPE_UNIVERSE
        ),
        routes=tuple(r for r in reader.default_routes() if r.index == link.index and r.protocol != RTPROT_RA),
    )


def parse_host(port: Link, bridge: str, inside: Inside | None) -> Host | None:
    """The host of a marked port that is on `bridge` ("" for none); None for any other device."""
    mark = read_host_mark(port)
    if mark is None:
        return None
    flaws = {
        "port down": not port.up,
        "IPv6 on at the port": port.ipv6,
        f"nothing in namespace {mark.ns}": inside is None,
        f"{INNER} down": inside is not None and not inside.up,
        f"IPv6 off at {INNER}": inside is not None and not inside.ipv6,
    }
    return Host(
        id=mark.id,
        name=mark.name,
        project=mark.project,
        network=mark.network,
        bridge=bridge,
        interfaces=inside.interfaces if inside else (),
        gateways=tuple(route.gateway for route in inside.routes) if inside else (),
        mtu=inside.mtu if inside else 0,
        flaw=", ".join(flaw for flaw, there in flaws.items() if there),
    )


def port_settings(item: Host, site: str, bridge: Link) -> tuple[str, int]:
    """(MAC, MTU) of a port. A bridge takes the lowest of its ports' MACs and MTUs for its own; for somebody else's
    bridge ours are therefore the same as the bridge's, and for one of ours, which has both fixed, out of the way."""
    found = marks.read(bridge.alias, bridge.altnames)
    if (found and found[0] == OWN) or bridge.mac == NO_MAC:
        return "fe" + mac(site, item.id)[2:], PORT_MTU if found and found[0] == OWN else bridge.mtu
    return bridge.mac, bridge.mtu


def render_host(site: str, item: Host, ns: Netns, bridge: Link, sight: tuple[Link, Inside | None] | None) -> Script:
    """From what is there (None: no port) to the host in `ns`, which exists. New addresses come before old ones
    go, so that the host is never without; the port stays."""
    name = port_name(item.id)
    script: list[tuple[Netns | None, Step]] = []
    port, inside = sight or (None, None)
    if port is None or inside is None:
        if port is not None:  # its other end went with a namespace that somebody removed
            script.append((None, DelLink(name=name)))
        port, inside = _new(item)
        script.append((None, _veth(site, item, ns, bridge)))
    master = bridge.name if port.master != bridge.index else None
    script += [(None, step) for step in _render_port(write_host_mark(item, ns), port, master)]
    script += [(ns, step) for step in _render_inside(item, inside)]
    return tuple(script)


def _new(item: Host) -> tuple[Link, Inside]:
    """A fresh pair, as the kernel makes it."""
    return Link(index=0, name=port_name(item.id), kind="veth"), Inside(mtu=item.mtu, up=False)


def _veth(site: str, item: Host, ns: Netns, bridge: Link) -> AddVeth:
    port_mac, port_mtu = port_settings(item, site, bridge)
    return AddVeth(
        name=port_name(item.id),
        mac=port_mac,
        mtu=port_mtu,
        peer=INNER,
        peer_ns=ns,
        peer_mac=mac(site, item.id),
        peer_mtu=item.mtu,
    )


def _render_port(mark: marks.Mark, port: Link, master: str | None) -> list[Step]:
    steps: list[Step] = []
    if port.ipv6:  # or the agent's machine would speak to the tenant's host
        steps.append(Setting(path=f"ipv6/conf/{port.name}/disable_ipv6", value=1))
    wanted = SetLink(
        name=port.name,
        master=master,
        alias=mark.alias if port.alias != mark.alias else None,
        up=not port.up,
    )
    if wanted != SetLink(name=port.name):
        steps.append(wanted)
    have = marks.ours(port.altnames)
    if set(have) != set(mark.altnames):
        remove = tuple(name for name in have if name not in mark.altnames)
        add = tuple(name for name in mark.altnames if name not in have)
        steps.append(AltNames(name=port.name, remove=remove, add=add))
    return steps


def _render_inside(item: Host, inside: Inside) -> list[Step]:
    steps: list[Step] = []
    if not inside.up:
        steps += [
            Setting(path="ipv6/conf/all/accept_dad", value=0),
            Setting(path=f"ipv6/conf/{INNER}/accept_dad", value=0),
            Setting(
                path=f"ipv4/conf/{INNER}/promote_secondaries", value=1
            ),  # an old address takes no new one with it
        ]
    if not inside.ipv6:
        steps.append(Setting(path=f"ipv6/conf/{INNER}/disable_ipv6", value=0))
    wanted = SetLink(name=INNER, mtu=item.mtu if inside.mtu != item.mtu else None, up=not inside.up)
    if wanted != SetLink(name=INNER):
        steps.append(wanted)
    fresh = [interface for interface in item.interfaces if interface not in inside.interfaces]
    stale = [interface for interface in inside.interfaces if interface not in item.interfaces]
    steps += [AddAddress(device=INNER, interface=interface) for interface in fresh]
    steps += _render_routes(item, inside)
    steps += [DelAddress(device=INNER, interface=interface) for interface in stale]
    if fresh:
        steps.append(Announce(device=INNER, addresses=tuple(interface.ip for interface in fresh)))
    return steps


def _render_routes(item: Host, inside: Inside) -> list[Step]:
    kept = {route.gateway for route in inside.routes}
    used = {(route.gateway.version, route.metric) for route in inside.routes if route.gateway in item.gateways}
    steps: list[Step] = [
        DelDefault(device=INNER, gateway=route.gateway, metric=route.metric)
        for route in inside.routes
        if route.gateway not in item.gateways
    ]
    for gateway in item.gateways:
        if gateway not in kept:
            metric = next(m for m in range(METRIC, 2 * METRIC) if (gateway.version, m) not in used)
            used.add((gateway.version, metric))
            steps.append(AddDefault(device=INNER, gateway=gateway, metric=metric))
    return steps

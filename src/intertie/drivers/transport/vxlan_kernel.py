"""VXLAN devices and their forwarding entries, over route netlink.

`Device` and `Entry` are values: `wanted_*` derive them from a Segment, `devices` and `entries` parse what the
kernel says, and the difference is what `fit_*` writes. Nothing is deleted to be made again, except a device whose
VNI, address, port or learning differs, which the kernel cannot change under way.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from intertie.drivers.linux.rtnl import Link, Reader, attributes
from intertie.drivers.transport.vxlan_names import alias_of, alias_text, device_name
from intertie.model.bodies import Address, Endpoint, VpnKind
from intertie.model.errors import Conflict, NotFound
from intertie.model.items import Remote, Segment

ANYBODY = "00:00:00:00:00:00"
"""The entry for broadcast, multicast and unknown destinations: one copy to each of its endpoints."""
TTL = 64
DF_SET = 1
NO_ADDRESSES = 1
"""IN6_ADDR_GEN_MODE_NONE: the device itself says nothing on the segment."""
STATIC, SELF, AF_BRIDGE = 0xC0, 0x02, 7
KIND = "vxlan"
IFLA_VXLAN_ID, IFLA_VXLAN_LOCAL, IFLA_VXLAN_TTL, IFLA_VXLAN_LEARNING = 1, 4, 5, 7
IFLA_VXLAN_PORT, IFLA_VXLAN_LOCAL6, IFLA_VXLAN_DF = 15, 17, 29
ETHERNET_MTU = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A VXLAN device. `master` is the bridge's name, "" for none. `mtu` of an L2 device is a lower bound."""

    name: str
    vni: int
    local: Address | None
    port: int
    mac: str
    mtu: int
    alias: str
    master: str
    learning: bool
    df: int = DF_SET
    ttl: int = TTL
    up: bool = True
    index: int = field(default=0, compare=False)
    master_mtu: int = field(default=ETHERNET_MTU, compare=False)


@dataclass(frozen=True, slots=True)
class Entry:
    """Frames for `mac` go to this endpoint."""

    mac: str
    address: Address
    port: int


def wanted_device(site: str, segment: Segment, bridge_mtu: int = ETHERNET_MTU) -> Device:
    """An L2 device takes whatever its bridge does: were it smaller, the bridge would drop what is too large in
    silence, and a smaller bridge is what it would make of its bridge. VXLAN then answers what does not fit the
    underlay with "fragmentation needed" or "packet too big"."""
    routed = segment.kind is VpnKind.L3
    return Device(
        name=device_name(segment.vni),
        vni=segment.vni,
        local=segment.local.address,
        port=segment.local.port,
        mac=segment.local.mac,
        mtu=segment.mtu if routed else max(ETHERNET_MTU, bridge_mtu, segment.mtu),
        alias=alias_text(alias_of(site, segment)),
        master="" if routed else segment.bridge,
        learning=not routed,
    )


def reachable(segment: Segment, remote: Remote) -> list[Endpoint]:
    """The remote's endpoints of the segment's own IP version: a VXLAN device speaks one."""
    return [e for e in remote.endpoints if e.address.version == segment.local.address.version]


def wanted_entries(segment: Segment) -> frozenset[Entry]:
    """L2: everybody hears what is for everybody. The remotes' own MACs are fixed, so that probes find them."""
    found: set[Entry] = set()
    macs: set[str] = set()
    for endpoint in (e for remote in segment.remotes for e in reachable(segment, remote)):
        if segment.kind is VpnKind.L2:
            found.add(Entry(ANYBODY, endpoint.address, endpoint.port))
        if endpoint.mac and endpoint.mac not in macs:
            macs.add(endpoint.mac)
            found.add(Entry(endpoint.mac, endpoint.address, endpoint.port))
    return frozenset(found)


def unchangeable(have: Device, want: Device) -> str:
    """What can only be had by replacing the device, in words; "" if editing will do."""
    for what, a, b in (
        ("VNI", have.vni, want.vni),
        ("local address", have.local, want.local),
        ("UDP port", have.port, want.port),
        ("learning", have.learning, want.learning),
    ):
        if a != b:
            return f"{what} {a} → {b}"
    return ""


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


def devices() -> dict[str, Device]:
    """The VXLAN devices of the calling thread's namespace, ours or not, by name."""
    with Reader() as reader:
        links = {link.index: link for link in reader.links()}
    return {link.name: _device(link, links.get(link.master)) for link in links.values() if link.kind == KIND}


def device(name: str) -> Device | None:
    """One of them; None if there is none of that name."""
    with Reader() as reader:
        link = reader.link(name)
        if link is None or link.kind != KIND:
            return None
        return _device(link, reader.link_at(link.master) if link.master else None)


def _device(link: Link, master: Link | None) -> Device:
    data = dict(attributes(link.info))
    local = data.get(IFLA_VXLAN_LOCAL) or data.get(IFLA_VXLAN_LOCAL6)
    return Device(
        name=link.name,
        vni=link.number(IFLA_VXLAN_ID),
        local=ip_address(local) if local else None,
        port=int.from_bytes(data.get(IFLA_VXLAN_PORT, b""), "big"),
        mac=link.mac,
        mtu=link.mtu,
        alias=link.alias,
        master=master.name if master else "",
        learning=bool(link.number(IFLA_VXLAN_LEARNING)),
        df=link.number(IFLA_VXLAN_DF),
        ttl=link.number(IFLA_VXLAN_TTL),
        up=link.up,
        index=link.index,
        master_mtu=master.mtu if master else ETHERNET_MTU,
    )


def entries(found: Collection[Device]) -> dict[str, tuple[frozenset[Entry], frozenset[Entry]]]:
    """Per device its static and its learnt forwarding entries."""
    by_index = {each.index: each for each in found}
    static: dict[str, set[Entry]] = {each.name: set() for each in found}
    learnt: dict[str, set[Entry]] = {each.name: set() for each in found}
    only = next(iter(by_index)) if len(by_index) == 1 else 0
    with Reader() as reader:
        rows = reader.neighbours(AF_BRIDGE, only) if found else ()
    for row in rows:
        of = by_index.get(row.index)
        if of is None or row.address is None:
            continue
        entry = Entry(row.mac, row.address, row.port or of.port)
        (static if row.state & STATIC else learnt)[of.name].add(entry)
    return {name: (frozenset(static[name]), frozenset(learnt[name])) for name in static}


def bridge(name: str) -> tuple[int, int]:
    """(index, MTU) of a bridge. NotFound if there is none of that name."""
    with Reader() as reader:
        link = reader.link(name)
    if link is None or link.kind != "bridge":
        raise NotFound(f"there is no bridge {name}")
    return link.index, link.mtu


# ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────


def create(nl: IPRoute, want: Device) -> Device:
    """Make the device, down and without a master. Conflict if the VNI or the name is another's."""
    if want.local is None:
        raise ValueError("a VXLAN device needs its own address")
    key = "vxlan_local" if want.local.version == 4 else "vxlan_local6"
    try:
        nl.link(
            "add",
            ifname=want.name,
            kind="vxlan",
            vxlan_id=want.vni,
            vxlan_port=want.port,
            vxlan_learning=int(want.learning),
            vxlan_ttl=want.ttl,
            vxlan_df=want.df,
            address=want.mac,
            mtu=want.mtu,
            **{key: str(want.local)},
        )
    except NetlinkError as error:
        if error.code == errno.EEXIST:
            raise Conflict(f"VNI {want.vni} or device {want.name} is already used on this machine") from error
        raise
    made = device(want.name)
    assert made is not None
    silence(nl, made.index)
    nl.link("set", index=made.index, ifalias=want.alias)
    return replace(made, alias=want.alias)


def silence(nl: IPRoute, index: int) -> None:
    """No address of its own on the device, hence no neighbour discovery from it."""
    mode = {"attrs": [["AF_INET6", {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", NO_ADDRESSES]]}]]}
    nl.link("set", index=index, IFLA_AF_SPEC=mode)


def fit_device(nl: IPRoute, have: Device, want: Device, master: int) -> None:
    """Edit what differs. `master` is the wanted bridge's index, 0 for none."""
    changes: dict[str, int | str] = {}
    if have.mac != want.mac:
        changes["address"] = want.mac
    if have.mtu < want.mtu or (have.mtu != want.mtu and not master):
        changes["mtu"] = want.mtu
    if have.alias != want.alias:
        changes["ifalias"] = want.alias
    if have.master != want.master:
        changes["master"] = master
    if changes:
        nl.link("set", index=have.index, **changes)
    if (have.df, have.ttl) != (want.df, want.ttl):
        nl.link("set", index=have.index, kind="vxlan", vxlan_id=want.vni, vxlan_df=want.df, vxlan_ttl=want.ttl)
    if not have.up:
        nl.link("set", index=have.index, state="up")


def fit_entries(nl: IPRoute, device: Device, have: Collection[Entry], want: Collection[Entry]) -> None:
    """Add what is missing, then delete what is too much: what stays is never without its entry."""
    moved = {entry.mac for entry in want if entry.mac != ANYBODY} & {entry.mac for entry in have}
    for entry in _sorted(set(want) - set(have)):
        # `append` for the many endpoints of everybody; a single MAC's entry is moved by replacing it.
        command = "append" if entry.mac == ANYBODY else "replace"
        _write(nl, command, device, entry)
    for entry in _sorted(set(have) - set(want)):
        if entry.mac not in moved:
            forget(nl, device, entry)


def forget(nl: IPRoute, device: Device, entry: Entry) -> None:
    """Delete one entry; one that has gone meanwhile is no error."""
    try:
        _write(nl, "del", device, entry)
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise


def _write(nl: IPRoute, command: str, device: Device, entry: Entry) -> None:
    # pyroute2 fills in flags and state for every command but "replace".
    more = {"flags": SELF, "state": STATIC} if command == "replace" else {}
    nl.fdb(command, ifindex=device.index, lladdr=entry.mac, dst=str(entry.address), port=entry.port, **more)


def _sorted(found: Iterable[Entry]) -> Sequence[Entry]:
    return sorted(found, key=lambda e: (e.mac, e.address.version, int(e.address), e.port))


def remove(nl: IPRoute, name: str) -> None:
    """Delete a device; absent already, or gone meanwhile, is fine."""
    with Reader() as reader:
        link = reader.link(name)
    if link is None:
        return
    try:
        nl.link("del", index=link.index)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise


def endpoints(found: Iterable[Entry]) -> tuple[Endpoint, ...]:
    """Endpoints as the forwarding entries tell them."""
    macs = {(e.address, e.port): e.mac for e in found if e.mac != ANYBODY}
    places = {(e.address, e.port) for e in found}
    return tuple(
        Endpoint(address=address, port=port, mac=macs.get((address, port), ""))
        for address, port in sorted(places, key=lambda p: (p[0].version, int(p[0]), p[1]))
    )

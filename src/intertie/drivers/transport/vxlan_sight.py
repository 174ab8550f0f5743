"""What the kernel holds of a segment, and what that says: pure.

A sight is put together from one look at devices, forwarding entries, routers and filters. `segment_of` reads the
segment off it: its labels, as far as everything else bears them out, and in `flaw` what does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from intertie.drivers.linux import nft
from intertie.drivers.linux.netns import Netns
from intertie.drivers.linux.nft_model import Family, Table
from intertie.drivers.linux.watch import Where
from intertie.drivers.transport import vxlan_kernel as kernel
from intertie.drivers.transport import vxlan_names as names
from intertie.drivers.transport import vxlan_router as router
from intertie.drivers.transport import vxlan_rules as rules
from intertie.drivers.transport.vxlan_kernel import Device, Entry
from intertie.drivers.transport.vxlan_router import InRouter, Inside, Port
from intertie.model.bodies import Address, Endpoint, VpnKind
from intertie.model.items import Remote, Segment, key

Tables = dict[nft.TableKey, Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What the kernel holds of one segment where its device is."""

    device: Device | None
    static: frozenset[Entry] = frozenset()
    tables: tuple[Table, ...] = ()
    inside: Inside | None = None
    """L3: the router that holds the device."""
    outside: Port | None = None
    """L3: the router's port on the bridge."""


def replaces(have: Segment, want: Segment) -> str | None:
    """Why going from one to the other loses packets: the device has to be made anew. None: edited in place."""
    if key(have) != key(want):
        return None
    a, b = kernel.wanted_device("-", have), kernel.wanted_device("-", want)
    reason = kernel.unchangeable(a, b)
    return f"the VXLAN device is replaced: {reason}" if reason else None


def flaws(site: str, segment: Segment, sight: Sight) -> str:
    """How the sight falls short of the segment, in words; "" if it does not."""
    found: list[str] = []
    have = sight.device
    if have is None:
        return "its device is missing"
    want = kernel.wanted_device(site, segment, have.master_mtu)
    if reason := kernel.unchangeable(have, want):
        found.append(f"another {reason}")
    if have.master != want.master:
        found.append(f"the port of {have.master or 'no bridge'}")
    if have.mtu < want.mtu or (segment.kind is VpnKind.L3 and have.mtu != want.mtu):
        found.append(f"MTU {have.mtu} for {want.mtu}")
    if (have.mac, have.alias, have.df, have.ttl) != (want.mac, want.alias, want.df, want.ttl):
        found.append("another MAC, label, DF or TTL")
    if not have.up:
        found.append("its device is down")
    if sight.static != kernel.wanted_entries(segment):
        found.append("other forwarding entries")
    if sight.tables != rules.tables(site, segment):
        found.append("another filter" if sight.tables else "no filter")
    if segment.kind is VpnKind.L3:
        found += router.flaws(site, segment, sight.inside, sight.outside) if sight.inside else ["not in its router"]
    return "; ".join(found)


def segment_of(site: str, sight: Sight) -> Segment | None:
    """The segment that a sight shows; None for one that is not this site's."""
    alias = names.parse_alias(sight.device.alias) if sight.device else None
    told = next((names.parse_facts(t) for t in sight.tables if t.family is Family.INET), None)
    if told is not None and told[0] == site and _agree(alias, told[1]):
        return replace(told[1], flaw=flaws(site, told[1], sight))
    if alias is None or alias.site != site or sight.device is None or sight.device.local is None:
        return None
    return _bare(alias, sight, sight.device.local)


def owner(site: str, segment: Segment, sight: Sight) -> str:
    """Whose the segment's VNI is on this machine, in words; "" if it is free or this segment's own."""
    told = next((names.parse_facts(t) for t in sight.tables if t.family is Family.INET), None)
    if told is not None:
        return "" if (told[0], key(told[1])) == (site, key(segment)) else f"Vpn {told[1].vpn} of site {told[0]}"
    if sight.device is None:
        return ""
    alias = names.parse_alias(sight.device.alias)
    if alias is None:
        return "somebody else's device"
    mine = (alias.site, alias.vpn, alias.network) == (site, segment.vpn, segment.network)
    return "" if mine else f"Vpn {alias.vpn} of site {alias.site}"


def _agree(alias: names.Alias | None, told: Segment) -> bool:
    return alias is None or (alias.vpn, alias.network, alias.kind) == (told.vpn, told.network, told.kind)


def _bare(alias: names.Alias, sight: Sight, local: Address) -> Segment:
    """What can be said of a segment whose filter is gone, with the names of its remotes."""
    device = sight.device
    assert device is not None
    return Segment(
        vpn=alias.vpn,
        kind=alias.kind,
        epoch=alias.epoch,
        vni=device.vni,
        network=alias.network,
        bridge=device.master,
        local=Endpoint(address=local, port=device.port, mac=device.mac),
        mtu=device.mtu,
        remotes=tuple(Remote(site="", endpoints=(e,)) for e in kernel.endpoints(sight.static)),
        flaw="no filter",
    )


def tables_of(tables: Tables, vni: int) -> tuple[Table, ...]:
    name = names.table_name(vni)
    return tuple(tables[family, name] for family in Family if (family, name) in tables)


def vnis(tables: Tables) -> set[int]:
    numbers = (name.removeprefix(names.PREFIX) for _, name in tables)
    return {int(number) for number in numbers if number.isdigit()}


def routed(path: InRouter, inside: Inside, ports: dict[str, Port], tables: Tables) -> Sight:
    alias = names.parse_alias(path.device.alias)
    return Sight(
        device=path.device,
        static=path.static,
        tables=tables_of(tables, path.device.vni),
        inside=inside,
        outside=ports.get(names.router_port(alias.site, alias.network)) if alias else None,
    )


def places(site: str, home: Netns | None, segment: Segment, sight: Sight) -> Iterator[Where]:
    """Where news would be news of this segment."""
    inside = names.router_name(site, segment.network) if sight.inside else home
    if sight.device:
        yield inside, sight.device.index
    if sight.inside and sight.inside.lan:
        yield inside, sight.inside.lan.index
    if sight.inside and sight.inside.table:
        yield inside, sight.inside.table.name
    if sight.outside:
        yield home, sight.outside.index
    for table in sight.tables:
        yield home, table.name

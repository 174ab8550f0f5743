"""What this machine can do for VXLAN, found by doing it in a namespace that is thrown away."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from intertie.drivers.linux import nft
from intertie.drivers.linux.netns import Namespaces, Netns, netns_name
from intertie.drivers.linux.rtnl import Reader
from intertie.drivers.transport import vxlan_kernel as kernel
from intertie.drivers.transport import vxlan_rules as rules
from intertie.model.bodies import Address, Endpoint, Range, TransportFacts, VpnKind
from intertie.model.items import Remote, Segment

OVERHEAD = {4: 50, 6: 70}
"""Outer IP, UDP 8, VXLAN 8, inner Ethernet 14 (RFC 7348)."""


async def probe(site: str, namespaces: Namespaces, underlay: Address, home: Netns | None) -> TransportFacts:
    """Never raises for what the machine lacks: `reason` says it."""
    overhead = OVERHEAD[underlay.version]
    try:
        mtu = await namespaces.run(home, lambda: underlay_mtu(underlay))
    except OSError as error:
        return TransportFacts(name="vxlan", ok=False, overhead=overhead, reason=f"no route netlink: {error}")
    if mtu is None:
        reason = f"the underlay address {underlay} is not on this machine"
        return TransportFacts(name="vxlan", ok=False, overhead=overhead, reason=reason)
    ns = netns_name(site, "try")
    try:
        await namespaces.create(ns)
    except OSError as error:
        return TransportFacts(name="vxlan", ok=False, overhead=overhead, reason=f"no network namespaces: {error}")
    try:
        lacks = await namespaces.netlink(ns, lambda nl: _try(nl, site))
    finally:
        await namespaces.remove(ns)
    ok = not lacks
    reason = "; ".join(lacks)
    return TransportFacts(name="vxlan", ok=ok, l2=ok, l3=ok, overhead=overhead, underlay_mtu=mtu, reason=reason)


def underlay_mtu(underlay: Address) -> int | None:
    """The MTU of the device that holds the address; None if none does."""
    with Reader() as reader:
        index = next((held.index for held in reader.addresses() if held.interface.ip == underlay), 0)
        link = reader.link_at(index) if index else None
    return link.mtu if link else None


def example(kind: VpnKind) -> Segment:
    """A segment that uses every rule and entry there is."""
    local = Endpoint(address=ip_address("192.0.2.1"), mac="fe:00:00:00:00:01")
    there = tuple(
        Endpoint(address=ip_address(address), mac="fe:00:00:00:00:02") for address in ("192.0.2.2", "2001:db8::2")
    )
    prefixes = (ip_network("198.51.100.0/24"), ip_network("2001:db8:2::/64"))
    spans = (("203.0.113.1", "203.0.113.9"), ("2001:db8:1::1", "2001:db8:1::9"))
    return Segment(
        vpn="try",
        kind=kind,
        epoch=0,
        vni=1,
        network="try",
        bridge="br0",
        local=local,
        mtu=1450,
        remotes=(Remote(site="there", endpoints=there, prefixes=prefixes if kind is VpnKind.L3 else ()),),
        gateways=(ip_interface("203.0.113.10/24"), ip_interface("2001:db8:1::10/64")),
        ranges=tuple(Range(first=ip_address(a), last=ip_address(b)) for a, b in spans),
    )


def _try(nl: IPRoute, site: str) -> list[str]:
    """What is missing, each in words."""
    lacks: list[str] = []
    segment = example(VpnKind.L2)
    try:
        nl.link("add", ifname=segment.bridge, kind="bridge")
    except NetlinkError as error:
        lacks.append(f"no Linux bridges ({error})")
    try:
        want = kernel.wanted_device(site, segment)
        device = kernel.create(nl, want)
        kernel.fit_entries(nl, device, (), kernel.wanted_entries(segment))
        nl.link("set", index=device.index, state="up")
    except NetlinkError as error:
        lacks.append(f"no VXLAN devices ({error})")
    for kind in VpnKind:
        try:
            nft.replace(rules.tables(site, example(kind)))
            nft.delete([(table.family, table.name) for table in rules.tables(site, example(kind))])
        except OSError as error:
            lacks.append(f"nf_tables lacks what the filter of {kind.value} segments needs ({error.strerror})")
    return lacks

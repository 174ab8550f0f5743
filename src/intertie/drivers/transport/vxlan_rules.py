"""The packet filter of one VXLAN segment: a pure function from a Segment to nf_tables tables.

Two tables carry the segment's name, both written in one transaction.

`inet` looks at what arrives on the underlay, after reassembly and before VXLAN sees it. For this VNI, only the
remotes' endpoints may be the source: VXLAN itself would take a packet from anybody. On L3 segments each remote
may moreover send only from its accepted prefixes, and it is the *outer* source that is held against the inner
one, so that no remote can speak for another. The table also carries the `facts` chain, which no packet ever
visits: its comments say which Vpn this is, for people and for `observe`.

`bridge` (L2 only) looks at the frames between the bridge and the segment's device:

    prerouting, from the segment's device  ──► `from`: probes · link-local protocols · guards · claims · rate
    prerouting, from any other port        ──► a loop-check frame of ours is marked: it came in from the tenants
    forward                                ──► probes are never forwarded, loop-check frames only once
    output                                 ──► probes leave by the segment's device only
    postrouting, to the segment's device   ──► `to`: probes · link-local protocols · guards · rate

A guard keeps each site's own gateway, DHCP and metadata services local. `CLAIMS` keeps a remote from answering
for this site's addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from intertie.drivers.linux import frame_format
from intertie.drivers.linux.frame_format import SIDE_AT, TYPE_AT, FrameType, mac_bytes
from intertie.drivers.linux.nft_model import (
    Base,
    Chain,
    Cmp,
    Code,
    Counter,
    Expression,
    Family,
    FieldType,
    Hook,
    HookPoint,
    Learn,
    LimitOver,
    Lookup,
    Mask,
    Meta,
    MetaKey,
    Op,
    Payload,
    Rule,
    Set,
    SetPayload,
    Table,
    Value,
    Verdict,
    interface,
)
from intertie.drivers.transport.vxlan_names import FACTS, device_name, facts, table_name
from intertie.model.bodies import Prefix, Range, VpnKind
from intertie.model.items import Segment

RATE, BURST = 1000, 1000
"""Broadcast and multicast frames a second each way, and unicast frames to whom no remote is known to have."""
KNOWN = "known"
"""MACs that were heard from remotes: what goes to any other is sent to all of them."""
INPUT_PRIORITY, BRIDGE_PRIORITY = -200, -300
"""Before the host's own filters, and before bridge netfilter."""
METADATA = (IPv4Address("169.254.169.254"), IPv6Address("fe80::a9fe:a9fe"))

ARP, IPV4, IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
UDP, ICMP, ICMPV6 = b"\x11", b"\x01", b"\x3a"
NF_IPV4, NF_IPV6 = b"\x02", b"\x0a"
BROADCAST = b"\xff" * 6
PROBE = frame_format.ETHERTYPE.to_bytes(2, "big")
SOLICITATION, ADVERTISEMENT = 135, 136
VNI_AT = 12
"""In the UDP datagram (RFC 7348): UDP 8, flags 1, reserved 3, VNI 3, reserved 1, then the inner frame."""
INNER_TYPE, INNER_SOURCE_V4, INNER_SOURCE_V6 = 16 + 12, 16 + 14 + 12, 16 + 14 + 8

Match = tuple[Expression, ...]
DROP, ACCEPT = Verdict(Code.DROP), Verdict(Code.ACCEPT)
OUTER_V4, OUTER_V6 = Payload(Base.NETWORK, 12, 4), Payload(Base.NETWORK, 8, 16)
STRANGER = Rule((Counter(), DROP), "not a remote of this segment")


def tables(site: str, segment: Segment) -> tuple[Table, ...]:
    """The tables that the segment needs where its underlay and its bridge are."""
    if segment.kind is VpnKind.L3:
        return (_underlay(site, segment),)
    return (_underlay(site, segment), _bridge(segment))


def _rule(*matches: Match | Expression, comment: str = "") -> Rule:
    flat: list[Expression] = []
    for match in matches:
        flat.extend(match if isinstance(match, tuple) else (match,))
    return Rule(tuple(flat), comment)


def _meta(key: MetaKey, value: bytes, op: Op = Op.EQ) -> Match:
    return (Meta(key), Cmp(op, value))


def _at(base: Base, offset: int, value: bytes, op: Op = Op.EQ) -> Match:
    return (Payload(base, offset, len(value)), Cmp(op, value))


def _between(base: Base, offset: int, span: Range) -> Match:
    first, last = span.first.packed, span.last.packed
    if first == last:
        return _at(base, offset, first)
    return (Payload(base, offset, len(first)), Cmp(Op.GE, first), Cmp(Op.LE, last))


def _port(number: int) -> bytes:
    return number.to_bytes(2, "big")


# ── The underlay: who may speak ────────────────────────────────────────────────────────────────────────────


def _underlay(site: str, segment: Segment) -> Table:
    vni = segment.vni.to_bytes(3, "big")
    to_us = (*_meta(MetaKey.L4PROTO, UDP), *_at(Base.TRANSPORT, 2, _port(segment.local.port)))
    # Reassembly of IPv6 comes later than this hook: a first fragment too short to show its VNI would slip by.
    rules = (
        _rule(to_us, _at(Base.TRANSPORT, VNI_AT, vni), Verdict(Code.JUMP, "remotes")),
        _rule(to_us, _at(Base.TRANSPORT, VNI_AT, vni, Op.NE), ACCEPT),
        _rule(to_us, DROP, comment="shows no VNI"),
    )
    routed = segment.kind is VpnKind.L3
    chains = (
        Chain(FACTS, tuple(Rule((Counter(),), line) for line in facts(site, segment))),
        Chain("remotes", (*(_by_site(segment) if routed else _by_set(segment)), STRANGER)),
        Chain("input", rules, Hook(HookPoint.INPUT, INPUT_PRIORITY)),
        *(_speaking(segment) if routed else ()),
    )
    return Table(Family.INET, table_name(segment.vni), chains, () if routed else tuple(_endpoint_sets(segment)))


def _by_set(segment: Segment) -> Iterator[Rule]:
    probes = _at(Base.TRANSPORT, INNER_TYPE, PROBE) if segment.blocked else ()
    for nfproto, load, name in ((NF_IPV4, OUTER_V4, "remotes4"), (NF_IPV6, OUTER_V6, "remotes6")):
        yield _rule(probes, _meta(MetaKey.NFPROTO, nfproto), load, Lookup(name), ACCEPT)


def _endpoint_sets(segment: Segment) -> Iterator[Set]:
    for version, kind in ((4, FieldType.IPV4), (6, FieldType.IPV6)):
        addresses = {e.address.packed for r in segment.remotes for e in r.endpoints if e.address.version == version}
        yield Set(f"remotes{version}", kind, frozenset(addresses))


def _by_site(segment: Segment) -> Iterator[Rule]:
    """L3: whoever sends is held to what that site may say."""
    for remote in segment.remotes:
        for address in sorted({e.address for e in remote.endpoints}, key=lambda a: (a.version, int(a))):
            nfproto, load = (NF_IPV4, OUTER_V4) if address.version == 4 else (NF_IPV6, OUTER_V6)
            outer = (*_meta(MetaKey.NFPROTO, nfproto), load, Cmp(Op.EQ, address.packed))
            yield _rule(outer, Verdict(Code.JUMP, f"site-{remote.site}"))


def _speaking(segment: Segment) -> Iterator[Chain]:
    """Probes, and IP from a remote's own prefixes."""
    prefixes: dict[str, set[Prefix]] = {}
    for remote in segment.remotes:
        prefixes.setdefault(remote.site, set()).update(remote.prefixes)
    for site, accepted in prefixes.items():
        rules = [_rule(_at(Base.TRANSPORT, INNER_TYPE, PROBE), ACCEPT)]
        if not segment.blocked:
            rules += [_rule(_from_prefix(prefix), ACCEPT) for prefix in sorted(accepted, key=str)]
        yield Chain(f"site-{site}", (*rules, _rule(Counter(), DROP, comment="not a prefix of this site")))


def _from_prefix(prefix: Prefix) -> Match:
    """The enclosed packet's source is within."""
    kind, at = (IPV4, INNER_SOURCE_V4) if prefix.version == 4 else (IPV6, INNER_SOURCE_V6)
    inside = (Payload(Base.TRANSPORT, at, len(prefix.netmask.packed)), Mask(prefix.netmask.packed))
    return (*_at(Base.TRANSPORT, INNER_TYPE, kind), *inside, Cmp(Op.EQ, prefix.network_address.packed))


# ── The bridge: what may pass ──────────────────────────────────────────────────────────────────────────────


def _bridge(segment: Segment) -> Table:
    device = interface(device_name(segment.vni))
    jump_from = _rule(_meta(MetaKey.IIFNAME, device), Verdict(Code.JUMP, "from"))
    jump_to = _rule(_meta(MetaKey.OIFNAME, device), Verdict(Code.JUMP, "to"))
    probe = _meta(MetaKey.PROTOCOL, PROBE)
    ours = _at(Base.LINK, frame_format.VNI_AT, segment.vni.to_bytes(4, "big"))
    mac = mac_bytes(segment.local.mac)
    everybody = _at(Base.LINK, 0, BROADCAST)
    mark = (Value(b"\x01"), SetPayload(Base.LINK, SIDE_AT, 1))
    prerouting = (jump_from, _rule(probe, ours, mark, comment="a loop-check frame from the tenants' side"))
    # A blocked member still hears the checks of others, and so whether the loop is still there.
    once = () if segment.blocked else (_rule(probe, _meta(MetaKey.IIFNAME, device), everybody, ACCEPT),)
    forward = (
        _rule(probe, _meta(MetaKey.OIFNAME, device), DROP),
        *once,
        _rule(probe, _meta(MetaKey.IIFNAME, device), DROP),
        _rule(probe, ours, DROP),
    )
    leaving = _meta(MetaKey.OIFNAME, device, Op.NE)
    stray = (*leaving, *_at(Base.LINK, 6, mac), *_at(Base.LINK, 0, BROADCAST, Op.NE))
    chains = (
        Chain("guards", tuple(_guards())),
        Chain("claims", tuple(_claims(segment))),
        Chain("from", tuple(_from_remote(segment, mac))),
        Chain("to", tuple(_to_remote(segment, mac))),
        Chain("prerouting", prerouting, Hook(HookPoint.PREROUTING, BRIDGE_PRIORITY)),
        Chain("forward", forward, Hook(HookPoint.FORWARD, BRIDGE_PRIORITY)),
        Chain("output", (_rule(probe, stray, DROP),), Hook(HookPoint.OUTPUT, BRIDGE_PRIORITY)),
        Chain("postrouting", (jump_to,), Hook(HookPoint.POSTROUTING, BRIDGE_PRIORITY)),
    )
    return Table(Family.BRIDGE, table_name(segment.vni), chains, (Set(KNOWN, FieldType.MAC, learnt=True),))


def _from_remote(segment: Segment, mac: bytes) -> Iterator[Rule]:
    probe = _meta(MetaKey.PROTOCOL, PROBE)
    loop = _at(Base.LINK, TYPE_AT, bytes((FrameType.LOOP,)))
    yield _rule(probe, _at(Base.LINK, 0, mac), ACCEPT)
    unmark = (Value(b"\x00"), SetPayload(Base.LINK, SIDE_AT, 1))
    yield _rule(probe, loop, _at(Base.LINK, 0, BROADCAST), unmark, ACCEPT)
    yield _rule(probe, DROP)
    if segment.blocked:
        yield _rule(Counter(), DROP, comment="blocked: a loop was seen")
    yield from _passing()
    yield _rule(Verdict(Code.JUMP, "claims"))
    yield _rule(Payload(Base.LINK, 6, 6), Learn(KNOWN))


def _to_remote(segment: Segment, mac: bytes) -> Iterator[Rule]:
    probe = _meta(MetaKey.PROTOCOL, PROBE)
    yield _rule(probe, _at(Base.LINK, 6, mac), ACCEPT)
    yield _rule(probe, DROP)
    if segment.blocked:
        yield _rule(Counter(), DROP, comment="blocked: a loop was seen")
    yield from _passing()
    single = (Payload(Base.LINK, 0, 1), Mask(b"\x01"), Cmp(Op.EQ, b"\x00"))
    unknown = (Payload(Base.LINK, 0, 6), Lookup(KNOWN, invert=True), LimitOver(RATE, BURST))
    yield _rule(single, unknown, Counter(), DROP, comment="unknown unicast over the rate")


def _passing() -> Iterator[Rule]:
    """What holds in both directions."""
    link_local = (Payload(Base.LINK, 0, 6), Mask(b"\xff" * 5 + b"\xf0"), Cmp(Op.EQ, b"\x01\x80\xc2\0\0\0"))
    yield _rule(link_local, DROP, comment="IEEE 802.1D link-local: spanning tree, LACP, LLDP")
    group = (Payload(Base.LINK, 0, 1), Mask(b"\x01"), Cmp(Op.EQ, b"\x01"))
    yield _rule(group, LimitOver(RATE, BURST), Counter(), DROP, comment="broadcast and multicast over the rate")
    yield _rule(Verdict(Code.JUMP, "guards"))


def _guards() -> Iterator[Rule]:
    udp = _meta(MetaKey.L4PROTO, UDP)
    icmp6 = _meta(MetaKey.L4PROTO, ICMPV6)
    dhcp = (Payload(Base.TRANSPORT, 2, 2), Cmp(Op.GE, _port(67)), Cmp(Op.LE, _port(68)))
    dhcp6 = (Payload(Base.TRANSPORT, 2, 2), Cmp(Op.GE, _port(546)), Cmp(Op.LE, _port(547)))
    yield _rule(_meta(MetaKey.PROTOCOL, IPV4), udp, dhcp, DROP, comment="DHCPv4")
    yield _rule(_meta(MetaKey.PROTOCOL, IPV6), udp, dhcp6, DROP, comment="DHCPv6")
    for kind, name in ((133, "router solicitation"), (134, "router advertisement"), (137, "redirect")):
        yield _rule(_meta(MetaKey.PROTOCOL, IPV6), icmp6, _at(Base.TRANSPORT, 0, bytes((kind,))), DROP, comment=name)
    icmp = (*_meta(MetaKey.PROTOCOL, IPV4), *_meta(MetaKey.L4PROTO, ICMP))
    yield _rule(icmp, _at(Base.TRANSPORT, 0, b"\x05"), DROP, comment="redirect")
    metadata4, metadata6 = (address.packed for address in METADATA)
    for offset in (14, 24):
        yield _rule(_meta(MetaKey.PROTOCOL, ARP), _at(Base.NETWORK, offset, metadata4), DROP, comment="metadata")
    for kind in (SOLICITATION, ADVERTISEMENT):
        yield _rule(_discovery(kind), _at(Base.TRANSPORT, 8, metadata6), DROP, comment="metadata")
    yield _rule(_meta(MetaKey.PROTOCOL, IPV6), _at(Base.NETWORK, 8, metadata6), DROP, comment="metadata")


def _claims(segment: Segment) -> Iterator[Rule]:
    """ARP and neighbour discovery in which a remote says that an address of ours is its own."""
    spans = [*segment.ranges, *(Range(first=gateway.ip, last=gateway.ip) for gateway in segment.gateways)]
    for span in sorted(set(spans), key=lambda s: (s.first.version, int(s.first), int(s.last))):
        if span.first.version == 4:
            yield _rule(_meta(MetaKey.PROTOCOL, ARP), _between(Base.NETWORK, 14, span), Counter(), DROP)
            continue
        yield _rule(_discovery(ADVERTISEMENT), _between(Base.TRANSPORT, 8, span), Counter(), DROP)
        for kind in (SOLICITATION, ADVERTISEMENT):
            yield _rule(_discovery(kind), _between(Base.NETWORK, 8, span), Counter(), DROP)


def _discovery(kind: int) -> Match:
    icmp6 = (*_meta(MetaKey.PROTOCOL, IPV6), *_meta(MetaKey.L4PROTO, ICMPV6))
    return (*icmp6, *_at(Base.TRANSPORT, 0, bytes((kind,))))

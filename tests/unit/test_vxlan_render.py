"""What the `vxlan` driver derives from a Segment, and reads back: pure functions against written-down values."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

import pytest

from intertie.drivers.linux.nft_model import Chain, Code, Family, Rule, Table, Verdict
from intertie.drivers.transport.vxlan_kernel import ANYBODY, Device, Entry, wanted_device, wanted_entries
from intertie.drivers.transport.vxlan_names import (
    Alias,
    alias_text,
    facts,
    parse_alias,
    parse_facts,
    router_name,
    router_port,
    router_prefix,
)
from intertie.drivers.transport.vxlan_probe import example
from intertie.drivers.transport.vxlan_router import Neighbour, Route, via, wanted_neighbours, wanted_routes
from intertie.drivers.transport.vxlan_rules import tables
from intertie.drivers.transport.vxlan_sight import Sight, flaws, owner, replaces, segment_of
from intertie.model.bodies import Endpoint, VpnKind
from intertie.model.items import Remote, Segment

MAC = "fe:00:00:00:00:02"
SITE = "nantes"


def segment(kind: VpnKind = VpnKind.L2) -> Segment:
    """`example`, with the remote's endpoint of the segment's own IP version alone."""
    found = example(kind)
    remote = replace(found.remotes[0], endpoints=found.remotes[0].endpoints[:1])
    return replace(found, vpn="nantes.01vpn", network="nantes.net-blue", vni=65537, remotes=(remote,))


def sight(kind: VpnKind = VpnKind.L2) -> Sight:
    """What the kernel holds once the segment is as it should be."""
    wished = segment(kind)
    device = wanted_device(SITE, wished)
    return Sight(device=device, static=wanted_entries(wished), tables=tables(SITE, wished))


def test_an_l2_device() -> None:
    assert wanted_device(SITE, segment(), bridge_mtu=9000) == Device(
        name="vx65537",
        vni=65537,
        local=ip_address("192.0.2.1"),
        port=4789,
        mac="fe:00:00:00:00:01",
        mtu=9000,
        alias="intertie nantes l2 0 nantes.01vpn nantes.net-blue",
        master="br0",
        learning=True,
        df=1,
        ttl=64,
        up=True,
    )


@pytest.mark.parametrize(("bridge", "vpn", "device"), [(1450, 1450, 1500), (1500, 1450, 1500), (1500, 8950, 8950)])
def test_an_l2_device_is_never_smaller_than_its_bridge(bridge: int, vpn: int, device: int) -> None:
    assert wanted_device(SITE, replace(segment(), mtu=vpn), bridge_mtu=bridge).mtu == device


def test_an_l3_device_has_the_vpns_mtu_and_learns_nothing() -> None:
    device = wanted_device(SITE, segment(VpnKind.L3), bridge_mtu=9000)
    assert (device.mtu, device.learning, device.master) == (1450, False, "")


def test_entries() -> None:
    there = ip_address("192.0.2.2")
    assert wanted_entries(segment()) == {Entry(ANYBODY, there, 4789), Entry(MAC, there, 4789)}
    assert wanted_entries(segment(VpnKind.L3)) == {Entry(MAC, there, 4789)}


def test_a_remote_with_several_endpoints_is_sent_to_at_all_of_them() -> None:
    """One MAC has one place; what is for everybody goes to each. Another IP version cannot be sent to."""
    wished = segment()
    more = Endpoint(address=ip_address("192.0.2.3"), port=4790, mac=MAC)
    other = Endpoint(address=ip_address("2001:db8::9"), mac="fe:00:00:00:00:09")
    remote = replace(wished.remotes[0], endpoints=(*wished.remotes[0].endpoints, more, other))
    assert wanted_entries(replace(wished, remotes=(remote,))) == {
        Entry(ANYBODY, ip_address("192.0.2.2"), 4789),
        Entry(ANYBODY, ip_address("192.0.2.3"), 4790),
        Entry(MAC, ip_address("192.0.2.2"), 4789),
    }


def test_routes_and_neighbours() -> None:
    """The modified EUI-64 of RFC 4291, appendix A: the universal/local bit inverted, ff:fe in the middle."""
    wished = segment(VpnKind.L3)
    gate = IPv6Address("fe80::fc00:ff:fe00:2")
    assert via(MAC) == gate
    assert wanted_neighbours(wished) == {Neighbour(gate, MAC)}
    assert wanted_routes(wished) == {
        Route(ip_network("198.51.100.0/24"), gate, ip_address("203.0.113.10")),
        Route(ip_network("2001:db8:2::/64"), gate, ip_address("2001:db8:1::10")),
    }
    first = (ip_interface("203.0.113.7/24"), *wished.gateways)
    assert {r.source for r in wanted_routes(replace(wished, gateways=first)) if r.prefix.version == 4} == {
        ip_address("203.0.113.7")
    }
    assert {r.source for r in wanted_routes(replace(wished, gateways=()))} == {None}


def test_an_alias_is_read_back() -> None:
    alias = Alias("nantes", VpnKind.L3, 12, "lyon.01abc", "0c1b8f52-7e3d-4a87-9f01-2f8c5d6e7a90")
    assert parse_alias(alias_text(alias)) == alias


@pytest.mark.parametrize(
    "text", ["", "uplink", "intertie nantes l4 1 a b", "intertie nantes l2 x a b", "intertie a b"]
)
def test_somebody_elses_alias_is_not_ours(text: str) -> None:
    assert parse_alias(text) is None


@pytest.mark.parametrize("name", ["", "two words", "x" * 250])
def test_what_would_not_be_read_back_is_not_written(name: str) -> None:
    with pytest.raises(ValueError, match="alias"):
        alias_text(Alias("nantes", VpnKind.L2, 1, name, "net"))


def test_names_in_the_kernel_fit() -> None:
    site, network = "s" * 63, "n" * 200
    assert len(router_port(site, network)) <= 15
    assert router_name("nantes", network).startswith(router_prefix("nantes"))
    assert len(router_name("nantes", network)) <= 63
    assert router_port("nantes", "a") != router_port("nantes", "b") != router_port("lyon", "b")


def fifty() -> Segment:
    remotes = tuple(
        Remote(
            site=f"s{n}-" + "x" * 58,
            endpoints=(Endpoint(address=ip_address(f"2001:db8::{n}"), mac=f"fe:00:00:00:00:{n:02x}"),),
            prefixes=tuple(ip_network(f"2001:db8:{n}:{m}::/64") for m in range(4)),
        )
        for n in range(1, 51)
    )
    return replace(segment(VpnKind.L3), remotes=remotes, local=Endpoint(address=ip_address("2001:db8::ffff")))


@pytest.mark.parametrize("wished", [segment(), segment(VpnKind.L3), fifty(), replace(segment(), blocked=True)])
def test_facts_are_read_back_from_comments_that_fit(wished: Segment) -> None:
    lines = facts(SITE, wished)
    assert all(0 < len(line.encode()) <= 120 for line in lines)
    assert parse_facts(tables(SITE, wished)[0]) == (SITE, wished)


@pytest.mark.parametrize("comments", [(), ("{",), ('{"site":"a"}',), ('{"site":"a","segment":{"vpn":1}}',), ("[]",)])
def test_facts_that_make_no_sense_are_none(comments: tuple[str, ...]) -> None:
    chain = Chain("facts", tuple(Rule((), comment) for comment in comments))
    assert parse_facts(Table(Family.INET, "intertie-vx1", (chain,))) is None


def test_a_sight_without_flaw_is_the_segment() -> None:
    assert segment_of(SITE, sight()) == segment()
    assert segment_of("lyon", sight()) is None


def test_each_difference_is_said() -> None:
    good = sight()
    device = good.device
    assert device is not None
    inet, bridge = good.tables
    opened = replace(inet, chains=(*inet.chains, Chain("extra", (Rule((Verdict(Code.ACCEPT),)),))))
    for wrong, words in (
        (replace(good, device=None), "its device is missing"),
        (replace(good, device=replace(device, master="")), "the port of no bridge"),
        (replace(good, device=replace(device, master="br9")), "the port of br9"),
        (replace(good, device=replace(device, up=False)), "its device is down"),
        (replace(good, device=replace(device, mtu=1400)), "MTU 1400 for 1500"),
        (replace(good, device=replace(device, mtu=9000)), ""),
        (replace(good, device=replace(device, port=4790)), "another UDP port 4790 → 4789"),
        (replace(good, device=replace(device, df=0)), "another MAC, label, DF or TTL"),
        (replace(good, static=frozenset()), "other forwarding entries"),
        (replace(good, tables=(inet,)), "another filter"),
        (replace(good, tables=(opened, bridge)), "another filter"),
    ):
        assert flaws(SITE, segment(), wrong) == words
        seen = segment_of(SITE, wrong)
        assert seen is not None
        assert seen == replace(segment(), flaw=words)


def test_without_its_labels_a_segment_is_still_recognised() -> None:
    seen = segment_of(SITE, replace(sight(), tables=()))
    assert seen is not None
    assert (seen.vpn, seen.network, seen.kind, seen.vni) == ("nantes.01vpn", "nantes.net-blue", VpnKind.L2, 65537)
    assert seen.local == segment().local
    assert [e for r in seen.remotes for e in r.endpoints] == list(segment().remotes[0].endpoints)
    assert seen.flaw == "no filter"


def test_an_l3_segment_outside_its_router_is_flawed() -> None:
    seen = segment_of(SITE, sight(VpnKind.L3))
    assert seen is not None
    assert seen.flaw == "not in its router"


def test_whose_a_vni_is() -> None:
    good = sight()
    device = good.device
    assert device is not None
    assert owner(SITE, segment(), good) == ""
    assert owner(SITE, segment(), Sight(device=None)) == ""
    assert owner(SITE, replace(segment(), vpn="lyon.02"), good) == "Vpn nantes.01vpn of site nantes"
    assert owner("lyon", segment(), replace(good, tables=())) == "Vpn nantes.01vpn of site nantes"
    theirs = Sight(device=replace(device, alias="kept by hand"))
    assert owner(SITE, segment(), theirs) == "somebody else's device"
    assert owner(SITE, segment(), replace(good, device=replace(device, alias=""))) == ""


def test_what_replaces_a_device() -> None:
    have = segment()
    local = have.local
    for edited in (
        replace(have, mtu=1400),
        replace(have, remotes=()),
        replace(have, epoch=4, blocked=True),
        replace(have, local=replace(local, mac=MAC)),
        replace(have, bridge="br1"),
    ):
        assert replaces(have, edited) is None
    moved = replace(have, local=replace(local, address=ip_address("192.0.2.9")))
    assert replaces(have, moved) == "the VXLAN device is replaced: local address 192.0.2.1 → 192.0.2.9"
    assert replaces(have, replace(have, vni=7)) == "the VXLAN device is replaced: VNI 65537 → 7"
    assert replaces(have, replace(moved, vpn="nantes.02")) is None

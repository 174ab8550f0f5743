"""A host at nantes announces itself as router, serves DHCP, and claims addresses: it harms its own site at most.

`near`, at the same site, shows each time that the attack works where nothing guards; b, c and d are elsewhere.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

from pyroute2 import IPRoute

from tests.net.topologies.frames import Wire, mac_of
from tests.net.topologies.hosts import addresses
from tests.net.topologies.rig import Rig, until
from tests.net.vxlan_lab import EVERYBODY, IPV4, IPV6, arp, control, ethernet, icmp6, ipv4, mac, udp

ELSEWHERE = {"b": "lyon", "d": "lyon", "c": "rennes"}
BAIT = ip_network("fd99::/64")
ADVERTISEMENT = (
    bytes.fromhex("40000708000000000000000003044040ffffffffffffffff00000000") + BAIT.network_address.packed
)
"""Hop limit 64, router for half an hour; hosts may form addresses from the bait prefix for ever (RFC 4861, 4.2)."""


def routes(rig: Rig, site: str, host: str) -> set[str]:
    """Gateways of the host's default routes."""

    def look() -> set[str]:
        with IPRoute() as nl:
            rows = [*nl.get_routes(family=2, dst_len=0), *nl.get_routes(family=10, dst_len=0)]
            return {str(row.get_attr("RTA_GATEWAY")) for row in rows if row.get_attr("RTA_GATEWAY")}

    return rig.ns(site, host).run(look)


def took_the_bait(rig: Rig, site: str, host: str) -> bool:
    found = rig.ns(site, host).run(lambda: addresses("eth0"))
    return any(ip_address(each.partition("/")[0]) in BAIT for each in found)


@contextmanager
def wires(rig: Rig, **hosts: str) -> Iterator[dict[str, Wire]]:
    opened = {host: Wire.open(rig.ns(site, host)) for host, site in hosts.items()}
    try:
        yield opened
    finally:
        for wire in opened.values():
            wire.close()


def test_a_router_advertisement_stays_at_its_site(rig: Rig) -> None:
    source = mac_of(rig.ns("nantes", "rogue"))
    before = {host: routes(rig, site, host) for host, site in ELSEWHERE.items()}
    here = routes(rig, "nantes", "near")
    with wires(rig, rogue="nantes", **ELSEWHERE) as opened:
        rogue = opened.pop("rogue")
        packet = icmp6("fe80::bad", "ff02::1", 134, ADVERTISEMENT)
        rogue.send(ethernet("33:33:00:00:00:01", source, IPV6, packet))
        until("near, unguarded, takes an address and a default route", lambda: took_the_bait(rig, "nantes", "near"))
        assert routes(rig, "nantes", "near") - here == {"fe80::bad"}
        rogue.send(control(source, 1))
        for wire in opened.values():
            heard = wire.until(lambda frame: frame[:22] == control(source, 1)[:22])
            assert not [frame for frame in heard if frame[6:12] == mac(source)]
    for host, site in ELSEWHERE.items():
        assert not took_the_bait(rig, site, host)
        assert routes(rig, site, host) == before[host]


def dhcp(kind: int, number: int, source: str) -> bytes:
    """A DISCOVER (1) or an OFFER (2) of 10.10.0.66 as a broadcast frame (RFC 2131)."""
    head = struct.pack("!BBBBIHHIIII", kind, 1, 6, 0, number, 0, 0x8000, 0, 0x0A0A0042 if kind == 2 else 0, 0, 0)
    body = head + mac(source).ljust(16, b"\0") + bytes(192) + bytes.fromhex("63825363") + bytes((53, 1, kind, 255))
    sender, ports = ("0.0.0.0", (68, 67)) if kind == 1 else ("10.10.0.66", (67, 68))
    packet = ipv4(sender, "255.255.255.255", 17, udp(*ports, body))
    return ethernet(EVERYBODY, source, IPV4, packet)


def number_of(frame: bytes, kind: int) -> int | None:
    """The transaction number, if the frame is a DHCP message of that kind."""
    is_dhcp = frame[12:14] == b"\x08\x00" and frame[23] == 17 and len(frame) > 282 and frame[42] == kind
    return int.from_bytes(frame[46:50], "big") if is_dhcp else None


def test_a_dhcp_server_serves_its_own_site_only(rig: Rig) -> None:
    source = mac_of(rig.ns("nantes", "rogue"))
    asked: set[int] = set()
    ended = threading.Event()
    with wires(rig, rogue="nantes", near="nantes", **ELSEWHERE) as opened:
        rogue = opened["rogue"]

        def serve() -> None:
            while not ended.is_set():
                for frame in rogue.during(0.1):
                    if (number := number_of(frame, 1)) is not None:
                        asked.add(number)
                        rogue.send(dhcp(2, number, source))

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        try:
            clients = {host: 100 + i for i, host in enumerate(("near", *ELSEWHERE))}
            for host, number in clients.items():
                site = {"near": "nantes", **ELSEWHERE}[host]
                opened[host].send(dhcp(1, number, mac_of(rig.ns(site, host))))
            opened["near"].until(lambda frame: number_of(frame, 2) == clients["near"])
            for number in clients.values():  # offers that nobody asked for
                rogue.send(dhcp(2, number, source))
            rogue.send(control(source, 2))
            for host in ELSEWHERE:
                heard = opened[host].until(lambda frame: frame[:22] == control(source, 2)[:22])
                assert not [frame for frame in heard if number_of(frame, 2) is not None], host
        finally:
            ended.set()
            server.join()
    assert asked == {clients["near"]}


def neighbour(rig: Rig, site: str, host: str, address: str) -> str | None:
    """The MAC that a host believes an address to have."""

    def look() -> str | None:
        with IPRoute() as nl:
            found = [n for n in nl.get_neighbours() if n.get_attr("NDA_DST") == address]
            return found[0].get_attr("NDA_LLADDR") if found else None

    return rig.ns(site, host).run(look)


def test_claims_of_anothers_address_or_gateway_go_no_further(rig: Rig) -> None:
    source = mac_of(rig.ns("nantes", "rogue"))
    target, target6 = rig.address("lyon", "b"), rig.address("lyon", "b", 6)
    gateway = next(
        g for n in rig["lyon"].items("/v1/networks") if n["name"] == "blue" for g in n["gateways"] if ":" not in g
    )
    honest = mac_of(rig.ns("lyon", "b"))
    for host, site in (("d", "lyon"), ("near", "nantes")):
        for address in (target, target6):
            assert rig.see.answers(rig.ns(site, host), address, timeout=5.0) == 3
        assert neighbour(rig, site, host, target) == honest
    claim6 = icmp6(target6, "ff02::1", 136, struct.pack("!I", 0x20000000) + ip_address(target6).packed)
    claims = [
        arp(source, target, target, operation=2),
        arp(source, target, "10.10.0.99", operation=1),
        arp(source, gateway, gateway, operation=2),
        ethernet("33:33:00:00:00:01", source, IPV6, claim6 + b"\x02\x01" + mac(source)),
    ]
    with wires(rig, rogue="nantes", near="nantes", b="lyon", d="lyon") as opened:
        for claim in claims:
            opened["rogue"].send(claim)
        opened["rogue"].send(control(source, 3))
        seen = {
            host: [
                frame
                for frame in opened[host].until(lambda frame: frame[:22] == control(source, 3)[:22])
                if frame[6:12] == mac(source)
            ]
            for host in ("near", "b", "d")
        }
    assert len(seen["near"]) == len(claims), "they were sent: near hears them"
    assert seen["b"] == seen["d"] == []
    assert neighbour(rig, "lyon", "d", target) == honest
    assert rig.see.answers(rig.ns("lyon", "d"), target, timeout=3.0) == 3

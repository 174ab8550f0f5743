"""What a segment lets pass between two sites, frame by frame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from intertie.drivers.linux import nft
from intertie.drivers.linux.nft_model import Family
from intertie.drivers.transport.vxlan_rules import BURST
from intertie.model.bodies import VpnKind
from tests.net.vxlan_lab import (
    EVERYBODY,
    IPV4,
    IPV6,
    PROBE,
    CountedNamespaces,
    Fabric,
    Wire,
    arp,
    control,
    ethernet,
    icmp6,
    ipv4,
    ipv6,
    mac,
    udp,
)

pytestmark = pytest.mark.net
METADATA6 = "fe80::a9fe:a9fe"
ROUTERS, NODES = "ff02::2", "ff02::1"


@dataclass
class Pair:
    """Two joined sites; `there` sends and `here` hears, both as hosts of theirs."""

    fabric: Fabric
    here: Wire
    there: Wire
    source: str

    async def heard(self, *frames: bytes) -> list[bytes]:
        """What reaches the host here of frames sent there: nothing else passes by than what these set off."""
        for frame in frames:
            self.there.send(frame)
        self.there.send(control(self.source, 99))
        arrived = await self.here.until(control(self.source, 99))
        return [data for data in arrived if data[6:12] == mac(self.source)]

    async def unguard(self, site: int) -> None:
        """Take one site's bridge filter away, so that only the other's is left to hold."""
        name = "intertie-vx65537"
        await self.fabric.spaces.run(self.fabric.lab.site(site), lambda: nft.delete([(Family.BRIDGE, name)]))


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    spaces = CountedNamespaces(tmp_path / "netns")
    fabric = Fabric(spaces, 2)
    await fabric.build()
    for i in fabric.sites:
        await fabric.network(i, "a", VpnKind.L2)
        await fabric.drivers[i].ensure(fabric.l2(i, (1, 2)))
    here = await Wire.open(spaces, fabric.hosts[1, "a"])
    there = await Wire.open(spaces, fabric.hosts[2, "a"])
    yield Pair(fabric, here, there, await fabric.mac(fabric.hosts[2, "a"]))
    here.close()
    there.close()
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


def guarded(source: str) -> dict[str, bytes]:
    """Frames that belong to one site only."""

    def v4(protocol: int, payload: bytes) -> bytes:
        return ethernet(EVERYBODY, source, IPV4, ipv4("10.0.0.20", "255.255.255.255", protocol, payload))

    def v6(payload: bytes) -> bytes:
        return ethernet("33:33:00:00:00:01", source, IPV6, payload)

    advertisement = (
        bytes.fromhex("40080708000000000000000003044040ffffffffffffffff00000000") + ip_address("fd99::").packed
    )
    target = ip_address(METADATA6).packed
    # A hop-by-hop header in front (RFC 8200 section 4.3) must not hide an advertisement.
    inner = icmp6("fe80::2", NODES, 134, advertisement)[40:]
    hidden = ipv6("fe80::2", NODES, 0, bytes((58, 0, 1, 4, 0, 0, 0, 0)) + inner)
    return {
        "dhcp discover": v4(17, udp(68, 67, bytes(240))),
        "dhcp offer": v4(17, udp(67, 68, bytes(240))),
        "dhcpv6 solicit": v6(ipv6("fe80::2", "ff02::1:2", 17, udp(546, 547, bytes(8)))),
        "dhcpv6 reply": v6(ipv6("fe80::2", "fe80::1", 17, udp(547, 546, bytes(8)))),
        "router advertisement": v6(icmp6("fe80::2", NODES, 134, advertisement)),
        "hidden router advertisement": v6(hidden),
        "router solicitation": v6(icmp6("fe80::2", ROUTERS, 133, bytes(4))),
        "redirect v6": v6(icmp6("fe80::2", NODES, 137, bytes(36))),
        "redirect v4": v4(1, bytes.fromhex("0500f9ff0a000001") + bytes(28)),
        "arp for metadata": arp(source, "10.0.0.20", "169.254.169.254", operation=1),
        "arp from metadata": arp(source, "169.254.169.254", "10.0.0.10"),
        "nd for metadata": v6(icmp6("fe80::2", NODES, 135, bytes(4) + target)),
        "nd from metadata": v6(icmp6("fe80::2", NODES, 136, bytes(4) + target)),
        "anything from metadata": v6(ipv6(METADATA6, NODES, 17, udp(9, 9))),
        "spanning tree": ethernet("01:80:c2:00:00:00", source, 0x0027, bytes.fromhex("424203") + bytes(36)),
        "probe": ethernet(EVERYBODY, source, PROBE, b"\x01\x00\x00\x01\x00\x01" + bytes(40)),
    }


@pytest.mark.parametrize("unguarded", [None, 1, 2], ids=["both", "sender-only", "receiver-only"])
async def test_what_belongs_to_one_site_stays_there(pair: Pair, unguarded: int | None) -> None:
    frames = guarded(pair.source)
    if unguarded is not None:
        await pair.unguard(unguarded)
    got = await pair.heard(*frames.values())
    assert [name for name, frame in frames.items() if any(data.startswith(frame) for data in got)] == []


async def test_without_any_filter_all_of_it_would_pass(pair: Pair) -> None:
    """The test above can fail: the same frames arrive where no filter is."""
    frames = guarded(pair.source)
    for site in (1, 2):
        await pair.unguard(site)
    got = await pair.heard(*frames.values())
    assert [name for name, frame in frames.items() if not any(data.startswith(frame) for data in got)] == []


async def test_what_tenants_say_to_one_another_passes(pair: Pair) -> None:
    solicited = icmp6("fd01::20", "ff02::1:ff00:10", 135, bytes(4) + ip_address("fd01::10").packed)
    frames = [
        arp(pair.source, "10.0.0.20", "10.0.0.10", operation=1),
        arp(pair.source, "0.0.0.0", "10.0.0.10", operation=1),
        ethernet("33:33:ff:00:00:10", pair.source, IPV6, solicited),
        ethernet(EVERYBODY, pair.source, IPV4, ipv4("10.0.0.20", "10.0.0.255", 17, udp(5353, 5353, b"hello"))),
        ethernet("01:00:5e:00:00:fb", pair.source, IPV4, ipv4("10.0.0.20", "224.0.0.251", 17, udp(5353, 5353))),
    ]
    got = await pair.heard(*frames)
    assert [frame for frame in frames if not any(data.startswith(frame) for data in got)] == []


async def test_no_remote_answers_for_an_address_of_ours(pair: Pair) -> None:
    """Site 1 holds .10 to .19, fd01::10 to fd01::1f and the gateway .201."""

    def advertises(address: str, source: str = "fe80::2") -> bytes:
        body = bytes.fromhex("20000000") + ip_address(address).packed + bytes((2, 1)) + mac(pair.source)
        return ethernet("33:33:00:00:00:01", pair.source, IPV6, icmp6(source, NODES, 136, body))

    asks_as_us = icmp6("fd01::15", "ff02::1:ff00:1", 135, bytes(4) + ip_address("fd01::99").packed)
    ours = [arp(pair.source, f"10.0.0.{n}", "10.0.0.10") for n in (10, 15, 19, 201)]
    ours += [advertises(address) for address in ("fd01::10", "fd01::1f")]
    ours += [advertises("fd01::99", source="fd01::12"), ethernet(EVERYBODY, pair.source, IPV6, asks_as_us)]
    theirs = [arp(pair.source, f"10.0.0.{n}", "10.0.0.10") for n in (9, 20, 200, 202)]
    theirs += [advertises(address) for address in ("fd01::f", "fd01::20")]
    got = await pair.heard(*ours, *theirs)
    assert [frame for frame in ours if any(data.startswith(frame) for data in got)] == []
    assert [frame for frame in theirs if not any(data.startswith(frame) for data in got)] == []


async def test_broadcast_is_limited_and_unicast_is_not(pair: Pair) -> None:
    storm, flow = 6 * BURST, 2 * BURST
    receiver = await pair.fabric.mac(pair.fabric.hosts[1, "a"])
    pair.here.send(control(receiver))
    await pair.there.until(control(receiver))
    for number in range(storm):
        pair.there.send(ethernet(EVERYBODY, pair.source, 0x88B6, number.to_bytes(8, "big")))
        if number % 200 == 0:
            await asyncio.sleep(0)
    for number in range(flow):
        pair.there.send(ethernet(receiver, pair.source, 0x88B6, b"flow" + number.to_bytes(4, "big")))
    marker = ethernet(receiver, pair.source, 0x88B6, b"the end")
    pair.there.send(marker)
    arrived = await pair.here.until(marker, timeout=10)
    flooded = sum(data[:6] == mac(EVERYBODY) and data[6:12] == mac(pair.source) for data in arrived)
    assert BURST <= flooded < storm / 2
    assert sum(data[14:18] == b"flow" for data in arrived) == flow


async def test_unicast_to_nobody_known_is_limited_until_somebody_answers(pair: Pair) -> None:
    """Such a frame goes to every member. One frame from there makes its sender known; an edit forgets nothing."""
    storm = 4 * BURST
    silent = await Wire.open(pair.fabric.spaces, pair.fabric.lab.site(1), "vx65537")

    def flow(target: str, start: int) -> None:
        for number in range(start, start + storm):
            pair.there.send(ethernet(target, pair.source, 0x88B6, b"flow" + number.to_bytes(4, "big")))

    async def arrived(end: int) -> int:
        pair.there.send(control(pair.source, end))
        return sum(data[14:18] == b"flow" for data in await silent.until(control(pair.source, end), timeout=10))

    nobody = "02:00:00:00:00:77"
    flow(nobody, 0)
    assert BURST <= await arrived(1) < storm * 3 / 4
    port = await Wire.open(pair.fabric.spaces, pair.fabric.hosts[1, "a"])
    port.send(control(nobody, 2))
    await pair.there.until(control(nobody, 2))
    flow(nobody, storm)
    assert await arrived(3) == storm
    edited = replace(pair.fabric.l2(2, (1, 2)), epoch=2)
    await pair.fabric.drivers[2].ensure(edited)
    assert await pair.fabric.seen(2) == [edited]
    flow(nobody, 2 * storm)
    assert await arrived(4) == storm
    port.close()
    silent.close()

"""L3 segments of the `vxlan` driver: two projects with the same prefixes over three sites, with real packets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path

import pytest

from intertie.drivers.linux import nft
from intertie.drivers.linux.icmp import Outcome, Pinger
from intertie.drivers.linux.nft_model import Family
from intertie.drivers.transport.vxlan_names import router_name, router_port
from intertie.drivers.transport.vxlan_router import TABLE, via
from intertie.model.bodies import VpnKind
from intertie.model.errors import Conflict
from intertie.model.items import Remote, Segment, key
from tests.net.vxlan_lab import (
    IPV4,
    IPV6,
    CountedNamespaces,
    Fabric,
    Wire,
    arp,
    control,
    ethernet,
    icmp6,
    ipv4,
    udp,
    vxlan,
)

pytestmark = pytest.mark.net
ALL = (1, 2, 3)
RED, BLUE = 7001, 7002


@pytest.fixture
async def spaces(tmp_path: Path) -> AsyncIterator[CountedNamespaces]:
    spaces = CountedNamespaces(tmp_path / "netns")
    yield spaces
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


@pytest.fixture
async def fabric(spaces: CountedNamespaces) -> Fabric:
    """Three sites, each with the networks `r` and `b`, whose prefixes are the same, joined into two Vpns."""
    fabric = Fabric(spaces)
    await fabric.build()
    for tag, vni in (("r", RED), ("b", BLUE)):
        for i in ALL:
            await fabric.network(i, tag, VpnKind.L3)
            await fabric.ensure((i, fabric.l3(i, ALL, tag=tag, vni=vni)))
    return fabric


def red(fabric: Fabric, i: int, remotes: tuple[int, ...] = ALL) -> Segment:
    return fabric.l3(i, remotes, tag="r", vni=RED)


def blue(fabric: Fabric, i: int) -> Segment:
    return fabric.l3(i, ALL, tag="b", vni=BLUE)


def hosts(i: int) -> list[str]:
    return [address for j in ALL if j != i for address in (f"10.{j}.0.10", f"fd00:{j}::10")]


async def test_equal_prefixes_in_two_projects(fabric: Fabric) -> None:
    for i in ALL:
        assert await fabric.seen(i) == [red(fabric, i), blue(fabric, i)]
        for tag in "rb":
            assert await fabric.pings(fabric.hosts[i, tag], hosts(i)) == [True] * 4
    wire = await Wire.open(fabric.spaces, fabric.hosts[2, "r"])
    assert await fabric.pings(fabric.hosts[1, "b"], ["10.2.0.10"] * 5) == [True] * 5
    other = await Wire.open(fabric.spaces, fabric.lab.site(2), "p-h2r")
    other.send(control("02:00:00:00:00:99"))
    heard = await wire.until(control("02:00:00:00:00:99"))
    assert not [frame for frame in heard if frame[12:14] == b"\x08\x00"]
    wire.close()
    other.close()


async def test_too_large_is_said_by_the_gateway(fabric: Fabric) -> None:
    async with Pinger(fabric.spaces, fabric.hosts[1, "r"]) as pinger:
        for target, gateway in (("10.2.0.10", "10.1.0.1"), ("fd00:2::10", "fd00:1::1")):
            assert (await pinger.ping(ip_address(target), size=1450)).outcome is Outcome.REPLY
            for size in (1451, 1500):
                echo = await pinger.ping(ip_address(target), size=size)
                assert (echo.outcome, echo.mtu, str(echo.source)) == (Outcome.TOO_BIG, 1450, gateway)
        # What the far router says must come back too: its own address stands in for it.
        far = await pinger.ping(ip_address("10.2.0.77"), timeout=5)
        assert (far.outcome, str(far.source)) == (Outcome.UNREACHABLE, "10.2.0.1")


async def test_a_removed_member_that_is_left_as_it_was_gets_nothing_in(fabric: Fabric) -> None:
    assert await fabric.pings(fabric.hosts[3, "r"], ["10.1.0.10"] * 3) == [True] * 3
    for i in (1, 2):
        await fabric.drivers[i].ensure(red(fabric, i, (1, 2)))
    sender = await site_socket(fabric, 3)
    wire = await Wire.open(fabric.spaces, fabric.hosts[1, "r"])
    send(fabric, sender, inner4(fabric, 1, 3, "10.3.0.10", 5))
    assert await fabric.pings(fabric.hosts[3, "r"], ["10.1.0.10"] * 3) == [False] * 3
    assert marked(await drained(fabric, wire)) == []
    assert await fabric.pings(fabric.hosts[1, "r"], ["10.2.0.10"] * 3) == [True] * 3
    assert await fabric.pings(fabric.hosts[3, "b"], ["10.1.0.10"] * 3) == [True] * 3
    wire.close()
    sender.close()


async def site_socket(fabric: Fabric, i: int) -> socket.socket:
    """A UDP socket of the underlay at a site: a member that sends whatever it likes."""
    return await fabric.spaces.run(fabric.lab.site(i), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def send(fabric: Fabric, sender: socket.socket, frame: bytes, vni: int = RED) -> None:
    sender.sendto(vxlan(vni, frame), (str(fabric.lab.underlay(1)), 4789))


def inner4(fabric: Fabric, to: int, by: int, source: str, mark: int, target: str = "10.1.0.10") -> bytes:
    segments = red(fabric, to), red(fabric, by)
    payload = ipv4(source, target, 17, udp(mark, 4000, b"mark"))
    return ethernet(segments[0].local.mac, segments[1].local.mac, IPV4, payload)


def marked(frames: list[bytes]) -> list[int]:
    """The source ports of marked UDP datagrams."""
    return [int.from_bytes(frame[34:36], "big") for frame in frames if frame[42:46] == b"mark"]


async def drained(fabric: Fabric, wire: Wire, tag: str = "r") -> list[bytes]:
    """What the host at site 1 has heard of what was sent before: a packet that may pass closes the list."""
    sender = await site_socket(fabric, 2)
    last = inner4(fabric, 1, 2, "10.2.0.10", 9999)
    send(fabric, sender, last)
    sender.close()
    heard: list[bytes] = []
    async with asyncio.timeout(3):
        while True:
            data = await asyncio.get_running_loop().sock_recv(wire._socket, 1 << 16)
            if marked([data]) == [9999]:
                return heard
            heard.append(data)


async def test_a_member_speaks_for_its_own_prefixes_only(fabric: Fabric) -> None:
    wire = await Wire.open(fabric.spaces, fabric.hosts[1, "r"])
    sender = await site_socket(fabric, 2)
    for mark, source in enumerate(("10.3.0.10", "10.1.0.10", "192.0.2.1", "10.2.1.0", "169.254.169.254"), 1):
        send(fabric, sender, inner4(fabric, 1, 2, source, mark))
    there, here = red(fabric, 2).local.mac, red(fabric, 1).local.mac
    send(fabric, sender, ethernet(here, there, IPV6, icmp6("fd00:3::10", "fd00:1::10", 128, b"mark")))
    send(
        fabric, sender, ethernet(here, there, 0x8100, b"\x00\x01\x08\x00" + inner4(fabric, 1, 2, "10.2.0.10", 6)[14:])
    )
    send(fabric, sender, arp(there, "10.1.0.1", "10.1.0.10"))
    send(fabric, sender, inner4(fabric, 1, 2, "10.2.0.10", 7), vni=BLUE + 1)
    send(fabric, sender, inner4(fabric, 1, 2, "10.2.0.11", 8))
    heard = await drained(fabric, wire)
    assert marked(heard) == [8]
    assert not [frame for frame in heard if frame[12:14] == b"\x86\xdd" and b"mark" in frame]
    wire.close()
    sender.close()


async def test_no_transit_between_vpns(fabric: Fabric) -> None:
    """Site 1's red network joins a second Vpn, which leads to site 3's blue one."""
    second = replace(fabric.l3(1, (3,), tag="r", vpn="x", vni=7003), remotes=())
    far = ip_network("10.99.0.0/24")
    endpoint = fabric.endpoint(3, second.vpn)
    second = replace(second, remotes=(Remote(site="s3", endpoints=(endpoint,), prefixes=(far,)),))
    there = fabric.l3(3, (1,), tag="b", vpn="x", vni=7003)
    there = replace(there, vpn=second.vpn, gateways=(*there.gateways, ip_interface("10.99.0.1/24")))
    await fabric.ensure((1, second), (3, there))
    await fabric.lab.address(fabric.hosts[3, "b"], "eth0", "10.99.0.10", 24)
    assert await fabric.seen(1) == [red(fabric, 1), blue(fabric, 1), second]
    assert await fabric.pings(fabric.hosts[1, "r"], ["10.99.0.10", "10.2.0.10"]) == [True, True]

    wire = await Wire.open(fabric.spaces, fabric.hosts[3, "b"])
    sender = await site_socket(fabric, 2)
    send(fabric, sender, inner4(fabric, 1, 2, "10.2.0.10", 5, target="10.99.0.10"))
    assert await fabric.pings(fabric.hosts[1, "r"], ["10.99.0.10"]) == [True]  # after it, on the same way
    injector = await Wire.open(fabric.spaces, fabric.lab.site(3), "p-h3b")
    injector.send(control("02:00:00:00:00:99"))
    assert marked(await wire.until(control("02:00:00:00:00:99"))) == []
    for each in (wire, injector, sender):
        each.close()

    await fabric.drivers[1].remove(second)
    assert await fabric.seen(1) == [red(fabric, 1), blue(fabric, 1)]
    assert await fabric.pings(fabric.hosts[1, "r"], ["10.2.0.10"]) == [True]


async def test_the_last_segment_takes_the_router_with_it(fabric: Fabric) -> None:
    ns, port = router_name("s1", red(fabric, 1).network), router_port("s1", red(fabric, 1).network)
    assert await fabric.spaces.exists(ns)
    await fabric.drivers[1].remove(red(fabric, 1))
    await fabric.drivers[1].remove(red(fabric, 1))
    assert not await fabric.spaces.exists(ns)
    assert not await fabric.spaces.netlink(fabric.lab.site(1), lambda nl: nl.link_lookup(ifname=port))
    assert await fabric.seen(1) == [blue(fabric, 1)]
    assert await fabric.pings(fabric.hosts[1, "b"], hosts(1)) == [True] * 4
    assert await fabric.pings(fabric.hosts[2, "r"], ["10.1.0.10", "10.3.0.10"], timeout=0.3) == [False, True]


async def test_the_same_segment_twice_writes_nothing(fabric: Fabric) -> None:
    before = fabric.spaces.writes
    again = fabric.driver(1)
    for _ in range(2):
        await again.ensure(red(fabric, 1))
        await again.ensure(blue(fabric, 1))
    assert fabric.spaces.writes == before > 0


async def test_no_packet_is_lost_by_an_edit(fabric: Fabric) -> None:
    editing = True
    sent = lost = 0

    async def ping() -> None:
        nonlocal sent, lost
        async with Pinger(fabric.spaces, fabric.hosts[1, "r"]) as pinger:
            while editing:
                targets = ("10.2.0.10", "fd00:2::10")
                echoes = await asyncio.gather(*(pinger.ping(ip_address(t), timeout=2) for t in targets))
                sent += len(echoes)
                lost += sum(echo.outcome is not Outcome.REPLY for echo in echoes)

    assert await fabric.pings(fabric.hosts[1, "r"], ["10.2.0.10", "fd00:2::10"]) == [True, True]
    pinging = asyncio.create_task(ping())
    for _ in range(8):
        for remotes in ((1, 2), ALL):
            await fabric.drivers[1].ensure(red(fabric, 1, remotes))
            await fabric.drivers[2].ensure(red(fabric, 2, remotes))
        assert await fabric.seen(1) == [red(fabric, 1), blue(fabric, 1)]
    editing = False
    await pinging
    assert lost == 0
    assert sent > 500


DRIFTS = [
    "route",
    "neighbour",
    "fdb",
    "gateway",
    "forwarding",
    "transit",
    "lan",
    "port",
    "filter",
    "device",
    "router",
]


@pytest.mark.parametrize("drift", DRIFTS)
async def test_what_is_changed_by_hand_is_seen_and_mended(fabric: Fabric, drift: str) -> None:
    want = red(fabric, 1)
    ns, home = router_name("s1", want.network), fabric.lab.site(1)
    name = f"vx{RED}"
    there = want.remotes[0].endpoints[0]
    ways = {
        "route": lambda nl: nl.route("del", dst="10.2.0.0/24"),
        "neighbour": lambda nl: nl.neigh(
            "del", family=10, ifindex=nl.link_lookup(ifname=name)[0], dst=str(via(there.mac)), lladdr=there.mac
        ),
        "fdb": lambda nl: nl.fdb(
            "del", ifindex=nl.link_lookup(ifname=name)[0], lladdr=there.mac, dst=str(there.address)
        ),
        "gateway": lambda nl: nl.addr(
            "del", index=nl.link_lookup(ifname="lan0")[0], address="10.1.0.1", prefixlen=24
        ),
        "forwarding": lambda nl: Path("/proc/sys/net/ipv4/ip_forward").write_text("0"),
        "transit": lambda nl: nft.delete([(Family.INET, TABLE)]),
        "lan": lambda nl: nl.link("set", index=nl.link_lookup(ifname="lan0")[0], state="down"),
        "device": lambda nl: nl.link("del", ifname=name),
    }
    if drift in ways:
        await fabric.spaces.netlink(ns, ways[drift])
    elif drift == "port":
        port = router_port("s1", want.network)
        await fabric.spaces.netlink(home, lambda nl: nl.link("set", index=nl.link_lookup(ifname=port)[0], master=0))
    elif drift == "filter":
        await fabric.spaces.run(home, lambda: nft.delete([(Family.INET, f"intertie-vx{RED}")]))
    else:
        await fabric.spaces.remove(ns)
    seen = [segment for segment in await fabric.seen(1) if segment.vpn == want.vpn]
    assert seen != [want]
    assert [key(segment) for segment in seen] == [key(want)]
    assert seen[0].flaw
    async with asyncio.timeout(10):
        while True:
            try:
                await fabric.drivers[1].ensure(want)
                break
            except Conflict:  # the kernel is still clearing the router that was taken away, with the VNI in it
                assert drift == "router"
                await asyncio.sleep(0.02)
    assert await fabric.seen(1) == [want, blue(fabric, 1)]
    assert await fabric.pings(fabric.hosts[1, "r"], hosts(1), timeout=2) == [True] * 4


async def test_gateways_and_prefixes_may_change(fabric: Fabric) -> None:
    more = replace(red(fabric, 1), gateways=(*red(fabric, 1).gateways, ip_interface("10.50.0.1/24")), mtu=1400)
    await fabric.drivers[1].ensure(more)
    assert await fabric.seen(1) == [more, blue(fabric, 1)]
    await fabric.drivers[1].ensure(red(fabric, 1))
    assert await fabric.seen(1) == [red(fabric, 1), blue(fabric, 1)]
    assert await fabric.pings(fabric.hosts[1, "r"], hosts(1)) == [True] * 4


async def test_a_blocked_segment_forwards_nothing(fabric: Fabric) -> None:
    want = replace(red(fabric, 1), blocked=True)
    await fabric.drivers[1].ensure(want)
    assert await fabric.seen(1) == [want, blue(fabric, 1)]
    assert await fabric.pings(fabric.hosts[1, "r"], hosts(1), timeout=0.3) == [False] * 4

"""The `vxlan` driver against the kernel: L2 segments over three sites, with real packets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest

from intertie.drivers.linux import nft
from intertie.drivers.linux.icmp import Outcome, Pinger
from intertie.drivers.linux.netns import Netns
from intertie.drivers.linux.nft_model import Chain, Code, Family, Rule, Verdict
from intertie.drivers.transport.vxlan_sight import replaces
from intertie.model.bodies import Endpoint, VpnKind
from intertie.model.errors import Conflict, NotFound
from intertie.model.items import Key, Remote, key
from tests.net.vxlan_lab import CountedNamespaces, Fabric, Wire, control

pytestmark = pytest.mark.net
ALL = (1, 2, 3)


@pytest.fixture
async def spaces(tmp_path: Path) -> AsyncIterator[CountedNamespaces]:
    spaces = CountedNamespaces(tmp_path / "netns")
    yield spaces
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


@pytest.fixture
async def fabric(spaces: CountedNamespaces) -> Fabric:
    """Three sites with a bridge and a host each, and nothing between them."""
    fabric = Fabric(spaces)
    await fabric.build()
    for i in ALL:
        await fabric.network(i, "a", VpnKind.L2)
    return fabric


@pytest.fixture
async def joined(fabric: Fabric) -> Fabric:
    await fabric.ensure(*((i, fabric.l2(i, ALL)) for i in ALL))
    return fabric


def hosts(i: int, version: int = 4) -> list[str]:
    """The addresses of the other sites' hosts."""
    return [f"10.0.0.{j}0" if version == 4 else f"fd01::{j}0" for j in ALL if j != i]


async def link(fabric: Fabric, i: int, name: str, **changes: object) -> None:
    await fabric.spaces.netlink(
        fabric.lab.site(i), lambda nl: nl.link("set", index=nl.link_lookup(ifname=name)[0], **changes)
    )


async def test_hosts_reach_one_another_and_what_is_seen_is_what_was_asked(joined: Fabric) -> None:
    for i in ALL:
        assert await joined.seen(i) == [joined.l2(i, ALL)]
        for version in (4, 6):
            assert await joined.pings(joined.hosts[i, "a"], hosts(i, version)) == [True, True]


async def test_over_an_ipv6_underlay(fabric: Fabric) -> None:
    await fabric.ensure(*((i, fabric.l2(i, ALL, version=6)) for i in ALL))
    assert await fabric.seen(1) == [fabric.l2(1, ALL, version=6)]
    assert await fabric.pings(fabric.hosts[1, "a"], hosts(1)) == [True, True]
    assert await fabric.pings(fabric.hosts[1, "a"], hosts(1), size=1430) == [True, True]
    await fabric.ensure((1, fabric.l2(1, (2,), version=6)))
    assert await fabric.pings(fabric.hosts[3, "a"], ["10.0.0.10", "10.0.0.20"]) == [False, True]


async def test_a_host_that_keeps_sending_1500_is_told(joined: Fabric) -> None:
    async with Pinger(joined.spaces, joined.hosts[1, "a"]) as pinger:
        for target in ("10.0.0.20", "fd01::20"):
            assert (await pinger.ping(ip_address(target), size=1450)).outcome is Outcome.REPLY
            for size in (1451, 1500):
                echo = await pinger.ping(ip_address(target), size=size)
                assert (echo.outcome, echo.mtu) == (Outcome.TOO_BIG, 1450)
    for target in ("10.0.0.20", "fd01::20"):
        assert await _transfer(joined, joined.hosts[1, "a"], joined.hosts[2, "a"], target, 1 << 20) == 1 << 20


async def _transfer(fabric: Fabric, source: Netns, target: Netns, address: str, octets: int) -> int:
    """Octets that arrive over TCP from a host whose device still says 1500."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = await fabric.spaces.run(target, lambda: socket.create_server((address, 7000), family=family))
    client = await fabric.spaces.run(source, lambda: socket.socket(family))
    server.setblocking(False)
    client.setblocking(False)
    with server, client:
        async with asyncio.timeout(20):
            await loop.sock_connect(client, (address, 7000))
            accepted, _ = await loop.sock_accept(server)

            async def send() -> None:
                await loop.sock_sendall(client, bytes(octets))
                client.shutdown(socket.SHUT_WR)

            sending = asyncio.create_task(send())
            arrived = 0
            with accepted:
                while data := await loop.sock_recv(accepted, 1 << 16):
                    arrived += len(data)
            await sending
    return arrived


async def test_a_removed_member_that_is_left_as_it_was_gets_nothing_in(joined: Fabric) -> None:
    outcast = joined.hosts[3, "a"]
    assert await joined.pings(outcast, ["10.0.0.10"] * 3) == [True] * 3
    for i in (1, 2):
        await joined.drivers[i].ensure(joined.l2(i, (1, 2)))
    wire = await Wire.open(joined.spaces, joined.hosts[1, "a"])
    assert await joined.pings(outcast, ["10.0.0.10"] * 3) == [False] * 3
    mac3 = await joined.mac(outcast)
    mac2 = await joined.mac(joined.hosts[2, "a"])
    for source, address in ((outcast, mac3), (joined.hosts[2, "a"], mac2)):
        sender = await Wire.open(joined.spaces, source)
        sender.send(control(address))
        sender.close()
    heard = await wire.until(control(mac2))
    wire.close()
    assert not [frame for frame in heard if frame[6:12] == bytes.fromhex(mac3.replace(":", ""))]
    assert await joined.pings(joined.hosts[1, "a"], ["10.0.0.20"] * 3) == [True] * 3
    assert not await learnt(joined, 1, str(joined.lab.underlay(3)))


async def learnt(fabric: Fabric, i: int, endpoint: str) -> list[str]:
    def dump(nl: object) -> list[str]:
        rows = nl.fdb("dump")  # type: ignore[attr-defined]
        return [row.get_attr("NDA_LLADDR") for row in rows if row.get_attr("NDA_DST") == endpoint]

    return await fabric.spaces.netlink(fabric.lab.site(i), dump)


async def test_the_same_segment_twice_writes_nothing(joined: Fabric) -> None:
    before = joined.spaces.writes
    again = joined.driver(1)  # an agent that has just been started
    await again.ensure(joined.l2(1, ALL))
    await again.ensure(joined.l2(1, ALL))
    assert joined.spaces.writes == before > 0


async def test_no_packet_is_lost_by_an_edit(joined: Fabric) -> None:
    editing = True
    sent = lost = 0

    async def ping() -> None:
        nonlocal sent, lost
        async with Pinger(joined.spaces, joined.hosts[1, "a"]) as pinger:
            while editing:
                echoes = await asyncio.gather(*(pinger.ping(ip_address("10.0.0.20"), timeout=2) for _ in range(4)))
                sent += len(echoes)
                lost += sum(echo.outcome is not Outcome.REPLY for echo in echoes)

    pinging = asyncio.create_task(ping())
    fourth = Remote(site="s4", endpoints=(Endpoint(address=ip_address("10.255.9.2"), mac="fe:00:00:00:00:09"),))
    for turn in range(6):
        for remotes in ((), (3,)):
            await joined.drivers[1].ensure(joined.l2(1, (2, *remotes)))
            await joined.drivers[2].ensure(joined.l2(2, (1, *remotes)))
        more = joined.l2(1, ALL)
        more = replace(more, epoch=2 + turn, remotes=(*more.remotes, fourth))
        await joined.drivers[1].ensure(more)
        assert await joined.seen(1) == [more]
        await joined.driver(1).ensure(joined.l2(1, ALL))
    editing = False
    await pinging
    assert lost == 0
    assert sent > 100


@pytest.mark.parametrize("drift", ["master", "down", "fdb", "mtu", "alias", "tables", "rule", "element", "device"])
async def test_what_is_changed_by_hand_is_seen_and_mended(joined: Fabric, drift: str) -> None:
    site, want = joined.lab.site(1), joined.l2(1, ALL)
    changes: dict[str, dict[str, Any]] = {
        "master": {"master": 0},
        "down": {"state": "down"},
        "mtu": {"mtu": 1400},
        "alias": {"ifalias": ""},
    }
    if drift in changes:
        await link(joined, 1, "vx65537", **changes[drift])
    elif drift == "device":
        await joined.spaces.netlink(site, lambda nl: nl.link("del", ifname="vx65537"))
    elif drift == "fdb":
        zero, there = "00:00:00:00:00:00", "10.255.2.2"
        await joined.spaces.netlink(
            site,
            lambda nl: nl.fdb("del", ifindex=nl.link_lookup(ifname="vx65537")[0], lladdr=zero, dst=there),
        )
    else:
        await joined.spaces.run(site, lambda: tamper(drift))
    seen = await joined.seen(1)
    assert seen != [want]
    assert [key(s) for s in seen] == [key(want)]
    assert all(s.flaw for s in seen)
    await joined.drivers[1].ensure(want)
    assert await joined.seen(1) == [want]
    assert await joined.pings(joined.hosts[1, "a"], hosts(1)) == [True, True]


def tamper(how: str) -> None:
    name = "intertie-vx65537"
    tables = nft.read(name)
    if how == "tables":
        nft.delete(list(tables))
        return
    table = tables[Family.INET, name]
    if how == "element":
        sets = tuple(replace(s, elements=frozenset()) for s in table.sets)
        nft.replace([replace(table, sets=sets)])
        return
    opened = Chain("remotes", (Rule((Verdict(Code.ACCEPT),)), *(table.chain("remotes") or Chain("", ())).rules))
    nft.replace([replace(table, chains=tuple(opened if c.name == "remotes" else c for c in table.chains))])


async def test_the_kernel_says_which_segment_changed(joined: Fabric) -> None:
    driver = joined.driver(1)
    changes = aiter(driver.changes())
    first = asyncio.ensure_future(anext(changes))
    await driver.observe(None)
    while not first.done():  # the watch begins within the task: change something until it is heard
        await link(joined, 1, "vx65537", ifalias="mine")
        await asyncio.wait([first], timeout=0.05)
    assert first.result() == key(joined.l2(1, ALL))
    await cast(AsyncGenerator[Key, None], changes).aclose()


async def test_somebody_elses_bridge_stays_as_it_was(fabric: Fabric) -> None:
    moving = ("TIMER", "UNKNOWN")  # UNKNOWN: counters that this pyroute2 has no name for

    def look(nl: object) -> dict[str, object]:
        row = nl.get_links(ifname="bra")[0]  # type: ignore[attr-defined]
        data = row.get_attr("IFLA_LINKINFO").get_attr("IFLA_INFO_DATA")
        found = {name: repr(value) for name, value in data["attrs"] if not any(word in name for word in moving)}
        return found | {name: row.get_attr(f"IFLA_{name}") for name in ("ADDRESS", "MTU", "IFALIAS", "PROMISCUITY")}

    site = fabric.lab.site(1)
    await link(fabric, 1, "p-h1a", address="02:00:00:00:00:01")  # one made at random may be higher than ours
    before = await fabric.spaces.netlink(site, look)
    await fabric.drivers[1].ensure(fabric.l2(1, ALL))
    assert await fabric.spaces.netlink(site, look) == before
    await fabric.drivers[1].remove(fabric.l2(1, ALL))
    assert await fabric.spaces.netlink(site, look) == before


async def test_removal_leaves_nothing_and_may_be_repeated(joined: Fabric) -> None:
    await joined.drivers[1].remove(joined.l2(1, ALL))
    assert await joined.seen(1) == []
    assert await joined.spaces.run(joined.lab.site(1), lambda: nft.read("intertie")) == {}
    await joined.drivers[1].remove(joined.l2(1, ALL))
    assert await joined.pings(joined.hosts[2, "a"], ["10.0.0.10", "10.0.0.30"], timeout=0.3) == [False, True]


async def test_what_cannot_be_had(joined: Fabric) -> None:
    with pytest.raises(NotFound):
        await joined.drivers[1].ensure(replace(joined.l2(1, ALL), vni=9, bridge="nowhere"))
    await joined.lab.bridge(1, "other")
    taken = replace(joined.l2(1, ALL), vpn="s2.other", bridge="other")
    with pytest.raises(Conflict):
        await joined.drivers[1].ensure(taken)
    assert await joined.seen(1) == [joined.l2(1, ALL)]
    site = joined.lab.site(1)
    here = "10.255.1.2"
    await joined.spaces.netlink(
        site, lambda nl: nl.link("add", ifname="theirs", kind="vxlan", vxlan_id=9, vxlan_local=here, vxlan_port=4789)
    )
    with pytest.raises(Conflict):
        await joined.drivers[1].ensure(replace(joined.l2(1, ALL), vpn="s1.more", vni=9))
    assert {name for _, name in await joined.spaces.run(site, lambda: nft.read("intertie"))} == {"intertie-vx65537"}


async def test_a_new_local_address_replaces_the_device_and_says_so(joined: Fabric) -> None:
    have = joined.l2(1, ALL)
    want = replace(have, local=replace(have.local, port=4790))
    assert replaces(have, want) == "the VXLAN device is replaced: UDP port 4789 → 4790"
    assert replaces(have, replace(have, remotes=())) is None
    await joined.drivers[1].ensure(want)
    assert await joined.seen(1) == [want]


async def test_fifty_remotes_with_long_names(fabric: Fabric) -> None:
    def remote(n: int) -> Remote:
        endpoint = Endpoint(address=ip_address(f"10.254.{n}.2"), port=4000 + n, mac=f"fe:00:00:00:00:{n:02x}")
        return Remote(site=f"s{n}-{'x' * 58}", endpoints=(endpoint,))

    want = replace(fabric.l2(1, ALL), remotes=tuple(remote(n) for n in range(1, 51)))
    await fabric.drivers[1].ensure(want)
    assert await fabric.seen(1) == [want]


async def test_a_blocked_segment_forwards_nothing_and_is_still_seen(joined: Fabric) -> None:
    want = replace(joined.l2(1, ALL), blocked=True)
    await joined.drivers[1].ensure(want)
    assert await joined.seen(1) == [want]
    assert await joined.pings(joined.hosts[1, "a"], hosts(1), timeout=0.3) == [False, False]
    assert await joined.pings(joined.hosts[2, "a"], ["10.0.0.30"]) == [True]


async def test_the_machine_is_tried(fabric: Fabric) -> None:
    facts = await fabric.drivers[1].probe()
    assert (facts.name, facts.ok, facts.l2, facts.l3, facts.reason) == ("vxlan", True, True, True, "")
    assert (facts.overhead, facts.underlay_mtu) == (50, 1500)
    elsewhere = fabric.driver(1)
    elsewhere.underlay = ip_address("192.0.2.77")
    facts = await elsewhere.probe()
    assert not facts.ok
    assert "192.0.2.77" in facts.reason


async def test_two_agents_on_one_machine_see_their_own(joined: Fabric) -> None:
    stranger = joined.driver(1)
    stranger.site = "s9"
    assert await stranger.observe(None) == []
    await stranger.remove(joined.l2(1, ALL))
    assert await joined.seen(1) == [joined.l2(1, ALL)]

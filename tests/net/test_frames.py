"""Segment probes and loop checks, on segments of the `vxlan` driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from intertie.drivers.linux.frames import SegmentProbes
from intertie.model.bodies import VpnKind
from intertie.model.items import Segment
from tests.net.vxlan_lab import PROBE, CountedNamespaces, Fabric, Wire, control, ethernet

pytestmark = pytest.mark.net
ALL = (1, 2, 3)


class Probed:
    """A fabric whose sites probe one another; `loops` collects (site, Vpn)."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.loops: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
        self.probes = {i: self._probes(i) for i in ALL}

    def _probes(self, i: int) -> SegmentProbes:
        def heard(vpn: str) -> None:
            self.loops.put_nowait((i, vpn))

        driver = self.fabric.drivers[i]
        return SegmentProbes(site=f"s{i}", namespaces=self.fabric.spaces, place=driver.place, on_loop=heard)

    async def join(self, i: int, segment: Segment) -> None:
        await self.fabric.drivers[i].ensure(segment)
        await self.probes[i].set_segments([segment])

    async def convicted(self) -> set[int]:
        """The sites that saw a loop in what was sent before; probes sent after it have gone round all sites."""
        for i in ALL:
            for j in ALL:
                if i != j:
                    await self.probes[i].probe(self.fabric.l2(i, ALL).vpn, f"s{j}", None, 1)
        found = set()
        while not self.loops.empty():
            found.add(self.loops.get_nowait()[0])
        return found

    async def close(self) -> None:
        for each in self.probes.values():
            await each.close()


@pytest.fixture
async def fabric(tmp_path: Path) -> AsyncIterator[Fabric]:
    spaces = CountedNamespaces(tmp_path / "netns")
    fabric = Fabric(spaces)
    await fabric.build()
    yield fabric
    for ns in await spaces.list():
        await spaces.remove(ns)
    await spaces.close()


@pytest.fixture
async def l2(fabric: Fabric) -> AsyncIterator[Probed]:
    probed = Probed(fabric)
    for i in ALL:
        await fabric.network(i, "a", VpnKind.L2)
        await probed.join(i, fabric.l2(i, ALL))
    yield probed
    await probed.close()


@pytest.mark.parametrize("kind", list(VpnKind))
async def test_every_pair_is_measured_at_exactly_the_mtu(fabric: Fabric, kind: VpnKind) -> None:
    probed = Probed(fabric)
    for i in ALL:
        await fabric.network(i, "a", kind)
        await probed.join(i, fabric.l2(i, ALL) if kind is VpnKind.L2 else fabric.l3(i, ALL))
    vpn = fabric.l2(1, ALL).vpn
    for i in ALL:
        for j in ALL:
            if i == j:
                continue
            rtt = await probed.probes[i].probe(vpn, f"s{j}", None, 1)
            assert rtt is not None
            assert 0 < rtt < 500
            assert await probed.probes[i].probe(vpn, f"s{j}", 1450, 1) is not None
    assert await probed.probes[1].probe(vpn, "s2", 1451, 0.3) is None
    assert await probed.probes[1].probe(vpn, "s9", None, 0.3) is None
    assert await probed.probes[1].probe("s1.other", "s2", None, 0.3) is None
    await probed.close()


async def test_tenants_never_see_a_probe_and_cannot_send_one(l2: Probed) -> None:
    fabric, vpn = l2.fabric, l2.fabric.l2(1, ALL).vpn
    wires = {i: await Wire.open(fabric.spaces, fabric.hosts[i, "a"]) for i in ALL}
    for _ in range(3):
        assert await l2.probes[1].probe(vpn, "s2", None, 1) is not None
    for i, wire in wires.items():
        port = await Wire.open(fabric.spaces, fabric.lab.site(i), f"p-h{i}a")
        port.send(control("02:00:00:00:00:99"))
        heard = await wire.until(control("02:00:00:00:00:99"))
        assert not [frame for frame in heard if frame[12:14] == PROBE.to_bytes(2, "big")]
        port.close()
    # A tenant that asks as site 1 did: the same frame, from its own port.
    segment = fabric.l2(1, ALL)
    forged = ethernet(
        segment.remotes[0].endpoints[0].mac,
        segment.local.mac,
        PROBE,
        b"\x01\x00" + segment.vni.to_bytes(4, "big") + bytes(40),
    )
    site2 = await Wire.open(fabric.spaces, fabric.lab.site(2), "vx65537")
    wires[1].send(forged)
    wires[1].send(control("02:00:00:00:00:98"))
    heard = await site2.until(control("02:00:00:00:00:98"))
    assert not [frame for frame in heard if frame[12:14] == PROBE.to_bytes(2, "big")]
    for wire in (*wires.values(), site2):
        wire.close()


async def test_a_dead_way_and_a_removed_member_are_noticed(l2: Probed) -> None:
    fabric, vpn = l2.fabric, l2.fabric.l2(1, ALL).vpn
    await fabric.spaces.netlink(
        fabric.lab.core, lambda nl: nl.link("set", index=nl.link_lookup(ifname="s2")[0], state="down")
    )
    assert await l2.probes[1].probe(vpn, "s2", None, 0.3) is None
    assert await l2.probes[1].probe(vpn, "s3", None, 1) is not None
    await l2.join(3, fabric.l2(3, (2,)))
    assert await l2.probes[1].probe(vpn, "s3", None, 0.3) is None


async def test_sockets_follow_their_bridge(l2: Probed) -> None:
    """A bridge that was made anew is heard again after the next round."""
    fabric = l2.fabric
    segment, site = fabric.l2(1, ALL), fabric.lab.site(1)
    await fabric.spaces.netlink(site, lambda nl: nl.link("del", ifname="bra"))
    await l2.probes[1].set_segments([segment])
    assert await l2.probes[1].probe(segment.vpn, "s2", None, 0.3) is None
    await fabric.lab.bridge(1, "bra")
    await l2.join(1, segment)
    assert await l2.probes[1].probe(segment.vpn, "s2", None, 1) is not None
    assert await l2.probes[2].probe(segment.vpn, "s1", None, 1) is not None


async def test_without_a_loop_nobody_is_convicted(l2: Probed) -> None:
    for i in ALL:
        await l2.probes[i].check_loops()
    assert await l2.convicted() == set()


async def back_door(fabric: Fabric) -> None:
    """A cable between a tenant's port at site 1 and one at site 2."""
    await fabric.lab.cable(fabric.lab.site(1), "door", fabric.lab.site(2), "door")
    for i in (1, 2):
        await fabric.spaces.netlink(
            fabric.lab.site(i),
            lambda nl: nl.link("set", index=nl.link_lookup(ifname="door")[0], master=nl.link_lookup(ifname="bra")[0]),
        )


def take_down(port: str, nl: IPRoute) -> None:
    nl.link("set", index=nl.link_lookup(ifname=port)[0], state="down")


async def cut_hosts(fabric: Fabric) -> None:
    """Hosts' own broadcasts would circulate in the loop for ever."""
    for i in ALL:
        port = f"p-h{i}a"
        await fabric.spaces.netlink(fabric.lab.site(i), partial(take_down, port))


@pytest.mark.parametrize("checker", ALL)
async def test_a_back_door_between_two_sites_is_found_by_any_check(l2: Probed, checker: int) -> None:
    await cut_hosts(l2.fabric)
    await back_door(l2.fabric)
    await l2.probes[checker].check_loops()
    assert {1, 2} >= await l2.convicted() != set()


async def test_a_check_is_forwarded_once(l2: Probed) -> None:
    """However many times the loop could carry it round."""
    fabric = l2.fabric
    await cut_hosts(fabric)
    await back_door(fabric)
    wire = await Wire.open(fabric.spaces, fabric.lab.site(1), "door")
    await l2.probes[3].check_loops()
    await l2.convicted()
    far = await Wire.open(fabric.spaces, fabric.lab.site(2), "door")
    far.send(control("02:00:00:00:00:97"))
    heard = await wire.until(control("02:00:00:00:00:97"))
    assert len([frame for frame in heard if frame[12:14] == PROBE.to_bytes(2, "big")]) == 1
    wire.close()
    far.close()


async def test_blocked_members_go_on_seeing_the_loop_and_stop_when_it_is_gone(l2: Probed) -> None:
    fabric = l2.fabric
    await cut_hosts(fabric)
    await back_door(fabric)
    for i in (1, 2):
        await l2.join(i, replace(fabric.l2(i, ALL), blocked=True))
    for i in ALL:
        await l2.probes[i].check_loops()
    assert await l2.convicted() == {1, 2}
    await fabric.spaces.netlink(fabric.lab.site(1), lambda nl: nl.link("del", ifname="door"))
    for i in ALL:
        await l2.probes[i].check_loops()
    assert await l2.convicted() == set()


async def test_a_tenant_that_invents_nonces_convicts_nobody(l2: Probed) -> None:
    fabric = l2.fabric
    host = await Wire.open(fabric.spaces, fabric.hosts[1, "a"])
    segment = fabric.l2(1, ALL)
    body = b"\x03\x00" + segment.vni.to_bytes(4, "big") + bytes(8) + b"\x00\x16" + b"\x02s2\x02s1"
    for _ in range(3):
        host.send(ethernet("ff:ff:ff:ff:ff:ff", "02:00:00:00:00:96", PROBE, body))
    assert await l2.convicted() == set()
    host.close()

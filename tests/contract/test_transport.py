"""The transport in memory keeps the contract, and evaluates what the kernel would do."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from intertie.model.bodies import VpnKind
from intertie.model.errors import Conflict, Unavailable
from intertie.model.items import Key
from intertie.testing.fake_transport import FakeTransport, FakeTransportRig
from intertie.testing.transport_suite import Sites, TransportContract


@pytest.fixture
def rig() -> FakeTransportRig:
    return FakeTransportRig()


class TestFakeTransport(TransportContract):
    pass


async def test_an_l3_member_speaks_for_its_own_prefixes_only(rig: FakeTransportRig) -> None:
    a = await Sites(rig, VpnKind.L3).build()
    await a.ensure(1, 2)
    underlay, target = rig.underlay, ip_address("10.2.0.10")
    assert underlay.reaches("s1", a.bridge, ip_address("10.1.0.10"), target)
    assert not underlay.reaches("s1", a.bridge, ip_address("10.3.0.10"), target)


async def test_a_prefix_that_is_not_routed_goes_nowhere(rig: FakeTransportRig) -> None:
    a = await Sites(rig, VpnKind.L3).build()
    await a.ensure(2)
    remote = replace(a.segment(1).remotes[0], prefixes=(ip_network("10.99.0.0/24"),))
    await rig.transport(1).ensure(replace(a.segment(1), remotes=(remote,)))
    assert await a.reached(1) == []


async def test_one_way_is_not_reached(rig: FakeTransportRig) -> None:
    a = await Sites(rig, VpnKind.L2).build()
    await a.ensure(1, 2)
    await rig.transport(2).ensure(replace(a.segment(2), blocked=True))
    assert not rig.underlay.crosses(a.vpn, "s1", "s2")
    assert not rig.underlay.crosses(a.vpn, "s2", "s1")
    await a.ensure(2)
    assert rig.underlay.crosses(a.vpn, "s1", "s2")


async def test_a_vni_has_one_segment_a_site(rig: FakeTransportRig) -> None:
    a = await Sites(rig, VpnKind.L2).build()
    await a.ensure(1)
    with pytest.raises(Conflict):
        await rig.transport(1).ensure(replace(a.segment(1), vpn="s2.other"))


async def test_a_hindrance_may_fail(rig: FakeTransportRig) -> None:
    async def hindrance(site: str, verb: str, k: Key | None) -> None:
        if (site, verb) == ("s1", "ensure"):
            raise Unavailable("no netlink")

    a = await Sites(rig, VpnKind.L2).build()
    rig.underlay.hindrance = hindrance
    with pytest.raises(Unavailable):
        await a.ensure(1)
    await a.ensure(2)
    assert FakeTransport("s1", rig.underlay).held() == []
    assert FakeTransport("s2", rig.underlay).held() == [a.segment(2)]

"""Gateway ports: what somebody breaks is seen and mended, and what fails leaves nothing behind that forwards."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from intertie.drivers.linux.rtnl import Reader
from intertie.drivers.openstack.ovs import Plug, Switch
from intertie.drivers.openstack.ovsdb import Ovsdb
from intertie.drivers.transport.gateway_cable import Course
from intertie.model.bodies import VpnKind
from intertie.model.errors import Conflict, NotFound, Unavailable
from intertie.model.items import Segment, key
from intertie.testing.transport_suite import PATIENCE, Sites, look, news
from tests.net.test_gateway_port_contract import Cabinet, GatewayRig

pytestmark = [pytest.mark.net, pytest.mark.requires("ovs-vswitchd", "ovsdb-server")]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GatewayRig]:
    rig = GatewayRig(tmp_path, sites=(1, 2))
    try:
        await rig.build()
        yield rig
    finally:
        await rig.close()


async def joined(rig: GatewayRig, kind: VpnKind, tag: str = "a") -> Sites:
    """A Vpn between sites 1 and 2."""
    sites = await Sites(rig, kind, tag).build((1, 2))
    await sites.ensure(1, 2, members=(1, 2))
    return sites


def course(sites: Sites, site: int) -> Course:
    segment = sites.segment(site)
    return Course(f"s{site}", segment.network, segment.bridge)


async def flaw(rig: GatewayRig, site: int = 1) -> str:
    [segment] = (await look(rig, site)).values()
    assert isinstance(segment, Segment)
    return segment.flaw


async def devices(rig: GatewayRig, site: int) -> set[str]:
    """Those of ours that are there."""

    def read() -> set[str]:
        with Reader() as reader:
            return {link.name for link in reader.links() if link.name[:2] in ("ig", "io", "br", "vx", "vr")}

    return await rig.spaces.run(rig.lab.site(site), read) - {"br-int", "br0"}


@pytest.fixture
async def mixed(tmp_path: Path) -> AsyncIterator[GatewayRig]:
    """Site 1 has an Open vSwitch; at site 2 a network is a bridge."""
    rig = GatewayRig(tmp_path, sites=(1,))
    try:
        await rig.build()
        yield rig
    finally:
        await rig.close()


@pytest.mark.parametrize("kind", list(VpnKind))
@pytest.mark.parametrize(("server", "caller"), [(1, 2), (2, 1)])
async def test_hosts_speak_tcp_across(mixed: GatewayRig, kind: VpnKind, server: int, caller: int) -> None:
    """A kernel leaves checksums to hardware, of which there is none on the way: a switch in user space would forward
    what every host drops."""
    sites = await joined(mixed, kind)

    def serve() -> socket.socket:
        return socket.create_server((sites.address(server), 5001))

    def connect() -> socket.socket:
        made = socket.socket()
        made.setblocking(False)
        made.connect_ex((sites.address(server), 5001))
        return made

    listening = await mixed.spaces.run(mixed.hosts[server, sites.bridge], serve)
    listening.setblocking(False)
    loop, payload = asyncio.get_running_loop(), bytes(range(256)) * 400
    async with asyncio.timeout(PATIENCE):
        calling = await mixed.spaces.run(mixed.hosts[caller, sites.bridge], connect)
        called, _ = await loop.sock_accept(listening)
        sending = asyncio.create_task(loop.sock_sendall(calling, payload))
        heard = b""
        while len(heard) < len(payload):
            heard += await loop.sock_recv(called, 1 << 16)
        await sending
    assert heard == payload
    for each in (listening, called, calling):
        each.close()


@pytest.mark.parametrize("kind", list(VpnKind))
async def test_the_last_segment_takes_all_of_it_along(rig: GatewayRig, kind: VpnKind) -> None:
    red, blue = await joined(rig, kind), replace_vpn(rig, kind)
    transport = rig.transport(1)
    await transport.ensure(blue)
    before = await devices(rig, 1)
    assert {course(red, 1).inner, course(red, 1).outer, red.bridge} <= before
    await transport.remove(red.segment(1))
    assert {course(red, 1).inner, course(red, 1).outer, red.bridge} <= await devices(rig, 1)
    assert list(rig.cabinets[1].ports) == [blue.network]
    await transport.remove(blue)
    assert await devices(rig, 1) == set()
    assert rig.cabinets[1].ports == {}
    assert course(red, 1).outer not in rig.switches[1].vsctl("list-ports", "br-int")


def replace_vpn(rig: GatewayRig, kind: VpnKind) -> Segment:
    """A second Vpn of the network of Vpn `a` at site 1."""
    first = Sites(rig, kind).segment(1)
    return replace(first, vpn="s1.another", vni=first.vni + 1, remotes=())


async def test_damage_is_told_seen_and_mended(rig: GatewayRig) -> None:
    sites = await joined(rig, VpnKind.L2)
    where, switch = course(sites, 1), rig.switches[1]

    async def delete() -> None:
        await rig.spaces.netlink(rig.lab.site(1), lambda nl: nl.link("del", ifname=where.inner))

    async def exchange() -> None:
        def anew(nl: IPRoute) -> None:
            nl.link("del", ifname=where.inner)
            nl.link("add", ifname=where.inner, kind="veth", peer={"ifname": where.outer})

        await rig.spaces.netlink(rig.lab.site(1), anew)

    async def vsctl(*words: str) -> None:
        await asyncio.to_thread(switch.vsctl, *words)

    deeds = {
        "not plugged into br-int": lambda: vsctl("del-port", where.outer),
        "plugged into br-int as another port": lambda: vsctl(
            "set", "interface", where.outer, "external_ids:iface-id=other"
        ),
        "iface-status is not active": lambda: vsctl(
            "remove", "interface", where.outer, "external_ids", "iface-status"
        ),
        "the cable to the integration bridge is not there": delete,
        "Open vSwitch holds an end of it that is gone": exchange,
    }
    for words, deed in deeds.items():
        changes = rig.transport(1)
        stream = changes.changes()
        first = asyncio.create_task(news(stream, key(sites.segment(1))))
        await changes.observe(None)
        await deed()
        assert words in await flaw(rig)
        await first
        await stream.aclose()  # type: ignore[attr-defined]
        await sites.ensure(1, members=(1, 2))
        assert await flaw(rig) == ""
        assert await sites.reaches_again(1, [2]), words


async def test_a_port_that_nobody_joins_is_said(rig: GatewayRig) -> None:
    sites = await Sites(rig, VpnKind.L2).build((1, 2))
    await rig.agents[0].stop()
    with pytest.raises(Unavailable, match="the Open vSwitch agent has not joined the port"):
        await sites.ensure(1)
    assert await flaw(rig) == "the Open vSwitch agent has not joined the port to its network"


async def test_without_open_vswitch_what_there_is_stays(rig: GatewayRig) -> None:
    sites = await joined(rig, VpnKind.L2)
    rig.switches[1].stop()
    assert "is openvswitch-switch running?" not in (words := await flaw(rig))
    assert words.startswith("Open vSwitch's database at unix:")
    facts = await rig.transport(1).probe()
    assert (facts.ok, facts.l2, facts.l3) == (False, False, False)
    assert facts.reason.startswith("Open vSwitch's database at unix:")
    # Who has left is let in no more, all the same.
    alone = replace(sites.segment(1), remotes=())
    with pytest.raises(Unavailable):
        await rig.transport(1).ensure(alone)
    [seen] = (await look(rig, 1)).values()
    assert isinstance(seen, Segment)
    assert seen.remotes == ()


class Silent(Cabinet):
    """A cloud that does not answer."""

    async def remove(self, network: str) -> None:
        raise Unavailable("the cloud answers 500")


async def test_a_removal_that_the_cloud_fails_is_done_again_and_cuts_at_once(rig: GatewayRig) -> None:
    sites = await joined(rig, VpnKind.L2)
    assert await sites.reached(1) == [2]
    kept = rig.cabinets[1]
    silent = rig.cabinets[1] = Silent()
    silent.ports, silent.vlans = kept.ports, kept.vlans
    with pytest.raises(Unavailable, match="answers 500"):
        await rig.transport(1).remove(sites.segment(1))
    assert await sites.reached(1) == []
    assert key(sites.segment(1)) in await look(rig, 1), "it is known still, and tried again"
    rig.cabinets[1] = kept
    await rig.transport(1).remove(sites.segment(1))
    assert await look(rig, 1) == {}
    assert kept.ports == {}
    assert await devices(rig, 1) == set()


async def test_the_switch_says_what_it_cannot(rig: GatewayRig) -> None:
    switch = Switch(Ovsdb(rig.switches[1].address), "s1")
    plug = Plug(device="nothing", network="n", port="p", mac="02:00:00:00:00:01", index=0)
    with pytest.raises(Conflict, match="cannot use nothing"):
        await switch.plug(plug)
    with pytest.raises(NotFound, match="no bridge br-none"):
        await switch.plug(replace(plug, device="other", network="m", bridge="br-none"))
    assert list(await switch.plugs()) == ["n"]
    assert await switch.unplug("nothing")
    assert not await switch.unplug("nothing")
    host = await switch.host()
    assert (host.name, host.bridge, host.userspace, host.ovn) == ("gw", True, True, False)
    assert not (await Switch(Ovsdb(rig.switches[1].address), "s1", "br-none").host()).bridge


async def test_what_the_cloud_says_of_the_port_is_shown(rig: GatewayRig) -> None:
    sites = await joined(rig, VpnKind.L2)
    network = sites.segment(1).network
    port = rig.cabinets[1].ports[network]
    rig.cabinets[1].ports[network] = replace(port, flaw="not bound: no network agent on host gw")
    assert await flaw(rig) == "not bound: no network agent on host gw"
    del rig.cabinets[1].ports[network]
    assert await flaw(rig) == "its port is not in the cloud"

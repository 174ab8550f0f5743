"""Transport `bgpvpn` on a Neutron in memory: one object a Vpn, joined last and parted first, and none of others."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Subnet
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.view import View
from intertie.drivers.transport.bgpvpn import BgpvpnTransport
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.errors import Forbidden, IntertieError, NotFound, Refused, Unavailable
from intertie.model.items import Remote, Segment
from intertie.planning.identity import bridge_name
from intertie.testing.fake_neutron import MARKS, FakeNeutron, FakeRegion, Fault

SILENT = Unavailable("fake answers 500", code="cloud-silent")
WHOLE = (Range(first=ip_address("10.0.0.2"), last=ip_address("10.0.0.254")),)
OURS = (Range(first=ip_address("10.0.0.10"), last=ip_address("10.0.0.99")),)


class Site:
    """A region with one network and a subnet, and transports that are opened on it anew."""

    def __init__(self) -> None:
        self.region = FakeRegion()
        self.neutron = FakeNeutron(self.region)
        self.net = Net(id="net-blue", name="blue", project="p1", mtu=1442)
        self.region.networks[self.net.id] = self.net
        self.subnet = self.add("blue-v4", self.net, "10.0.0.0/24", WHOLE)

    def add(self, id: str, net: Net, prefix: str, pools: tuple[Range, ...]) -> Subnet:
        network = ip_network(prefix)
        made = Subnet(id=id, network=net.id, name=id, prefix=network, gateway=network[1], pools=pools)
        self.region.subnets[id] = made
        return made

    def transport(self) -> BgpvpnTransport:
        view = View(self.neutron, MARKS, good_for=0.0)
        return BgpvpnTransport("s1", self.neutron, view, Pools("s1", self.neutron, view), good_for=0.0)

    @property
    def objects(self) -> list[Bgpvpn]:
        return list(self.region.bgpvpns.values())

    @property
    def pools(self) -> tuple[Range, ...]:
        return self.region.subnets[self.subnet.id].pools


def segment(kind: VpnKind = VpnKind.L2) -> Segment:
    routed = kind is VpnKind.L3
    remote = Remote(site="s2", endpoints=(Endpoint(address=ip_address("192.0.2.2")),))
    return Segment(
        vpn=f"s1.vpn-{kind.value}",
        kind=kind,
        epoch=3,
        vni=70001,
        network="net-blue",
        bridge=bridge_name("net-blue"),
        local=Endpoint(address=ip_address("192.0.2.1")),
        mtu=1442,
        remotes=(remote,),
        gateways=(ip_interface("10.0.0.1/24"),),
        ranges=() if routed else OURS,
        transport="bgpvpn",
        route_target="64512:70001",
    )


@pytest.fixture
def site() -> Site:
    return Site()


KINDS = pytest.mark.parametrize("kind", list(VpnKind))


@KINDS
async def test_it_is_made_once_joined_and_seen(site: Site, kind: VpnKind) -> None:
    transport, want = site.transport(), segment(kind)
    assert await transport.observe(None) == []
    await transport.ensure(want)
    [made] = site.objects
    assert (made.name, made.project, made.layer) == (f"intertie s1 {want.vpn} net-blue", "p1", kind.value)
    assert made.route_targets == {"64512:70001"}
    assert made.networks == {"net-blue"}
    assert made.routers == frozenset()
    assert await transport.observe(None) == [want]
    before = site.region.writes
    await transport.ensure(replace(want, remotes=(), epoch=4))
    assert site.region.writes == before, "who else is in the Vpn is nothing to the service"
    assert await transport.observe(None) == [replace(want, remotes=(), epoch=4)]


@KINDS
async def test_a_new_driver_finds_it_and_writes_nothing(site: Site, kind: VpnKind) -> None:
    want = segment(kind)
    await site.transport().ensure(want)
    before, transport = site.region.writes, site.transport()
    [seen] = await transport.observe(None)
    assert isinstance(seen, Segment)
    assert (seen.vpn, seen.network, seen.kind, seen.route_target, seen.transport, seen.flaw) == (
        *(want.vpn, want.network, want.kind, want.route_target, want.transport),
        "",
    )
    await transport.ensure(want)
    assert site.region.writes == before
    assert await transport.observe(None) == [want]


@KINDS
async def test_it_goes_without_a_trace(site: Site, kind: VpnKind) -> None:
    await site.transport().ensure(segment(kind))
    for _ in range(2):
        await site.transport().remove(segment(kind))
        assert site.objects == []
        assert site.region.subnets == {site.subnet.id: site.subnet}


async def test_addresses_are_cut_before_it_is_joined_and_given_back_after(site: Site) -> None:
    await site.transport().ensure(segment())
    assert site.pools == OURS
    calls = site.region.writes
    assert calls.index("create_bgpvpn") < calls.index("update_subnet") < calls.index("associate")
    del site.region.calls[:]
    await site.transport().remove(segment())
    assert site.pools == WHOLE
    calls = [each for each in site.region.calls if each in ("dissociate", "update_subnet", "delete_bgpvpn")]
    assert calls == ["dissociate", "update_subnet", "delete_bgpvpn"]


@pytest.mark.parametrize("call", ["create_bgpvpn", "update_subnet", "tag_subnet", "associate"])
@pytest.mark.parametrize("done", [False, True])
async def test_what_fails_on_the_way_is_done_again(site: Site, call: str, done: bool) -> None:
    site.region.faults = [Fault(call, SILENT, done=done)]
    transport = site.transport()
    if done and call == "create_bgpvpn":
        await transport.ensure(segment())  # its name shows that it was made
    else:
        with pytest.raises(Unavailable):
            await transport.ensure(segment())
        assert len(site.objects) < 2
        await transport.ensure(segment())
    assert await transport.observe(None) == [segment()]
    assert len(site.objects) == 1
    assert site.pools == OURS


@pytest.mark.parametrize("call", ["dissociate", "update_subnet", "tag_subnet", "delete_bgpvpn"])
@pytest.mark.parametrize("done", [False, True])
async def test_a_removal_that_fails_half_way_is_seen_and_done_again(site: Site, call: str, done: bool) -> None:
    await site.transport().ensure(segment())
    site.region.faults = [Fault(call, SILENT, done=done)]
    with pytest.raises(Unavailable):
        await site.transport().remove(segment())
    if call != "delete_bgpvpn" or not done:
        assert len(await site.transport().observe(None)) == 1
    await site.transport().remove(segment())
    assert site.objects == []
    assert site.pools == WHOLE


async def test_damage_is_said_and_mended(site: Site) -> None:
    transport, want = site.transport(), segment()
    await transport.ensure(want)
    whole = site.objects[0]
    twin = replace(whole, id="zzz")
    damages = {
        "not joined to its network, or to more than that": {whole.id: replace(whole, networks=frozenset())},
        "an l2 object with route target 1:1": {whole.id: replace(whole, route_targets=frozenset({"1:1"}))},
        "made more than once": {whole.id: whole, twin.id: twin},
    }
    for words, damage in damages.items():
        site.region.bgpvpns = dict(damage)
        [seen] = await transport.observe(None)
        assert isinstance(seen, Segment)
        assert seen.flaw == words
        await transport.ensure(want)
        assert await transport.observe(None) == [want]
        assert [replace(o, id="") for o in site.objects] == [replace(whole, id="")]
        whole = site.objects[0]


async def test_pools_that_somebody_opened_are_said(site: Site) -> None:
    transport = site.transport()
    await transport.ensure(segment())
    site.region.subnets[site.subnet.id] = replace(site.region.subnets[site.subnet.id], pools=WHOLE)
    [seen] = await transport.observe(None)
    assert isinstance(seen, Segment)
    assert seen.flaw == "subnet blue-v4 gives out 10.0.0.2–10.0.0.254, not 10.0.0.10–10.0.0.99"
    await transport.ensure(segment())
    assert site.pools == OURS


async def test_a_blocked_one_is_held_and_joined_to_nothing(site: Site) -> None:
    transport, blocked = site.transport(), replace(segment(), blocked=True)
    await transport.ensure(segment())
    await transport.ensure(blocked)
    assert site.objects[0].networks == frozenset()
    assert await transport.observe(None) == [blocked]
    await transport.ensure(segment())
    assert site.objects[0].networks == {"net-blue"}


async def test_a_routed_network_is_joined_by_its_router(site: Site) -> None:
    port = site.region.route(site.subnet.id, "r1")
    await site.transport().ensure(segment(VpnKind.L3))
    assert site.objects[0].networks == frozenset()
    assert site.objects[0].routers == {port.device_id}
    await site.transport().ensure(segment(VpnKind.L2))
    assert {o.networks for o in site.objects if o.layer == "l2"} == {frozenset({"net-blue"})}


async def test_a_router_of_other_networks_joins_none_of_them(site: Site) -> None:
    other = Net(id="net-red", name="red", project="p1", mtu=1442)
    site.region.networks[other.id] = other
    site.add("red-v4", other, "10.9.0.0/24", ())
    port, second = site.region.route(site.subnet.id, "r1"), site.region.route("red-v4", "r2")
    site.region.ports[second.id] = replace(second, device_id=port.device_id)
    with pytest.raises(Refused, match="router r1 of network blue serves red too") as refused:
        await site.transport().ensure(segment(VpnKind.L3))
    assert refused.value.code == "in-use"
    assert site.objects == []


async def test_what_others_made_is_left_alone(site: Site) -> None:
    names = ("by-hand", "intertie s2 s1.vpn-l2 net-blue", "intertie s1")
    for number, name in enumerate(names):
        id = f"other{number}"
        site.region.bgpvpns[id] = Bgpvpn(
            id=id, name=name, project="p1", layer="l2", route_targets=frozenset({"64512:70001"})
        )
    await site.transport().ensure(segment())
    await site.transport().remove(segment())
    assert [o.name for o in site.objects] == list(names)
    assert await site.transport().observe(None) == []


async def test_the_service_is_tried_once(site: Site) -> None:
    transport = site.transport()
    facts = await transport.probe()
    assert (facts.name, facts.ok, facts.l2, facts.l3, facts.reason) == ("bgpvpn", True, True, True, "")
    assert site.objects == []
    before = len(site.region.writes)
    assert (await transport.probe()).ok
    assert len(site.region.writes) == before


class Poor(FakeNeutron):
    async def extensions(self) -> frozenset[str]:
        return frozenset({"router"})

    async def bgpvpns(self) -> list[Bgpvpn]:
        raise NotFound("The resource could not be found.")


async def test_without_the_service_that_is_said(site: Site) -> None:
    site.neutron = Poor(site.region)
    facts = await site.transport().probe()
    assert (facts.ok, facts.l2, facts.l3, facts.reason) == (False, False, False, "fake has no BGPVPN service")
    assert await site.transport().observe(None) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Forbidden("rule:admin_only"), "rule:admin_only"),
        (SILENT, "fake answers 500"),
    ],
)
async def test_without_the_right_that_is_said(site: Site, error: IntertieError, words: str) -> None:
    site.region.faults = [Fault("create_bgpvpn", error, times=2)]
    transport = site.transport()
    facts = await transport.probe()
    assert (facts.ok, facts.reason) == (False, words)
    assert (await transport.probe()).ok, "it is tried again"


async def test_a_kind_that_the_service_lacks_is_not_advertised(site: Site) -> None:
    site.region.faults = [Fault("create_bgpvpn", Refused("type l2 is not supported"))]
    facts = await site.transport().probe()
    assert (facts.ok, facts.l2, facts.l3) == (True, False, True)


async def test_an_older_vpn_is_refused(site: Site) -> None:
    with pytest.raises(Refused, match="no route target"):
        await site.transport().ensure(replace(segment(), route_target=""))

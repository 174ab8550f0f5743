"""A Neutron region as a site's cloud: what is told of it, what is made and removed, and what its bad days do. On a
Neutron in memory; tests/openstack tries the same on the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from intertie.drivers.cloud import neutron as driver
from intertie.drivers.cloud.neutron import Policy
from intertie.drivers.openstack.gateway import PortWish
from intertie.drivers.openstack.neutron import Subnet
from intertie.drivers.openstack.view import Marks
from intertie.model.errors import Conflict, Forbidden, IntertieError, Refused, Unavailable
from intertie.model.items import Host, Key, key
from intertie.planning.diff import diff
from intertie.planning.identity import bridge_name
from intertie.testing.fake_neutron import MARKS, FakeRegion, Fault
from intertie.testing.neutron_suite import span
from tests.contract.neutron_site import BOTH, MADE, PROJECT, SITE, Beside, existing, segment, wish

SILENT = Unavailable("the cloud is silent", code="cloud-silent")
FAULTS = {
    "500": SILENT,
    "409": Conflict("somebody was faster", code="in-use"),
    "403": Forbidden("no right"),
    "quota": Refused("Quota exceeded for resources: ['network'].", code="quota"),
}
OWN = f"{SITE}.01arz3ndektsv4rrffq69g5fav"
"""Id of a network that stands alone."""


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion(agents={"gw": [True]})


def four(prefix: str = "10.0.0.0/24", gateway: str = "10.0.0.1") -> Subnet:
    return Subnet(network="", prefix=ip_network(prefix), gateway=ip_address(gateway) if gateway else None)


# ── What is told ───────────────────────────────────────────────────────────────────────────────────────────


async def test_a_network_is_told_of_with_all_that_matters(region: FakeRegion) -> None:
    net = await existing(region, four(), Subnet(network="", prefix=BOTH[1], gateway=ip_address("fd00:1::1")))
    machine = region.boot(net.id)
    agent = region.boot(net.id, "network:dhcp")
    facts = await Beside(region).facts(net.id)
    assert (facts.name, facts.project, facts.prefixes, facts.mtu) == ("old", PROJECT, BOTH, 1400)
    assert (facts.own, facts.attachable, facts.reason, facts.bridge) == (False, True, "", bridge_name(net.id))
    assert set(facts.addresses_in_use) == machine.addresses | agent.addresses
    assert facts.gateways == (ip_address("10.0.0.1"), ip_address("fd00:1::1"))
    assert (facts.ports, facts.routed_by) == (1, "")


async def test_who_routes_a_network_is_told(region: FakeRegion) -> None:
    net = await existing(region, four())
    region.route(region.of(net.id)[0].id, "r1")
    facts = await Beside(region).facts(net.id)
    assert (facts.routed_by, facts.ports, facts.addresses_in_use) == ("router r1", 0, ())


async def test_a_second_subnet_is_told_of(region: FakeRegion) -> None:
    net = await existing(region, four(), four("10.9.0.0/24", "10.9.0.1"))
    facts = await Beside(region).facts(net.id)
    assert [str(prefix) for prefix in facts.prefixes] == ["10.0.0.0/24", "10.9.0.0/24"]
    assert [str(gateway) for gateway in facts.gateways] == ["10.0.0.1", "10.9.0.1"]


@pytest.mark.parametrize(
    ("damage", "policy", "words"),
    [
        ({"external": True}, Policy(), "external"),
        ({"project": ""}, Policy(), "no project"),
        ({}, Policy(projects=frozenset({"b" * 32})), f"project {PROJECT}"),
        ({"zones": frozenset({"west"})}, Policy(zone="east"), "zone west"),
        ({"physical": "physnet2"}, Policy(physical="physnet1"), "physnet2"),
    ],
)
async def test_why_a_network_cannot_be_attached_is_said_and_it_stops_no_other(
    region: FakeRegion, damage: dict[str, object], policy: Policy, words: str
) -> None:
    good = await existing(region, four())
    net = await existing(region, four(), name="odd")
    region.networks[net.id] = replace(net, **damage)  # type: ignore[arg-type]
    site = Beside(region, policy=policy)
    facts = await site.facts(net.id)
    assert not facts.attachable
    assert words in facts.reason
    assert (await site.facts(good.id)).attachable is (not policy.projects)


async def test_a_network_without_a_subnet_cannot_be_attached(region: FakeRegion) -> None:
    net = await existing(region)
    assert (await Beside(region).facts(net.id)).reason == "it has no subnet"


@pytest.mark.parametrize("name", ["", "Blue Net", "réseau", "-x", "n" * 200])
async def test_a_name_that_other_sites_would_not_take_is_replaced_by_the_id(region: FakeRegion, name: str) -> None:
    net = await existing(region, four(), name=name)
    assert (await Beside(region).facts(net.id)).name == net.id


async def test_a_name_that_two_networks_of_a_project_have_tells_neither(region: FakeRegion) -> None:
    first, second = await existing(region, four(), name="lan"), await existing(region, four(), name="lan")
    other = await existing(region, four(), name="lan", project="b" * 32)
    names = {facts.id: facts.name for facts in await Beside(region).cloud.inventory()}
    assert names == {first.id: first.id, second.id: second.id, other.id: "lan"}


# ── What is made ───────────────────────────────────────────────────────────────────────────────────────────


async def test_what_was_ensured_is_seen_as_it_was_wished_by_who_did_not_make_it(region: FakeRegion) -> None:
    alone = wish(OWN, "alone")
    for item in (wish(), alone):
        await Beside(region).cloud.ensure(item)
    seen = {key(item): item for item in await Beside(region).cloud.observe(None)}
    assert seen == {key(item): item for item in (wish(), alone)}
    assert list(await Beside(region).cloud.observe([key(alone)])) == [alone]
    assert {net.name: region.tags[net.id] for net in region.networks.values()} == {
        "blue": {"intertie"},
        "alone": {"intertie"},
    }
    before = list(region.writes)
    for item in (wish(), alone):
        await Beside(region).cloud.ensure(item)
    assert region.writes == before


async def test_a_made_network_gives_out_nothing_before_a_segment_says_what(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish())
    assert region.subnets == {}
    facts = await Beside(region).facts(MADE)
    assert (facts.prefixes, facts.own, facts.attachable) == (BOTH, True, True)


async def test_a_network_that_stands_alone_gives_out_all_but_the_gateway(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish(OWN))
    assert [(str(s.gateway), s.pools) for s in region.subnets.values()] == [
        ("10.0.0.1", (span("10.0.0.2", "10.0.0.254"),)),
        ("fd00:1::1", (span("fd00:1::2", "fd00:1::ffff:ffff:ffff:ffff"),)),
    ]


async def test_hosts_are_the_clouds_own(region: FakeRegion) -> None:
    host = Host(
        id="nantes.h",
        name="web",
        project=PROJECT,
        network=MADE,
        bridge="ib0",
        interfaces=(ip_interface("10.0.0.9/24"),),
        mtu=1400,
    )
    with pytest.raises(Refused, match="virtual machines"):
        await Beside(region).cloud.ensure(host)


async def test_what_somebody_renamed_is_told_and_not_undone(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish())
    (net,) = region.networks.values()
    region.networks[net.id] = replace(net, name="mine")
    with pytest.raises(Conflict, match="mine"):
        await Beside(region).cloud.ensure(wish())
    assert [item.name for item in await Beside(region).cloud.observe(None)] == ["mine"]


async def test_what_it_did_not_make_is_not_seen_nor_removed(region: FakeRegion) -> None:
    net = await existing(region, four())
    forged = await existing(region, name="forged")
    region.networks[forged.id] = replace(forged, description=f"intertie lyon {MADE} 10.0.0.0/24")
    site = Beside(region)
    assert list(await site.cloud.observe(None)) == []
    before = dict(region.networks)
    await site.cloud.remove(wish(net.id))
    await site.cloud.remove(wish())
    assert region.networks == before
    assert region.writes == ["create_network", "create_subnet", "create_network"]


# ── What is removed ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_network_goes_with_its_subnets_and_our_port_and_absent_is_success(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish())
    await Beside(region).pools.cut(segment(MADE))
    await Beside(region).ports.ensure(PortWish(network=MADE, mac="02:00:00:00:00:01"))
    (net,) = region.networks.values()
    region.boot(net.id, "network:dhcp")
    for _ in range(2):
        await Beside(region).cloud.remove(wish())
        assert (region.networks, region.subnets, region.ports) == ({}, {}, {})


@pytest.mark.parametrize(
    "owner",
    ["compute:nova", "compute:west", "", "trunk:subport", "network:router_interface", "Octavia", "network:intertie"],
)
async def test_a_network_with_a_port_of_whomever_stays_and_says_whose(region: FakeRegion, owner: str) -> None:
    await Beside(region).cloud.ensure(wish())
    await Beside(region).pools.cut(segment(MADE))
    (net,) = region.networks.values()
    port = region.boot(net.id, owner)  # network:intertie: of another site, a cell of the same cloud
    with pytest.raises(Refused, match=port.id) as refused:
        await Beside(region).cloud.remove(wish())
    assert refused.value.code == "in-use"
    assert owner in refused.value.detail
    assert set(region.ports) == {port.id}
    assert net.id in region.networks


async def test_a_port_that_came_in_the_last_moment_keeps_the_network(region: FakeRegion) -> None:
    site = Beside(region, good_for=60.0)
    await site.cloud.ensure(wish())
    await site.pools.cut(segment(MADE))
    await site.cloud.inventory()
    (net,) = region.networks.values()
    region.boot(net.id)
    with pytest.raises(Conflict):
        await site.cloud.remove(wish())
    assert net.id in region.networks


# ── Bad days ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("what", FAULTS)
async def test_whatever_is_answered_to_a_creation_there_is_one_network_in_the_end(
    region: FakeRegion, what: str, done: bool
) -> None:
    region.faults = [Fault("create_network", FAULTS[what], done)]
    if done and what == "500":
        await Beside(region).cloud.ensure(wish())
    else:
        with pytest.raises(type(FAULTS[what])) as told:
            await Beside(region).cloud.ensure(wish())
        assert told.value.detail == FAULTS[what].detail
    await Beside(region).cloud.ensure(wish())
    assert [net.name for net in region.networks.values()] == ["blue"]


@pytest.mark.parametrize("call", ["networks", "subnets", "ports", "routers"])
async def test_a_list_that_fails_is_not_an_empty_one(region: FakeRegion, call: str) -> None:
    await existing(region, four())
    await Beside(region).cloud.ensure(wish())
    region.faults = [Fault(call, SILENT)]
    with pytest.raises(Unavailable):
        await Beside(region).cloud.ensure(wish())
    region.faults = [Fault(call, SILENT)]
    with pytest.raises(Unavailable):
        await Beside(region).cloud.observe(None)
    assert len(region.networks) == 2


async def test_a_silent_cloud_is_as_it_was_last_seen(region: FakeRegion) -> None:
    site = Beside(region)
    await site.cloud.ensure(wish())
    before = (await site.cloud.inventory(), list(await site.cloud.observe(None)))
    region.silent = True
    assert (await site.cloud.inventory(), list(await site.cloud.observe(None))) == before
    assert not diff([wish()], await site.cloud.observe(None), lambda k: True).changes
    for deed in (site.cloud.ensure(wish(OWN)), site.cloud.remove(wish())):
        with pytest.raises(Unavailable):
            await deed
    region.silent = False
    await site.cloud.ensure(wish())
    assert len(region.networks) == 1


async def test_a_list_that_is_not_whole_is_no_word_of_what_it_lacks(region: FakeRegion) -> None:
    site = Beside(region)
    net = await existing(region, four())
    await site.cloud.ensure(wish())
    await site.pools.cut(segment(MADE))
    before = await site.cloud.inventory()
    region.hidden = set(region.networks)
    assert await site.cloud.inventory() == before
    for deed in (site.cloud.ensure(wish()), site.cloud.remove(wish()), site.pools.cut(segment(net.id))):
        with pytest.raises(Unavailable, match="and not of the network"):
            await deed
    region.hidden = set()
    await site.cloud.ensure(wish())
    assert len(region.networks) == 2


async def test_a_network_that_really_went_is_gone(region: FakeRegion) -> None:
    site = Beside(region)
    await site.cloud.ensure(wish(OWN))
    (net,) = await site.neutron.networks()
    await site.neutron.delete_network(net.id)
    assert list(await site.cloud.observe(None)) == []


async def test_who_looks_while_a_network_is_made_has_none_made_twice(region: FakeRegion) -> None:
    region.slow["create_network"] = 0.1
    site = Beside(region, good_for=60.0)
    await site.cloud.inventory()
    making = asyncio.create_task(site.cloud.ensure(wish()))
    await asyncio.wait({making}, timeout=0.03)
    assert "create_network" in region.calls
    assert not making.done()
    assert await site.cloud.inventory() == ()
    await making
    await site.cloud.ensure(wish())
    assert len(region.networks) == 1
    assert list(await site.cloud.observe(None)) == [wish()]


async def test_of_twins_the_one_in_use_stays(region: FakeRegion) -> None:
    text = MARKS.write(SITE, MADE, wish().project, BOTH)
    late = await existing(region, name="blue")
    used = await existing(region, four(), name="blue")
    for net in (late, used):
        region.networks[net.id] = replace(net, description=text)
    region.boot(used.id)
    (seen,) = await Beside(region).cloud.observe(None)
    assert seen.flaw == "made more than once"
    await Beside(region).cloud.ensure(wish())
    assert set(region.networks) == {used.id}
    assert list(await Beside(region).cloud.observe(None)) == [wish()]


async def test_of_twins_that_are_both_in_use_none_is_touched_and_the_rest_goes_on(region: FakeRegion) -> None:
    for _ in range(2):
        net = await existing(region, four(), name="blue")
        region.networks[net.id] = replace(net, description=MARKS.write(SITE, MADE, net.project, BOTH))
        region.boot(net.id)
    before = dict(region.networks)
    await Beside(region).cloud.ensure(wish())
    assert region.networks == before


async def test_a_mark_that_was_copied_into_another_project_is_none(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish())
    (ours,) = region.networks.values()
    forged = await existing(region, four(), name="blue", project="b" * 32)
    region.networks[forged.id] = replace(forged, description=ours.description)
    region.boot(forged.id)  # ours has no machine yet: of twins the one in use would come first
    site = Beside(region)
    await site.cloud.ensure(wish())
    assert (await site.view.find(SITE, MADE)).id == ours.id
    assert list(await site.cloud.observe(None)) == [wish()]
    facts = {each.id: each for each in await site.cloud.inventory()}
    assert (facts[forged.id].own, facts[MADE].own) == (False, True)
    await site.cloud.remove(wish())
    assert set(region.networks) == {forged.id}


@pytest.mark.parametrize(
    "text",
    [
        f"intertie {SITE} whatever 10.0.0.0/24",
        f"intertie {SITE} whatever 10.0.0.0/24 0123456789abcdef0123456789abcdef",
        Marks(b"of somebody else").write(SITE, "whatever", PROJECT, BOTH),
    ],
)
async def test_a_mark_that_was_made_up_is_none(region: FakeRegion, text: str) -> None:
    net = await existing(region, four(), name="blue")
    region.networks[net.id] = replace(net, description=text)
    site = Beside(region, policy=Policy(projects=frozenset({"another"})))
    (facts,) = await site.cloud.inventory()
    assert (facts.id, facts.own, facts.attachable) == (net.id, False, False)
    assert list(await site.cloud.observe(None)) == []


async def test_a_slow_cloud_is_asked_once_by_all_who_look_at_the_same_time(region: FakeRegion) -> None:
    await existing(region, four())
    region.delay = 0.05
    site = Beside(region, good_for=60.0)
    region.calls.clear()
    await asyncio.gather(*(site.cloud.inventory() for _ in range(20)), *(site.cloud.observe(None) for _ in range(20)))
    assert sorted(region.calls) == ["networks", "ports", "routers", "subnets"]


async def test_changes_are_told_once_and_survive_silence(region: FakeRegion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "POLL", 0.01)
    site = Beside(region)
    await site.cloud.ensure(wish())
    changes = site.cloud.changes()
    first = asyncio.create_task(_next(changes))
    await asyncio.sleep(0.05)
    region.silent = True
    await asyncio.sleep(0.05)
    region.silent = False
    assert not first.done()
    (net,) = region.networks.values()
    region.networks[net.id] = replace(net, name="mine")
    assert await asyncio.wait_for(first, 5) == key(wish())


async def _next(changes: AsyncIterator[Key]) -> Key:
    return await anext(changes)


async def test_one_network_that_fails_stops_no_other(region: FakeRegion) -> None:
    region.faults = [Fault("create_network", FAULTS["quota"])]
    site = Beside(region)
    results = await asyncio.gather(
        *(site.cloud.ensure(item) for item in (wish(), wish(OWN, "alone"))), return_exceptions=True
    )
    assert sum(isinstance(result, IntertieError) for result in results) == 1
    assert len(region.networks) == 1


async def test_a_network_that_was_never_heard_of_is_named(region: FakeRegion) -> None:
    with pytest.raises(IntertieError, match=r"has no network nantes\.net-") as refused:
        await Beside(region).ports.ensure(PortWish(network=MADE, mac="02:00:00:00:00:01"))
    assert refused.value.code == "unknown-network"

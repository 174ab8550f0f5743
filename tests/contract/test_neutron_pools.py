"""What networks give out while they are in an L2 Vpn, and that it is put back: on a Neutron in memory."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from intertie.drivers.openstack.neutron import Net, Subnet
from intertie.model.bodies import Range
from intertie.model.errors import Conflict, IntertieError, Refused, Unavailable
from intertie.testing.fake_neutron import FakeRegion, Fault
from intertie.testing.neutron_suite import span
from tests.contract.neutron_site import BOTH, MADE, PROJECT, Beside, existing, segment, wish

ALL = span("10.0.0.2", "10.0.0.254")
HELD = (span("10.0.0.1", "10.0.0.99"), span("fd00:1::1", "fd00:1::ffff"))
SILENT = Unavailable("the cloud is silent", code="cloud-silent")


@pytest.fixture
def region() -> FakeRegion:
    return FakeRegion(agents={"gw": [True]})


def four(*pools: Range, prefix: str = "10.0.0.0/24", gateway: str = "10.0.0.1") -> Subnet:
    return Subnet(
        network="",
        name="v4",
        prefix=ip_network(prefix),
        gateway=ip_address(gateway) if gateway else None,
        pools=pools,
        tags=frozenset({"theirs"}),
    )


def six(*pools: Range) -> Subnet:
    return Subnet(network="", name="v6", prefix=BOTH[1], gateway=ip_address("fd00:1::1"), pools=pools)


def pools(region: FakeRegion, net: Net | str) -> dict[str, tuple[Range, ...]]:
    id = net if isinstance(net, str) else net.id
    return {str(subnet.prefix): subnet.pools for subnet in region.of(id)}


async def made(region: FakeRegion) -> Net:
    """The network of an L2 Vpn, as the cloud driver makes it: without subnets."""
    await Beside(region).cloud.ensure(wish())
    (net,) = region.networks.values()
    assert region.of(net.id) == []
    return net


async def test_a_made_network_gives_out_this_sites_range_and_no_gateway(region: FakeRegion) -> None:
    net = await made(region)
    await Beside(region).pools.cut(segment(MADE, *HELD))
    assert pools(region, net) == {
        "10.0.0.0/24": (span("10.0.0.2", "10.0.0.99"),),
        "fd00:1::/64": (span("fd00:1::2", "fd00:1::ffff"),),
    }
    assert {s.gateway for s in region.of(net.id)} == {ip_address("10.0.0.1"), ip_address("fd00:1::1")}
    assert all(subnet.dhcp and subnet.project == PROJECT for subnet in region.of(net.id))
    assert region.boot(net.id).addresses == {ip_address("10.0.0.2"), ip_address("fd00:1::2")}


async def test_two_sites_of_a_vpn_never_give_out_the_same_address(region: FakeRegion) -> None:
    other = FakeRegion()
    net = await made(region)
    await Beside(region).pools.cut(segment(MADE, span("10.0.0.1", "10.0.0.99"), HELD[1]))
    there = await existing(other, four(ALL))
    await Beside(other).pools.cut(segment(there.id, span("10.0.0.100", "10.0.0.254"), gateways=("10.0.0.100/24",)))
    mine = {number for pool in pools(region, net)["10.0.0.0/24"] for number in numbers(pool)}
    theirs = {number for pool in pools(other, there)["10.0.0.0/24"] for number in numbers(pool)}
    assert mine.isdisjoint(theirs)
    assert len(mine | theirs) == 253  # not the first gateway; the second network keeps its own, outside its range


def numbers(pool: Range) -> range:
    return range(int(pool.first), int(pool.last) + 1)


async def test_a_network_that_was_there_gets_its_pools_back(region: FakeRegion) -> None:
    net = await existing(region, four(span("10.0.0.10", "10.0.0.50"), span("10.0.0.60", "10.0.0.250")), six())
    before = dict(region.subnets)
    await Beside(region).pools.cut(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", "10.0.0.99"),)
    assert [s.gateway for s in region.of(net.id)] == [s.gateway for s in before.values()]
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert region.subnets == before


async def test_the_same_twice_writes_nothing(region: FakeRegion) -> None:
    net = await existing(region, four(ALL), six())
    await made_and_cut(region)
    await Beside(region).pools.cut(segment(net.id, *HELD))
    before = list(region.writes)
    await Beside(region).pools.cut(segment(net.id, *HELD))
    await Beside(region).pools.cut(segment(MADE, *HELD))
    assert region.writes == before
    await Beside(region).pools.restore(segment(net.id, *HELD))
    before = list(region.writes)
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert region.writes == before


async def made_and_cut(region: FakeRegion) -> None:
    await Beside(region).cloud.ensure(wish())
    await Beside(region).pools.cut(segment(MADE, *HELD))


async def test_a_range_that_grows_and_shrinks_is_followed_and_the_first_pools_come_back(region: FakeRegion) -> None:
    net = await existing(region, four(ALL))
    for held in (span("10.0.0.1", "10.0.0.99"), span("10.0.0.1", "10.0.0.199"), span("10.0.0.1", "10.0.0.49")):
        await Beside(region).pools.cut(segment(net.id, held))
        assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", str(held.last)),)
    await Beside(region).pools.restore(segment(net.id))
    assert pools(region, net)["10.0.0.0/24"] == (ALL,)


async def test_a_second_subnet_of_the_same_version_is_cut_by_its_own_range(region: FakeRegion) -> None:
    net = await existing(region, four(ALL), four(prefix="10.9.0.0/24", gateway="10.9.0.1"))
    before = dict(region.subnets)
    held = (span("10.0.0.1", "10.0.0.99"), span("10.9.0.1", "10.9.0.20"))
    await Beside(region).pools.cut(segment(net.id, *held))
    assert pools(region, net) == {
        "10.0.0.0/24": (span("10.0.0.2", "10.0.0.99"),),
        "10.9.0.0/24": (span("10.9.0.2", "10.9.0.20"),),
    }
    await Beside(region).pools.restore(segment(net.id, *held))
    assert region.subnets == before


async def test_a_subnet_that_came_later_and_is_not_in_the_vpn_is_left_alone(region: FakeRegion) -> None:
    net = await existing(region, four(ALL), four(prefix="10.9.0.0/24", gateway="10.9.0.1"))
    later = region.of(net.id)[1]
    await Beside(region).pools.cut(segment(net.id, *HELD))
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert region.subnets[later.id] == later


@pytest.mark.parametrize(
    ("prefix", "held", "given"),
    [
        ("10.0.0.0/29", span("10.0.0.1", "10.0.0.3"), (span("10.0.0.2", "10.0.0.3"),)),
        ("10.0.0.0/30", span("10.0.0.1", "10.0.0.2"), (span("10.0.0.2", "10.0.0.2"),)),
        ("10.0.0.0/30", span("10.0.0.1", "10.0.0.1"), ()),
    ],
)
async def test_small_prefixes(region: FakeRegion, prefix: str, held: Range, given: tuple[Range, ...]) -> None:
    net = await existing(region, four(prefix=prefix))
    before = dict(region.subnets)
    await Beside(region).pools.cut(segment(net.id, held, gateways=()))
    assert pools(region, net) == {prefix: given}
    assert Beside(region).pools.flaw(segment(net.id, held)) == ""
    await Beside(region).pools.restore(segment(net.id, held))
    assert region.subnets == before


async def test_a_made_subnet_with_nothing_to_give_out_is_refused_and_not_made(region: FakeRegion) -> None:
    net = await made(region)
    with pytest.raises(Refused) as refused:
        await Beside(region).pools.cut(segment(MADE, span("10.0.0.1", "10.0.0.1"), HELD[1]))
    assert refused.value.code == "prefix-too-small"
    assert "10.0.0.0/24" not in pools(region, net)


# ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("call", ["tag_subnet", "update_subnet"])
async def test_a_cut_that_broke_off_anywhere_ends_well(region: FakeRegion, call: str, done: bool) -> None:
    net = await existing(region, four(span("10.0.0.10", "10.0.0.250")))
    before = dict(region.subnets)
    region.faults = [Fault(call, SILENT, done)]
    with pytest.raises(Unavailable):
        await Beside(region).pools.cut(segment(net.id, *HELD))
    await Beside(region).pools.cut(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", "10.0.0.99"),)
    region.faults = [Fault(call, SILENT, done)]
    with pytest.raises(Unavailable):
        await Beside(region).pools.restore(segment(net.id, *HELD))
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert region.subnets == before


@pytest.mark.parametrize("done", [False, True])
async def test_a_subnet_whose_creation_was_not_answered_is_made_once(region: FakeRegion, done: bool) -> None:
    net = await made(region)
    region.faults = [Fault("create_subnet", SILENT, done)]
    with pytest.raises(Unavailable):
        await Beside(region).pools.cut(segment(MADE, *HELD))
    await Beside(region).pools.cut(segment(MADE, *HELD))
    assert sorted(str(s.prefix) for s in region.of(net.id)) == ["10.0.0.0/24", "fd00:1::/64"]


async def test_what_one_subnet_refuses_keeps_no_other_from_being_cut_or_given_back(region: FakeRegion) -> None:
    net = await existing(region, four(ALL), six())
    whole = pools(region, net)
    region.faults = [Fault("update_subnet", Conflict("no", code="in-use"))]
    with pytest.raises(Conflict):
        await Beside(region).pools.cut(segment(net.id, *HELD))
    assert sum(now != then for now, then in zip(pools(region, net).values(), whole.values(), strict=True)) == 1
    await Beside(region).pools.cut(segment(net.id, *HELD))
    region.faults = [Fault("update_subnet", Conflict("no", code="in-use"))]
    with pytest.raises(Conflict):
        await Beside(region).pools.restore(segment(net.id, *HELD))
    assert sum(now == then for now, then in zip(pools(region, net).values(), whole.values(), strict=True)) == 1


async def test_the_quota_of_a_project_is_said_and_nothing_is_half_made(region: FakeRegion) -> None:
    net = await made(region)
    region.quota[PROJECT, "subnet"] = 1
    with pytest.raises(Refused, match="Quota") as refused:
        await Beside(region).pools.cut(segment(MADE, *HELD))
    assert refused.value.code == "quota"
    assert Beside(region).pools.flaw(segment(MADE, *HELD)) == ""  # it was never looked at
    del region.quota[PROJECT, "subnet"]
    await Beside(region).pools.cut(segment(MADE, *HELD))
    assert len(pools(region, net)) == 2


async def test_pools_come_back_around_a_gateway_that_was_moved_meanwhile(region: FakeRegion) -> None:
    net = await existing(region, four(span("10.0.0.10", "10.0.0.250")))
    await Beside(region).pools.cut(segment(net.id, *HELD))
    (cut,) = region.of(net.id)
    await Beside(region).neutron.update_subnet(replace(cut, gateway=ip_address("10.0.0.200")))
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.10", "10.0.0.199"), span("10.0.0.201", "10.0.0.250"))


async def test_a_subnet_that_gave_out_nothing_gives_out_nothing_again(region: FakeRegion) -> None:
    net = await existing(region, four(ALL))
    (subnet,) = region.of(net.id)
    await Beside(region).neutron.update_subnet(replace(subnet, pools=()))
    await Beside(region).pools.cut(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", "10.0.0.99"),)
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == ()


async def test_a_note_that_somebody_spoilt_empties_no_network(region: FakeRegion) -> None:
    net = await existing(region, four(ALL))
    await Beside(region).pools.cut(segment(net.id, *HELD))
    (subnet,) = region.of(net.id)
    await Beside(region).neutron.tag_subnet(subnet.id, {"intertie:pool=whatever"})
    await Beside(region).pools.restore(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", "10.0.0.99"),)


async def test_what_is_noted_is_what_the_network_gives_out_now(region: FakeRegion) -> None:
    net = await existing(region, four(ALL))
    site = Beside(region, good_for=60.0)
    await site.cloud.inventory()
    (subnet,) = region.of(net.id)
    region.subnets[subnet.id] = replace(subnet, pools=(span("10.0.0.20", "10.0.0.30"),), tags=frozenset({"new"}))
    await site.pools.cut(segment(net.id, *HELD))
    await site.pools.restore(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.20", "10.0.0.30"),)
    assert region.subnets[subnet.id].tags == {"new"}


async def test_a_network_that_is_gone_needs_nothing_back(region: FakeRegion) -> None:
    await Beside(region).pools.restore(segment("0" * 36, *HELD))
    with pytest.raises(IntertieError) as refused:
        await Beside(region).pools.cut(segment("0" * 36, *HELD))
    assert refused.value.code == "unknown-network"


async def test_what_somebody_gives_out_beside_is_said_and_mended(region: FakeRegion) -> None:
    net = await existing(region, four(ALL))
    await Beside(region).pools.cut(segment(net.id, *HELD))
    (subnet,) = region.of(net.id)
    region.subnets[subnet.id] = replace(subnet, pools=(ALL,))
    site = Beside(region)
    assert site.pools.flaw(segment(net.id, *HELD)) == ""  # not known
    await site.cloud.inventory()
    assert "10.0.0.2–10.0.0.254, not 10.0.0.2–10.0.0.99" in site.pools.flaw(segment(net.id, *HELD))
    await site.pools.cut(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (span("10.0.0.2", "10.0.0.99"),)
    await site.pools.restore(segment(net.id, *HELD))
    assert pools(region, net)["10.0.0.0/24"] == (ALL,)

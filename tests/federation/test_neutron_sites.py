"""Sites beside OpenStack regions: real agents, over Neutrons in memory. What tenants get, and what a region's bad
days do to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from intertie.agent.ports import Cloud, Transport
from intertie.drivers.cloud.neutron import NeutronCloud, Policy
from intertie.drivers.openstack.neutron import Net, Subnet
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.view import View
from intertie.model.bodies import Range, VpnKind
from intertie.model.errors import Conflict, Unavailable
from intertie.model.items import Item, Key, Segment
from intertie.testing.fake_neutron import MARKS, FakeNeutron, FakeRegion, Fault
from intertie.testing.fake_transport import FakeTransport
from intertie.testing.federation import OPERATOR, Place, World, attachment
from intertie.testing.neutron_suite import span
from intertie.testing.virtual_time import run

SITES = ("nantes", "lyon", "rennes")
SILENT = Unavailable("lyon answers 500", code="cloud-silent")


class PoolingTransport:
    """The data plane, and the pools of the networks that it reaches, as transports on a Neutron have them."""

    def __init__(self, plane: FakeTransport, pools: Pools) -> None:
        self._plane = plane
        self._pools = pools

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        found = await self._plane.observe(keys)
        return [replace(item, flaw=item.flaw or self._flaw(item)) for item in found]

    def _flaw(self, item: Item) -> str:
        return self._pools.flaw(item) if isinstance(item, Segment) and item.kind is VpnKind.L2 else ""

    def changes(self) -> AsyncIterator[Key]:
        return self._plane.changes()

    async def ensure(self, item: Item) -> None:
        await self._plane.ensure(item)
        if isinstance(item, Segment) and item.kind is VpnKind.L2:
            await self._pools.cut(item)

    async def remove(self, item: Item) -> None:
        if isinstance(item, Segment) and item.kind is VpnKind.L2:
            await self._pools.restore(item)
        await self._plane.remove(item)


class Regions(World):
    """Every site is a region."""

    def __init__(self) -> None:
        super().__init__()
        self.regions = {name: FakeRegion() for name in SITES}

    def cloud(self, name: str, place: Place) -> Cloud:
        self._view = View(neutron := FakeNeutron(self.regions[name], name), MARKS)
        self._pools = Pools(name, neutron, self._view)
        return NeutronCloud(name, neutron, self._view, Policy())

    def carrier(self, name: str, plane: FakeTransport) -> Transport:
        return PoolingTransport(plane, self._pools)

    async def tenant_net(self, site: str, *prefixes: str, name: str = "blue") -> Net:
        """What a tenant makes in the region itself."""
        neutron = FakeNeutron(self.regions[site])
        net = await neutron.create_network(Net(name=name, project="demo", mtu=1450))
        for prefix in map(ip_network, prefixes):
            gateway = ip_address(int(prefix.network_address) + 1)
            await neutron.create_subnet(Subnet(network=net.id, project="demo", prefix=prefix, gateway=gateway))
        await self.until(lambda: any(n.id == net.id for n in self.running[site].agent.inventory.networks))
        return net

    def there(self, site: str, name: str = "blue") -> list[Net]:
        return [net for net in self.regions[site].networks.values() if net.name == name]

    def pools(self, site: str) -> dict[str, tuple[Range, ...]]:
        return {str(subnet.prefix): subnet.pools for subnet in self.regions[site].subnets.values()}

    def failure(self, site: str, id: str) -> str:
        """What `nantes` is told that `site` could not do."""
        members = self.running["nantes"].vpns.get(OPERATOR, id).members
        return next(member.reason for member in members if member.site == site)


def scenario(story: Callable[[Regions], Awaitable[None]]) -> None:
    async def main() -> None:
        world = Regions()
        try:
            for name in SITES:
                await world.site(name)
            await world.enrol(*SITES)
            await story(world)
        finally:
            await world.close()

    run(main())


def ready(world: Regions, id: str, *sites: str) -> Callable[[], bool]:
    return lambda: all(world.phase(site, id) == "ready" for site in sites or ("nantes", "lyon"))


def gone(world: Regions) -> Callable[[], bool]:
    return lambda: not world.there("lyon") and not any(site.segments() for site in world.running.values())


def test_a_stretched_network_gives_out_other_addresses_at_each_site_and_all_of_them_afterwards() -> None:
    async def story(world: Regions) -> None:
        home = await world.tenant_net("nantes", "10.0.0.0/24", "fd00:1::/64")
        before = world.pools("nantes")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        await world.until(ready(world, id))
        (made,) = world.there("lyon")
        given = [
            world.regions[s].boot(n.id).addresses for s, n in (("nantes", home), ("lyon", made)) for _ in range(5)
        ]
        assert len(frozenset().union(*given)) == 20
        await world.running["nantes"].vpns.delete(OPERATOR, id)
        for port in list(world.regions["lyon"].ports):
            del world.regions["lyon"].ports[port]
        await world.until(gone(world))
        assert world.pools("nantes") == before
        assert world.there("nantes") == [home]

    scenario(story)


@pytest.mark.parametrize("done", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("call", ["create_network", "create_subnet", "networks", "subnets", "ports"])
def test_a_region_that_fails_for_a_while_delays_a_vpn_and_makes_nothing_twice(call: str, done: bool) -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24", "fd00:1::/64")
        world.regions["lyon"].faults = [Fault(call, SILENT, done, times=4)]
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        await world.until(ready(world, id))
        assert len(world.there("lyon")) == 1
        assert len(world.pools("lyon")) == len(world.regions["lyon"].subnets) == 2

    scenario(story)


@pytest.mark.parametrize("what", ["network", "subnet"])
def test_a_quota_at_one_member_is_told_at_the_home_and_is_no_end(what: str) -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24")
        world.regions["lyon"].quota["demo", what] = 0
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        await world.until(lambda: "Quota exceeded" in world.failure("lyon", id))
        assert world.phase("nantes", id) != "ready"
        del world.regions["lyon"].quota["demo", what]
        await world.until(ready(world, id))

    scenario(story)


def test_a_silent_region_alters_nothing_and_keeps_nobody_from_leaving() -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon", "rennes")
        await world.until(ready(world, id, *SITES))
        held = world.running["nantes"].segments()
        world.regions["nantes"].silent = True
        rounds = world.running["nantes"].rounds.rounds
        await world.until(lambda: world.running["nantes"].rounds.rounds > rounds + 5)
        assert world.running["nantes"].segments() == held
        assert world.phase("lyon", id) == "ready"
        stay = [attachment("nantes:blue"), attachment("lyon")]
        await world.running["nantes"].vpns.update(OPERATOR, id, "stretch", stay, "*", 5.0)
        await world.until(lambda: remotes(world, "nantes") == {"lyon"})
        world.regions["nantes"].silent = False
        await world.until(ready(world, id))

    scenario(story)


def remotes(world: Regions, site: str) -> set[str]:
    return {remote.site for segment in world.running[site].segments() for remote in segment.remotes}


def test_machines_keep_their_network_until_they_are_gone() -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        await world.until(ready(world, id))
        (made,) = world.there("lyon")
        machine = world.regions["lyon"].boot(made.id)
        await world.until(lambda: any(n.ports for n in world.running["lyon"].agent.inventory.networks))
        await world.running["nantes"].vpns.delete(OPERATOR, id)
        rounds = world.running["lyon"].rounds.rounds
        await world.until(lambda: world.running["lyon"].rounds.rounds > rounds + 5)
        assert world.there("lyon") == [made]
        assert world.regions["lyon"].ports[machine.id] == machine
        del world.regions["lyon"].ports[machine.id]
        await world.until(gone(world))

    scenario(story)


def test_an_address_in_use_outside_of_the_range_that_it_would_hold_is_refused_with_the_address() -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24")
        there = await world.tenant_net("lyon", "10.0.0.0/24")
        machine = world.regions["lyon"].boot(there.id)  # 10.0.0.2, which is to be nantes'
        (address,) = machine.addresses
        await world.until(
            lambda: any(address in n.addresses_in_use for n in world.running["lyon"].agent.inventory.networks)
        )
        with pytest.raises(Conflict, match=str(address)) as refused:
            await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon:blue")
        assert refused.value.code == "refused-by-member"
        assert world.pools("lyon") == {"10.0.0.0/24": (span("10.0.0.2", "10.0.0.254"),)}

    scenario(story)


def test_a_member_that_is_not_heard_has_not_agreed() -> None:
    async def story(world: Regions) -> None:
        await world.tenant_net("nantes", "10.0.0.0/24")
        world.cut("nantes", "lyon")
        id = await world.vpn("nantes", "stretch", "l2", "nantes:blue", "lyon")
        assert world.phase("nantes", id) == "waiting"
        assert world.there("lyon") == []
        world.mend("nantes", "lyon")
        await world.until(ready(world, id))

    scenario(story)


def test_a_network_whose_name_others_would_not_take_is_stretched_by_its_id() -> None:
    async def story(world: Regions) -> None:
        net = await world.tenant_net("nantes", "10.0.0.0/24", name="My Network ✓")
        id = await world.vpn("nantes", "stretch", "l2", f"nantes:{net.id}", "lyon")
        await world.until(ready(world, id))
        assert len(world.there("lyon", net.id)) == 1

    scenario(story)

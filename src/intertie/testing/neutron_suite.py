"""What every Neutron must do for us, as tests: subclass `NeutronContract` and give it a fixture `rig`.

A rig is a region with a project of a tenant in it. Tests make networks of their own and look at those alone, so that
the real one need not be made anew for each.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Protocol

import pytest

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Neutron, Port, Subnet
from intertie.drivers.openstack.view import MARK
from intertie.model.bodies import Range
from intertie.model.errors import Conflict, IntertieError, NotFound, Refused

V4, V6 = ip_network("10.0.0.0/24"), ip_network("fd00:1::/64")
_numbers = count(1)


class Rig(Protocol):
    """A region under test."""

    @property
    def project(self) -> str:
        """Id of a tenant's project."""
        ...

    def neutron(self) -> Neutron: ...
    async def boot(self, network: str) -> Port:
        """A tenant's machine gets a port, its addresses given by the region."""
        ...

    async def route(self, subnet: str, name: str) -> None:
        """A tenant's router of that name takes the subnet's gateway."""
        ...

    async def limit(self, what: str, number: int) -> str:
        """A project that may have so many more of "network" or "subnet": its id."""
        ...


def span(first: str, last: str) -> Range:
    return Range(first=ip_address(first), last=ip_address(last))


async def blue(rig: Rig, name: str = "blue") -> Net:
    """A network with a description of its own."""
    wish = Net(name=name, project=rig.project, mtu=1400, description=f"suite {next(_numbers)}")
    return await rig.neutron().create_network(wish)


def on(net: Net, *pools: Range, prefix: str = "10.0.0.0/24", gateway: str = "") -> Subnet:
    return Subnet(
        network=net.id,
        name="v4",
        project=net.project,
        prefix=ip_network(prefix),
        gateway=ip_address(gateway) if gateway else None,
        pools=pools,
    )


def port_on(net: Net, mac: str = "02:00:00:00:00:01", *addresses: str) -> Port:
    return Port(
        id="",
        network=net.id,
        mac=mac,
        device_owner="network:intertie",
        device_id="intertie-suite",
        description=f"{MARK} suite {net.id}",
        host="gw",
        binding="",
        addresses=frozenset(ip_address(a) for a in addresses),
        secured=False,
    )


class NeutronContract:
    """The contract."""

    async def test_a_network_is_seen_as_it_was_wished_with_its_mark(self, rig: Rig) -> None:
        made = await blue(rig)
        assert (made.name, made.project, made.mtu) == ("blue", rig.project, 1400)
        assert not made.shared
        assert not made.external
        assert [net for net in await rig.neutron().networks() if net.description == made.description] == [made]

    async def test_tags_are_given_with_a_network(self, rig: Rig) -> None:
        wish = Net(name="blue", project=rig.project, mtu=1400, description="tagged")
        made = await rig.neutron().create_network(wish, {"intertie"})
        assert made.id in {net.id for net in await rig.neutron().networks()}

    @pytest.mark.parametrize("name", ["", "Blue Net", "réseau ✓", "n" * 255])
    async def test_a_network_has_the_name_that_it_was_given(self, rig: Rig, name: str) -> None:
        made = await blue(rig, name)
        assert next(net.name for net in await rig.neutron().networks() if net.id == made.id) == name

    async def test_an_mtu_that_no_network_has_is_refused(self, rig: Rig) -> None:
        with pytest.raises(Refused):
            await rig.neutron().create_network(Net(name="jumbo", project=rig.project, mtu=60000))

    async def test_deleting_what_is_not_there_is_success(self, rig: Rig) -> None:
        none = "00000000-0000-4000-8000-000000000000"
        await rig.neutron().delete_network(none)
        await rig.neutron().delete_port(none)
        await rig.neutron().delete_bgpvpn(none)

    async def test_what_is_not_there_is_not_changed(self, rig: Rig) -> None:
        net = await blue(rig)
        subnet = await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))
        port = await rig.neutron().create_port(port_on(net))
        await rig.neutron().delete_port(port.id)
        await rig.neutron().delete_network(net.id)
        with pytest.raises(NotFound):
            await rig.neutron().update_subnet(subnet)
        with pytest.raises(IntertieError):  # the real one answers 500
            await rig.neutron().tag_subnet(subnet.id, {"a"})
        with pytest.raises(NotFound):
            await rig.neutron().update_port(port)
        with pytest.raises(NotFound):
            await rig.neutron().create_port(port_on(net))
        with pytest.raises(NotFound):
            await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))

    # ── Subnets ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_subnets_have_the_pools_and_gateway_that_were_wished(self, rig: Rig) -> None:
        net = await blue(rig)
        pools = (span("10.0.0.10", "10.0.0.19"), span("10.0.0.30", "10.0.0.39"))
        four = await rig.neutron().create_subnet(on(net, *pools, gateway="10.0.0.1"))
        wish = on(net, span("fd00:1::10", "fd00:1::ffff"), prefix="fd00:1::/64", gateway="fd00:1::1")
        six = await rig.neutron().create_subnet(wish)
        assert (four.pools, four.gateway, four.prefix, four.dhcp) == (pools, ip_address("10.0.0.1"), V4, True)
        assert (six.pools, six.gateway, six.prefix) == (wish.pools, wish.gateway, V6)
        found = await rig.neutron().subnets(net.id)
        assert sorted(found, key=lambda s: s.prefix.version) == [four, six]
        assert {four.id, six.id} <= {subnet.id for subnet in await rig.neutron().subnets()}

    async def test_machines_get_addresses_from_the_pools_and_no_others(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.11"), gateway="10.0.0.1"))
        given = {address for _ in range(2) for address in (await rig.boot(net.id)).addresses}
        assert given == {ip_address("10.0.0.10"), ip_address("10.0.0.11")}
        with pytest.raises(IntertieError):
            await rig.boot(net.id)

    async def test_pools_are_changed_while_addresses_outside_are_in_use(self, rig: Rig) -> None:
        net = await blue(rig)
        subnet = await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19"), gateway="10.0.0.1"))
        old = await rig.boot(net.id)
        cut = await rig.neutron().update_subnet(replace(subnet, pools=(span("10.0.0.80", "10.0.0.80"),)))
        assert cut.pools == (span("10.0.0.80", "10.0.0.80"),)
        assert (await rig.boot(net.id)).addresses == {ip_address("10.0.0.80")}
        assert next(p for p in await rig.neutron().ports(network=net.id) if p.id == old.id) == old

    async def test_without_pools_a_new_subnet_gives_out_everything_and_a_changed_one_nothing(self, rig: Rig) -> None:
        net = await blue(rig)
        four = await rig.neutron().create_subnet(on(net, gateway="10.0.0.1"))
        assert four.pools == (span("10.0.0.2", "10.0.0.254"),)
        six = await rig.neutron().create_subnet(on(net, prefix="fd00:1::/64"))
        assert six.pools == (span("fd00:1::1", "fd00:1::ffff:ffff:ffff:ffff"),)
        assert (await rig.neutron().update_subnet(replace(four, pools=()))).pools == ()
        await rig.neutron().update_subnet(replace(six, pools=()))
        with pytest.raises(IntertieError):
            await rig.boot(net.id)

    @pytest.mark.parametrize("prefix", ["10.0.0.0/31", "10.0.0.0/32", "fd00:1::/127"])
    async def test_prefixes_too_small_for_dhcp_are_refused(self, rig: Rig, prefix: str) -> None:
        net = await blue(rig)
        with pytest.raises(Refused):
            await rig.neutron().create_subnet(on(net, prefix=prefix))

    @pytest.mark.parametrize(
        ("pools", "gateway"),
        [
            ((span("10.0.0.1", "10.0.0.9"),), "10.0.0.1"),
            ((span("10.0.0.250", "10.0.1.9"),), ""),
            ((span("10.0.0.10", "10.0.0.19"), span("10.0.0.19", "10.0.0.29")), ""),
        ],
        ids=["gateway", "beyond", "twice"],
    )
    async def test_pools_that_cannot_be_are_refused(self, rig: Rig, pools: tuple[Range, ...], gateway: str) -> None:
        net = await blue(rig)
        with pytest.raises((Refused, Conflict)):
            await rig.neutron().create_subnet(on(net, *pools, gateway=gateway))
        assert await rig.neutron().subnets(net.id) == []

    async def test_a_second_subnet_stands_beside_the_first_unless_they_overlap(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))
        with pytest.raises(IntertieError):
            await rig.neutron().create_subnet(on(net, span("10.0.0.130", "10.0.0.131"), prefix="10.0.0.128/25"))
        await rig.neutron().create_subnet(on(net, span("10.9.0.10", "10.9.0.19"), prefix="10.9.0.0/24"))
        assert {str(s.prefix) for s in await rig.neutron().subnets(net.id)} == {"10.0.0.0/24", "10.9.0.0/24"}

    @pytest.mark.parametrize("prefix", ["10.0.0.0/29", "10.0.0.0/30"])
    async def test_small_prefixes_give_out_what_they_are_told(self, rig: Rig, prefix: str) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.2", "10.0.0.2"), prefix=prefix, gateway="10.0.0.1"))
        assert (await rig.boot(net.id)).addresses == {ip_address("10.0.0.2")}

    async def test_a_subnet_has_exactly_the_tags_that_it_was_last_given(self, rig: Rig) -> None:
        net = await blue(rig)
        subnet = await rig.neutron().create_subnet(replace(on(net), tags=frozenset({"intertie"})))
        assert subnet.tags == {"intertie"}
        wish = {"intertie:pool=10.0.0.2-10.0.0.254", "intertie:pool=fd00:1::2-fd00:1::ffff:ffff:ffff:ffff", "other"}
        await rig.neutron().tag_subnet(subnet.id, wish)
        assert (await rig.neutron().subnets(net.id))[0].tags == wish
        await rig.neutron().tag_subnet(subnet.id, ())
        assert (await rig.neutron().subnets(net.id))[0].tags == set()

    async def test_a_gateway_that_a_router_has_stays_and_pools_change(self, rig: Rig) -> None:
        net = await blue(rig)
        subnet = await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19"), gateway="10.0.0.1"))
        await rig.route(subnet.id, f"r-{net.id}")
        cut = await rig.neutron().update_subnet(replace(subnet, pools=(span("10.0.0.12", "10.0.0.13"),)))
        assert cut.gateway == subnet.gateway
        with pytest.raises(Conflict):
            await rig.neutron().update_subnet(replace(cut, gateway=ip_address("10.0.0.2")))
        (port,) = await rig.neutron().ports(network=net.id)
        assert port.device_owner.startswith("network:router_")
        assert port.addresses == {ip_address("10.0.0.1")}
        names = {router.id: router.name for router in await rig.neutron().routers()}
        assert names[port.device_id] == f"r-{net.id}"
        with pytest.raises(Conflict):
            await rig.neutron().delete_port(port.id)

    # ── Ports ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_port_is_seen_as_it_was_wished_and_has_no_address(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))
        made = await rig.neutron().create_port(port_on(net))
        assert replace(made, id="", binding="") == port_on(net)
        assert await rig.neutron().ports(network=net.id) == [made]
        owned = await rig.neutron().ports(device_owner="network:intertie", network=net.id)
        assert owned == [made]
        assert await rig.neutron().ports(device_owner="network:other", network=net.id) == []

    async def test_a_port_takes_an_address_and_gives_it_back(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19"), gateway="10.0.0.1"))
        made = await rig.neutron().create_port(port_on(net, "02:00:00:00:00:01", "10.0.0.1"))
        assert made.addresses == {ip_address("10.0.0.1")}
        with pytest.raises(Conflict):
            await rig.neutron().create_port(port_on(net, "02:00:00:00:00:02", "10.0.0.1"))
        bare = await rig.neutron().update_port(replace(made, addresses=frozenset()))
        assert (bare.id, bare.addresses) == (made.id, frozenset())

    async def test_two_ports_of_a_network_have_not_one_mac(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_port(port_on(net))
        with pytest.raises(Conflict):
            await rig.neutron().create_port(port_on(net))

    async def test_a_host_without_agents_has_none(self, rig: Rig) -> None:
        assert list(await rig.neutron().agents("nowhere")) == []

    # ── What is in use ─────────────────────────────────────────────────────────────────────────────────────

    async def test_a_network_with_ports_stays(self, rig: Rig) -> None:
        net = await blue(rig)
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))
        port = await rig.boot(net.id)
        ours = await rig.neutron().create_port(port_on(net))
        for each in (port, ours):
            with pytest.raises(Conflict) as refused:
                await rig.neutron().delete_network(net.id)
            assert refused.value.code == "in-use"
            await rig.neutron().delete_port(each.id)
        await rig.neutron().delete_network(net.id)
        assert net.id not in {n.id for n in await rig.neutron().networks()}
        assert await rig.neutron().subnets(net.id) == []

    async def test_a_network_above_the_quota_is_refused_as_that(self, rig: Rig) -> None:
        project = await rig.limit("network", 1)
        await rig.neutron().create_network(Net(name="one", project=project, mtu=1400))
        with pytest.raises(Refused, match=r"(?i)quota") as refused:
            await rig.neutron().create_network(Net(name="two", project=project, mtu=1400))
        assert refused.value.code == "quota"

    async def test_a_subnet_above_the_quota_is_refused_as_that(self, rig: Rig) -> None:
        project = await rig.limit("subnet", 1)
        net = await rig.neutron().create_network(Net(name="one", project=project, mtu=1400))
        await rig.neutron().create_subnet(on(net, span("10.0.0.10", "10.0.0.19")))
        with pytest.raises(Refused, match=r"(?i)quota") as refused:
            await rig.neutron().create_subnet(on(net, span("10.1.0.10", "10.1.0.19"), prefix="10.1.0.0/24"))
        assert refused.value.code == "quota"

    async def test_many_at_once(self, rig: Rig) -> None:
        nets = await asyncio.gather(*(blue(rig, f"many-{i}") for i in range(6)))
        await asyncio.gather(*(rig.neutron().create_subnet(on(n, span("10.0.0.10", "10.0.0.19"))) for n in nets))
        there = {s.network for s in await rig.neutron().subnets()}
        assert {n.id for n in nets} <= there
        await asyncio.gather(*(rig.neutron().delete_network(n.id) for n in nets))
        assert {n.id for n in nets}.isdisjoint({n.id for n in await rig.neutron().networks()})

    # ── BGPVPNs ────────────────────────────────────────────────────────────────────────────────────────────

    async def test_a_bgpvpn_is_associated_and_goes_with_its_associations(self, rig: Rig) -> None:
        assert "bgpvpn" in await rig.neutron().extensions()
        net = await blue(rig)
        wish = Bgpvpn(
            name=f"intertie {net.id}", project=rig.project, layer="l2", route_targets=frozenset({"64512:77"})
        )
        made = await rig.neutron().create_bgpvpn(wish)
        assert replace(made, id="") == wish
        for _ in range(2):
            await rig.neutron().associate(made, network=net.id)
            seen = next(b for b in await rig.neutron().bgpvpns() if b.id == made.id)
            assert seen.networks == {net.id}
        for _ in range(2):
            await rig.neutron().dissociate(made)
            assert next(b for b in await rig.neutron().bgpvpns() if b.id == made.id) == made
        await rig.neutron().associate(made, network=net.id)
        await rig.neutron().delete_bgpvpn(made.id)
        assert made.id not in {b.id for b in await rig.neutron().bgpvpns()}
        await rig.neutron().delete_network(net.id)

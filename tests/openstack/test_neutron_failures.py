"""A real Neutron that stands still, refuses, or is not where it was said to be; and what a site makes of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from pathlib import Path
from uuid import uuid4

import pytest

from intertie.drivers.cloud.neutron import NeutronCloud, Policy
from intertie.drivers.openstack.neutron import Net, Port
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.sdk import SdkNeutron
from intertie.drivers.openstack.view import View
from intertie.model.bodies import Range
from intertie.model.errors import Conflict, Forbidden, NotFound, Refused, Unavailable
from intertie.model.items import Network, Segment, key
from intertie.openstack_site import network_adapter
from intertie.planning.identity import bridge_name, made_network
from intertie.site_file import OpenStack
from intertie.testing.fake_neutron import MARKS
from intertie.testing.neutron_suite import on, span
from lab import settings
from lab.regions import Lab
from tests.contract.neutron_site import segment
from tests.openstack.test_neutron import RealRig


class Site:
    """What an agent that starts now has beside a region; nothing is remembered from one to the next."""

    def __init__(self, name: str, lab: Lab, number: int = 0) -> None:
        region = lab.regions[number]
        self.name = name
        self.pid = lab.pids[f"neutron-{number}"]
        self.project = lab.tenants[region.keystone]["demo"]
        asking = network_adapter(OpenStack(cloud=region.cloud, clouds_file=str(lab.clouds_yaml)))
        self.session = asking.session
        self.neutron = SdkNeutron(region.cloud, asking)
        self.view = View(self.neutron, MARKS, 0.0)
        self.cloud = NeutronCloud(name, self.neutron, self.view, Policy())
        self.pools = Pools(name, self.neutron, self.view)
        self.tenant = RealRig(asking=asking, project=self.project)

    def wish(self, vpn: str) -> Network:
        id = made_network(self.name, vpn)
        prefixes = (ip_network("10.40.0.0/24"), ip_network("fd40::/64"))
        return Network(
            id=id, name="stretched", project=self.project, prefixes=prefixes, mtu=1400, bridge=bridge_name(id)
        )

    def segment(self, network: str, *held: Range) -> Segment:
        gateways = [ip_interface(f"{r.first}/{24 if r.first.version == 4 else 64}") for r in held]
        return segment(network, *held, gateways=tuple(str(g) for g in gateways))

    async def marked(self, item: Network) -> list[Net]:
        return [net for net in await self.neutron.networks() if item.id in net.description]


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_creation_that_was_done_after_its_time_is_found_and_not_made_twice(clouds: Lab) -> None:
    awake = Site("nantes", clouds)
    await awake.neutron.create_network(Net(name="other", project=awake.project, mtu=1400))
    site, vpn = Site("nantes", clouds), f"lyon.{uuid4().hex}"
    before = await site.cloud.inventory()
    site.session.timeout = 2.0  # from now on: a busy machine takes longer for what is to succeed
    with standing_still(site.pid):
        with pytest.raises(Unavailable, match="regionone does not answer"):
            await site.neutron.create_network(
                Net(
                    name="stretched",
                    project=site.project,
                    mtu=1400,
                    description=MARKS.write("nantes", site.wish(vpn).id, site.project, site.wish(vpn).prefixes),
                )
            )
        assert await site.cloud.inventory() == before != ()
    again = Site("nantes", clouds)
    for _ in range(100):  # what lay in its queue is done now
        if await again.marked(again.wish(vpn)):
            break
        await asyncio.sleep(0.2)
    assert len(await again.marked(again.wish(vpn))) == 1
    await again.cloud.ensure(again.wish(vpn))
    (made,) = await again.marked(again.wish(vpn))
    assert made.name == "stretched"
    await again.cloud.remove(again.wish(vpn))
    assert await again.marked(again.wish(vpn)) == []


async def test_two_regions_give_out_addresses_of_one_network_and_never_the_same(clouds: Lab) -> None:
    vpn = f"nantes.{uuid4().hex}"
    lyon, nantes = Site("lyon", clouds, 1), Site("nantes", clouds)
    here = await nantes.neutron.create_network(Net(name="home", project=nantes.project, mtu=1400))
    before = [
        await nantes.neutron.create_subnet(on(here, span("10.40.0.2", "10.40.0.254"), prefix="10.40.0.0/24")),
        await nantes.neutron.create_subnet(on(here, span("fd40::2", "fd40::ffff"), prefix="fd40::/64")),
    ]
    item = lyon.wish(vpn)
    await lyon.cloud.ensure(item)
    assert {key(i): i for i in await Site("lyon", clouds, 1).cloud.observe(None)}[key(item)] == item
    mine = nantes.segment(here.id, span("10.40.0.1", "10.40.0.4"), span("fd40::1", "fd40::4"))
    theirs = lyon.segment(item.id, span("10.40.0.5", "10.40.0.8"), span("fd40::5", "fd40::8"))
    for _ in range(2):
        await nantes.pools.cut(mine)
        await lyon.pools.cut(theirs)
    (there,) = await lyon.marked(item)
    given = [await _all_addresses(nantes, here), await _all_addresses(lyon, there)]
    assert len(given[0] | given[1]) == len(given[0]) + len(given[1]) == 14
    await _removal_waits_for_ports(lyon, item, there)
    await nantes.pools.restore(mine)
    after = await nantes.neutron.subnets(here.id)
    assert sorted(after, key=lambda s: s.id) == sorted(before, key=lambda s: s.id)


async def _all_addresses(site: Site, net: Net) -> set[str]:
    """Of machines until there are no more to be had. Version 4 without its gateway leaves three, or four where the
    network has none."""
    found: set[str] = set()
    for _ in range(10):
        try:
            port = await site.tenant.boot(net.id)
        except Conflict:
            return found
        found |= {str(address) for address in port.addresses}
    raise AssertionError("addresses without end")


async def _removal_waits_for_ports(site: Site, item: Network, net: Net) -> None:
    ports = list[Port](await site.neutron.ports(network=net.id))
    with pytest.raises(Refused, match="compute:nova") as refused:
        await site.cloud.remove(item)
    assert refused.value.code == "in-use"
    for port in ports:
        await site.neutron.delete_port(port.id)
    for _ in range(2):
        await site.cloud.remove(item)
    assert await site.marked(item) == []


def _clouds_file(lab: Lab, folder: Path, user: str = "admin", project: str = "admin", **damage: object) -> OpenStack:
    document = settings.clouds_yaml(lab.regions, user, project)
    described = document["clouds"]
    assert isinstance(described, dict)
    cloud = described["regionone"]
    for name, value in damage.items():
        (cloud if name in cloud else cloud["auth"])[name] = value
    file = folder / "clouds.yaml"
    file.write_text(json.dumps(document))
    return OpenStack(cloud="regionone", clouds_file=str(file))


async def test_a_region_that_the_catalogue_lacks_is_named(clouds: Lab, tmp_path: Path) -> None:
    nowhere = SdkNeutron("regionone", network_adapter(_clouds_file(clouds, tmp_path, region_name="RegionNine")))
    with pytest.raises(Unavailable, match="RegionNine") as refused:
        await nowhere.networks()
    assert "region_name" in refused.value.hint


async def test_a_user_whom_keystone_does_not_let_in_is_told_so(clouds: Lab, tmp_path: Path) -> None:
    stranger = SdkNeutron("regionone", network_adapter(_clouds_file(clouds, tmp_path, password="wrong")))
    with pytest.raises(Forbidden, match="does not let the site's user in"):
        await stranger.networks()


async def test_a_keystone_that_is_not_there_is_silent(clouds: Lab, tmp_path: Path) -> None:
    lost = SdkNeutron("regionone", network_adapter(_clouds_file(clouds, tmp_path, auth_url="http://127.0.0.1:9/v3")))
    with pytest.raises(Unavailable, match="does not answer"):
        await lost.networks()


async def test_a_right_that_the_sites_user_lacks_is_named(clouds: Lab, tmp_path: Path) -> None:
    reader = SdkNeutron("regionone", network_adapter(_clouds_file(clouds, tmp_path, "demo-reader", "demo")))
    await reader.networks()
    with pytest.raises(Forbidden) as refused:
        await reader.create_network(Net(name="no", project=clouds.tenants[0]["demo"], mtu=1400))
    assert "may not POST networks" in refused.value.hint


async def test_a_network_of_another_project_is_not_there_for_a_tenant(clouds: Lab, tmp_path: Path) -> None:
    admin = Site("nantes", clouds)
    net = await admin.neutron.create_network(Net(name="theirs", project=clouds.tenants[0]["other"], mtu=1400))
    tenant = SdkNeutron("regionone", network_adapter(_clouds_file(clouds, tmp_path, "demo-member", "demo")))
    cloud = NeutronCloud("nantes", tenant, View(tenant, MARKS), Policy())
    assert net.id not in {facts.id for facts in await cloud.inventory()}
    pools = Pools("nantes", tenant, View(tenant, MARKS))
    with pytest.raises(NotFound) as refused:
        await pools.cut(admin.segment(net.id, span("10.40.0.1", "10.40.0.4")))
    assert refused.value.code == "unknown-network"

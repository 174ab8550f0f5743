"""Transport `bgpvpn` on a real Neutron whose BGPVPN driver does nothing: what is made, and what may be."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Subnet
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.sdk import SdkNeutron
from intertie.drivers.openstack.view import View
from intertie.drivers.transport.bgpvpn import BgpvpnTransport
from intertie.model.bodies import Endpoint, Range, VpnKind
from intertie.model.errors import Forbidden, Refused
from intertie.model.items import Segment
from intertie.openstack_site import network_adapter
from intertie.planning.identity import bridge_name
from intertie.site_file import OpenStack
from intertie.testing.fake_neutron import MARKS
from lab.regions import Lab
from lab.settings import clouds_yaml

WHOLE = (Range(first=ip_address("10.77.0.2"), last=ip_address("10.77.0.254")),)
OURS = (Range(first=ip_address("10.77.0.10"), last=ip_address("10.77.0.99")),)


@dataclass
class Rig:
    """One network of the project `demo` at regionone, and its router if it has one."""

    asking: Any
    neutron: SdkNeutron
    net: Net
    subnet: Subnet
    router: str = ""
    made: list[str] = field(default_factory=list)

    def transport(self) -> BgpvpnTransport:
        view = View(self.neutron, MARKS, good_for=0.0)
        return BgpvpnTransport("s1", self.neutron, view, Pools("s1", self.neutron, view), good_for=0.0)

    def segment(self, kind: VpnKind) -> Segment:
        return Segment(
            vpn=f"s1.vpn-{kind.value}-{self.net.id[:8]}",
            kind=kind,
            epoch=1,
            vni=70001,
            network=self.net.id,
            bridge=bridge_name(self.net.id),
            local=Endpoint(address=ip_address("192.0.2.1")),
            mtu=1442,
            remotes=(),
            ranges=() if kind is VpnKind.L3 else OURS,
            transport="bgpvpn",
            route_target="64512:70001",
        )

    async def objects(self) -> list[Bgpvpn]:
        return [o for o in await self.neutron.bgpvpns() if self.net.id in o.name]

    async def pools(self) -> tuple[Range, ...]:
        [subnet] = await self.neutron.subnets(self.net.id)
        return subnet.pools

    async def route(self, *subnets: str) -> str:
        """A router with these subnets; its id."""
        wish = {"name": f"r-{self.net.id[:8]}", "project_id": self.net.project}
        id = str((await self.send("POST", "/routers", {"router": wish}))["router"]["id"])
        for subnet in subnets:
            await self.send("PUT", f"/routers/{id}/add_router_interface", {"subnet_id": subnet})
        return id

    async def send(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = await asyncio.to_thread(partial(self.asking.request, path, method, json=body))
        found: dict[str, Any] = reply.json()
        return found


def asking(lab: Lab, folder: Path, user: str = "admin", project: str = "admin") -> Any:
    """A keystoneauth1 Adapter of that user for the first region."""
    file = folder / "clouds.yaml"
    file.write_text(json.dumps(clouds_yaml(lab.regions, user, project)))
    return network_adapter(OpenStack(cloud="regionone", clouds_file=str(file)))


@pytest.fixture
async def rig(regions: Lab, tmp_path: Path) -> Rig:
    region = asking(regions, tmp_path)
    neutron = SdkNeutron("regionone", region)
    project = regions.tenants[0]["demo"]
    net = await neutron.create_network(Net(name=f"blue-{uuid4().hex[:6]}", project=project, mtu=1442))
    subnet = await neutron.create_subnet(
        Subnet(
            network=net.id,
            project=project,
            prefix=ip_network("10.77.0.0/24"),
            gateway=ip_address("10.77.0.1"),
            pools=WHOLE,
        )
    )
    return Rig(region, neutron, net, subnet)


KINDS = pytest.mark.parametrize("kind", list(VpnKind))


@KINDS
async def test_it_is_made_joined_seen_and_goes_without_a_trace(rig: Rig, kind: VpnKind) -> None:
    transport, want = rig.transport(), rig.segment(kind)
    await transport.ensure(want)
    assert await transport.observe(None) == [want]
    [made] = await rig.objects()
    assert (made.project, made.layer) == (rig.net.project, kind.value)
    assert made.networks == {rig.net.id}
    assert await rig.pools() == (OURS if kind is VpnKind.L2 else WHOLE)
    again = rig.transport()
    await again.ensure(want)
    assert await again.observe(None) == [want]
    assert await rig.objects() == [made]
    for _ in range(2):
        await rig.transport().remove(want)
        assert await rig.objects() == []
        assert await rig.pools() == WHOLE
        assert await rig.neutron.subnets(rig.net.id) == [replace(rig.subnet, pools=WHOLE)]


async def test_a_routed_network_is_joined_by_its_router(rig: Rig) -> None:
    router = await rig.route(rig.subnet.id)
    transport, want = rig.transport(), rig.segment(VpnKind.L3)
    await transport.ensure(want)
    [made] = await rig.objects()
    assert made.networks == frozenset()
    assert made.routers == {router}
    assert await transport.observe(None) == [want]
    await transport.remove(want)
    assert await rig.objects() == []


async def test_a_router_of_other_networks_joins_none(rig: Rig) -> None:
    other = await rig.neutron.create_network(Net(name="red", project=rig.net.project, mtu=1442))
    prefix = ip_network("10.78.0.0/24")
    wish = Subnet(network=other.id, project=rig.net.project, prefix=prefix, gateway=ip_address("10.78.0.1"))
    await rig.route(rig.subnet.id, (await rig.neutron.create_subnet(wish)).id)
    with pytest.raises(Refused, match="serves red too"):
        await rig.transport().ensure(rig.segment(VpnKind.L3))
    assert await rig.objects() == []


async def test_what_somebody_changed_is_said_and_mended(rig: Rig) -> None:
    transport, want = rig.transport(), rig.segment(VpnKind.L2)
    await transport.ensure(want)
    [made] = await rig.objects()
    await rig.send("PUT", f"/bgpvpn/bgpvpns/{made.id}", {"bgpvpn": {"route_targets": ["64512:1"]}})
    [seen] = await transport.observe(None)
    assert isinstance(seen, Segment)
    assert seen.flaw == "an l2 object with route target 64512:1"
    await transport.ensure(want)
    assert await transport.observe(None) == [want]
    [made] = await rig.objects()
    await rig.neutron.dissociate(made)
    [seen] = await transport.observe(None)
    assert isinstance(seen, Segment)
    assert seen.flaw == "not joined to its network, or to more than that"
    await transport.ensure(want)
    await transport.remove(want)


async def test_an_administrator_may_and_a_member_may_not(rig: Rig, regions: Lab, tmp_path: Path) -> None:
    facts = await rig.transport().probe()
    assert (facts.ok, facts.l2, facts.l3, facts.reason) == (True, True, True, "")
    assert [o for o in await rig.neutron.bgpvpns() if o.name.endswith(" try")] == []
    member = SdkNeutron("regionone", asking(regions, tmp_path, "demo-member", "demo"))
    view = View(member, MARKS)
    facts = await BgpvpnTransport("s1", member, view, Pools("s1", member, view)).probe()
    assert not facts.ok
    assert "create_bgpvpn" in facts.reason
    wish = Bgpvpn(name="no", project=rig.net.project, layer="l2", route_targets=frozenset())
    with pytest.raises(Forbidden):
        await member.create_bgpvpn(wish)

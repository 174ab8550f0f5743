"""The `vxlan` driver behind gateway ports keeps the contract of transports, with Open vSwitch in between."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from intertie.drivers.linux.steps import FillInChecksums, perform
from intertie.drivers.openstack.gateway import PortSight, PortWish
from intertie.drivers.openstack.ovs import Switch
from intertie.drivers.openstack.ovsdb import Operation, Ovsdb, Row
from intertie.drivers.transport.gateway_port import GatewayPortTransport
from intertie.drivers.transport.several import Carrier
from intertie.model.items import Segment
from intertie.testing.transport_suite import ALL, TransportContract
from tests.net.ovs_lab import OpenVswitch, VlanAgent
from tests.net.test_vxlan_contract import KernelRig

pytestmark = [pytest.mark.net, pytest.mark.requires("ovs-vswitchd", "ovsdb-server")]


class Cabinet:
    """A site's ports as far as the driver asks for them. Each network has a VLAN of its own on `br-int`."""

    def __init__(self) -> None:
        self.ports: dict[str, PortSight] = {}
        self.vlans: dict[str, int] = {}
        self.writes = 0

    async def lacking(self) -> str:
        return ""

    async def sights(self) -> dict[str, PortSight]:
        return dict(self.ports)

    async def ensure(self, wish: PortWish) -> PortSight:
        port = PortSight(id=f"port-{wish.network}", mac=wish.mac)
        self.writes += port != self.ports.get(wish.network)
        self.ports[wish.network] = port
        _, tag, kind = wish.network.split("-")  # s1.net-a-l2
        self.vlans[port.id] = vlan(f"br-{kind}-{tag}")
        return port

    async def remove(self, network: str) -> None:
        self.writes += self.ports.pop(network, None) is not None

    async def cut_pools(self, segment: Segment) -> None:
        pass

    async def restore_pools(self, segment: Segment) -> None:
        pass

    async def pools_flaw(self, segment: Segment) -> str:
        return ""


def vlan(bridge: str) -> int:
    """Of `br-l2-a`."""
    return 100 * int(bridge[4]) + ord(bridge[-1])


class CountedOvsdb(Ovsdb):
    """Counts transactions that write."""

    writes = 0

    async def transact(self, *operations: Operation) -> list[Row]:
        self.writes += any(each["op"] != "select" for each in operations)
        return await super().transact(*operations)


class GatewayRig(KernelRig):
    """Three sites, `sites` of them with an Open vSwitch: a host there is a namespace plugged into `br-int`."""

    def __init__(self, directory: Path, sites: Collection[int] = ALL) -> None:
        super().__init__(directory / "netns")
        self.directory = directory
        self.cabinets = {site: Cabinet() for site in sites}
        self.switches: dict[int, OpenVswitch] = {}
        self.databases: dict[int, CountedOvsdb] = {}
        self.agents: list[VlanAgent] = []

    async def build(self) -> None:
        await super().build()
        for site in self.cabinets:
            where = self.spaces.directory / self.lab.site(site)
            switch = self.switches[site] = OpenVswitch(where, self.directory / f"ovs{site}")
            switch.start()
            self.databases[site] = CountedOvsdb(switch.address)
            self.agents.append(VlanAgent(switch, self.cabinets[site].vlans))

    def transport(self, site: int) -> Carrier:  # type: ignore[override]
        bare = super().transport(site)
        if site not in self.cabinets:
            return bare
        return GatewayPortTransport(
            bare,
            site=f"s{site}",
            namespaces=self.spaces,
            switch=Switch(self.databases[site], f"s{site}"),
            ports=self.cabinets[site],
            home=self.lab.site(site),
        )

    async def host(self, site: int, bridge: str, addresses: Collection[str], gateways: Collection[str]) -> None:
        if site not in self.cabinets:
            return await super().host(site, bridge, addresses, gateways)
        name = f"h{len(self.hosts)}"
        interfaces, through = [ip_interface(f"{a}/24") for a in addresses], [ip_address(g) for g in gateways]
        port, home = f"p-{name}", self.lab.site(site)
        ns = self.hosts[site, bridge] = await self.lab.lonely_host(site, name, interfaces, through)
        await perform(self.spaces, ((home, FillInChecksums(name=port)), (ns, FillInChecksums(name="eth0"))))
        self.switches[site].vsctl("add-port", "br-int", port, f"tag={vlan(bridge)}")

    async def writes(self) -> int:
        kernel = await super().writes()
        return kernel + sum(d.writes for d in self.databases.values()) + sum(c.writes for c in self.cabinets.values())

    async def close(self) -> None:
        for agent in self.agents:
            await agent.stop()
        for switch in self.switches.values():
            switch.stop()
        await super().close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GatewayRig]:
    rig = GatewayRig(tmp_path)
    try:
        await rig.build()
        yield rig
    finally:
        await rig.close()


class TestGatewayPortTransport(TransportContract):
    pass

"""The `vxlan` driver keeps the contract of transports, on the kernel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from intertie.drivers.linux.icmp import Outcome, Pinger
from intertie.drivers.linux.netns import Netns
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.drivers.transport.vxlan_names import device_name, router_name
from intertie.model.bodies import Endpoint, VpnKind
from intertie.model.items import Segment
from intertie.testing.backbone import Backbone
from intertie.testing.transport_suite import ALL, TransportContract
from tests.net.vxlan_lab import CountedNamespaces

pytestmark = pytest.mark.net


class KernelRig:
    """Three sites around a routed backbone; a host is a namespace with a cable to a bridge."""

    def __init__(self, directory: Path) -> None:
        self.spaces = CountedNamespaces(directory)
        self.lab = Backbone(self.spaces)
        self.hosts: dict[tuple[int, str], Netns] = {}

    async def build(self) -> None:
        await self.lab.build(len(ALL))

    def transport(self, site: int) -> VxlanTransport:
        return VxlanTransport(
            site=f"s{site}", namespaces=self.spaces, underlay=self.lab.underlay(site), home=self.lab.site(site)
        )

    def endpoint(self, site: int, mac: str) -> Endpoint:
        return Endpoint(address=self.lab.underlay(site), mac=mac)

    async def host(self, site: int, bridge: str, addresses: Collection[str], gateways: Collection[str]) -> None:
        await self.lab.bridge(site, bridge)
        name = f"h{len(self.hosts)}"
        self.hosts[site, bridge] = await self.lab.host(
            site, bridge, name, [ip_interface(f"{a}/24") for a in addresses], [ip_address(g) for g in gateways]
        )

    async def pings(self, site: int, bridge: str, source: str, target: str) -> bool:
        async with Pinger(self.spaces, self.hosts[site, bridge]) as pinger:
            echo = await pinger.ping(ip_address(target), timeout=0.7)
            return echo.outcome is Outcome.REPLY

    async def writes(self) -> int:
        return self.spaces.writes

    async def damage(self, site: int, segment: Segment) -> None:
        home = self.lab.site(site)
        ns = home if segment.kind is VpnKind.L2 else router_name(f"s{site}", segment.network)
        name = device_name(segment.vni)
        await self.spaces.netlink(ns, lambda nl: nl.link("set", index=nl.link_lookup(ifname=name)[0], state="down"))

    async def cut(self, site: int) -> None:
        await self._port(site, "down")

    async def heal(self, site: int) -> None:
        await self._port(site, "up")

    async def _port(self, site: int, state: str) -> None:
        name = f"s{site}"
        await self.spaces.netlink(
            self.lab.core, lambda nl: nl.link("set", index=nl.link_lookup(ifname=name)[0], state=state)
        )

    async def close(self) -> None:
        for ns in await self.spaces.list():
            await self.spaces.remove(ns)
        await self.spaces.close()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[KernelRig]:
    rig = KernelRig(tmp_path / "netns")
    await rig.build()
    yield rig
    await rig.close()


class TestVxlanTransport(TransportContract):
    pass

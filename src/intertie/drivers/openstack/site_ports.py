"""A site's ports and its networks' pools together, by the site's own ids of its networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from intertie.drivers.openstack.gateway import GatewayPorts, PortSight, PortWish
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.view import View, made_by
from intertie.model.items import Segment


class SitePorts:
    """Satisfies what the gateway port transport asks for."""

    def __init__(self, site: str, ports: GatewayPorts, pools: Pools, view: View) -> None:
        self._site = site
        self._ports = ports
        self._pools = pools
        self._view = view

    async def lacking(self) -> str:
        return await self._ports.lacking()

    async def sights(self) -> Mapping[str, PortSight] | None:
        found = await self._ports.sights()
        seen = self._view.last
        if found is None or seen is None:
            return None
        own = {id: made.id for id, net in seen.networks.items() if (made := made_by(self._site, net)) is not None}
        return {own.get(network, network): sight for network, sight in found.items()}

    async def ensure(self, wish: PortWish) -> PortSight:
        net = await self._view.find(self._site, wish.network)
        async with self._view.changing():
            return await self._ports.ensure(replace(wish, network=net.id))

    async def remove(self, network: str) -> None:
        net = (await self._view.look()).find(self._site, network)
        if net is not None:
            async with self._view.changing():
                await self._ports.remove(net.id)

    async def cut_pools(self, segment: Segment) -> None:
        await self._pools.cut(segment)

    async def restore_pools(self, segment: Segment) -> None:
        await self._pools.restore(segment)

    async def pools_flaw(self, segment: Segment) -> str:
        return self._pools.flaw(segment)

"""This site's ports on the networks of its cloud: one a network, on the host that the agent runs on.

    device_owner  network:intertie         so that Neutron lets any MAC and address through it, with OVN as with OVS,
                                           and a tenant's network cannot be deleted under it
    device_id     intertie-SITE
    description   intertie SITE NETWORK    the mark by which it is known again
    host          this host's name, as Open vSwitch tells it, or as the settings do

It has no address, unless an L3 Vpn has the site answer at a gateway. It belongs to the project of the service's user:
no tenant's quota is charged. What a time-out left half known is found by its mark and not made twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from intertie.model.bodies import Address
from intertie.model.errors import Conflict, Forbidden, IntertieError

OWNER = "network:intertie"
GOOD_FOR = 10.0
"""Seconds for which what Neutron said of the ports counts. Whether they forward is seen on this host."""
UNBOUND = ("", "unbound", "binding_failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class PortWish:
    """The port that a network is to have here. `addresses` are those that it answers for itself: an L3 Vpn's
    gateways."""

    network: str
    mac: str
    addresses: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortSight:
    """The port as the cloud has it."""

    id: str
    mac: str
    flaw: str = ""
    """In words ("not bound: no network agent on host gw1")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A port of Neutron, as far as it matters here."""

    id: str
    network: str
    mac: str
    device_owner: str
    device_id: str
    description: str
    host: str
    binding: str
    """What became of binding it to its host (`binding:vif_type`): "ovs", "binding_failed", "unbound"."""
    addresses: frozenset[Address] = frozenset()
    secured: bool = True
    """Port security is on."""
    up: bool = True
    groups: frozenset[str] = field(default=frozenset(), compare=False)
    """Its security groups, by id."""


class PortCloud(Protocol):
    """What is needed of Neutron. Errors are of our tree; deleting what is not there is success."""

    async def ports(self, *, device_owner: str = "", network: str = "") -> Sequence[Port]: ...
    async def create_port(self, port: Port) -> Port:
        """`id` and `binding` of what is wished are not looked at."""
        ...

    async def update_port(self, port: Port) -> Port:
        """Its host, addresses, security and state."""
        ...

    async def delete_port(self, id: str) -> None: ...
    async def agents(self, host: str) -> Collection[bool]:
        """Of each network agent of the host, whether it is alive."""
        ...


class GatewayPorts:
    """A site's gateway ports. `host` tells by which name the cloud knows this host."""

    def __init__(self, site: str, cloud: PortCloud, host: Callable[[], Awaitable[str]]) -> None:
        self._site = site
        self._cloud = cloud
        self._host = host
        self._seen: Mapping[str, PortSight] | None = None
        self._until = float("-inf")

    async def lacking(self) -> str:
        """What keeps ports from being made and bound here, in words; "" if nothing does."""
        try:
            host = await self._host()
            if not host:
                return "this host's name in the cloud is not known"
            await self._cloud.ports(device_owner=OWNER)
            agents = await self._cloud.agents(host)
        except Forbidden:
            return ""  # agents are for administrators to see: that says nothing of ports
        except IntertieError as error:
            return error.detail
        if not agents:
            return f"the cloud knows no network agent on host {host}"
        return "" if any(agents) else f"the network agent on host {host} is down"

    async def sights(self) -> Mapping[str, PortSight] | None:
        """The ports by network, as lately seen; None if the cloud was never heard of."""
        now = asyncio.get_running_loop().time()
        if now > self._until:
            self._until = now + GOOD_FOR
            try:
                host = await self._host()
                mine = [port for port in await self._cloud.ports(device_owner=OWNER) if self._is_mine(port)]
            except IntertieError:
                return self._seen
            self._seen = {p.network: _sight(p, host) for p in sorted(mine, key=lambda p: p.id, reverse=True)}
        return self._seen

    async def ensure(self, wish: PortWish) -> PortSight:
        """Make the port so, in place where Neutron lets that be. Conflict if it cannot be bound to this host."""
        host = await self._host()
        self._until = float("-inf")
        found = await self._of(wish.network)
        for twin in found[1:]:  # of a creation that was answered too late
            await self._cloud.delete_port(twin.id)
        have = found[0] if found else None
        want = self._wanted(wish, host)
        if have is not None and have.mac != want.mac:
            await self._cloud.delete_port(have.id)  # Neutron changes no MAC of a port that is bound
            have = None
        if have is None:
            have = await self._cloud.create_port(want)
        elif have != replace(want, id=have.id, binding=have.binding) or have.binding in UNBOUND:
            have = await self._cloud.update_port(replace(want, id=have.id))
        sight = _sight(have, host)
        if sight.flaw:
            raise Conflict(
                f"port {have.id} is {sight.flaw}",
                code="failed",
                hint="openstack network agent list shows who is there",
            )
        return sight

    async def remove(self, network: str) -> None:
        """Take the site's ports off a network."""
        self._until = float("-inf")
        for port in await self._of(network):
            await self._cloud.delete_port(port.id)

    async def _of(self, network: str) -> list[Port]:
        found = await self._cloud.ports(device_owner=OWNER, network=network)
        return sorted((port for port in found if self._is_mine(port)), key=lambda p: p.id)

    def _is_mine(self, port: Port) -> bool:
        return is_of(self._site, port)

    def _wanted(self, wish: PortWish, host: str) -> Port:
        return Port(
            id="",
            network=wish.network,
            mac=wish.mac,
            device_owner=OWNER,
            device_id=f"intertie-{self._site}",
            description=_mark(self._site, wish.network),
            host=host,
            binding="",
            addresses=wish.addresses,
            secured=False,
        )


def is_of(site: str, port: Port) -> bool:
    """Whether the site made it. Another site's, of another cell of the cloud, is not ours to touch."""
    return port.device_owner == OWNER and port.description == _mark(site, port.network)


def _mark(site: str, network: str) -> str:
    return f"intertie {site} {network}"


def _sight(port: Port, host: str) -> PortSight:
    flaw = ""
    if port.host != host:
        flaw = f"bound to host {port.host or '-'}, not to {host}"
    elif port.binding in UNBOUND:
        flaw = f"not bound: no network agent on host {host} takes it"
    elif port.secured:
        flaw = "behind port security, which lets only its own addresses through"
    elif not port.up:
        flaw = "switched off"
    return PortSight(id=port.id, mac=port.mac, flaw=flaw)

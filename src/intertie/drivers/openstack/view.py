"""A region as it was lately seen: four lists, read together, shared by whoever looks in the next seconds.

Neutron tells nobody outside of it when something changes, so it is asked; and one round asks for much of the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from intertie.drivers.openstack.neutron import Net, Neutron, Port, Subnet
from intertie.model.bodies import Prefix
from intertie.model.errors import NotFound

GOOD_FOR = 4.0
"""Seconds."""
MARK = "intertie"


@dataclass(frozen=True, slots=True)
class Made:
    """What the description of a network says that a site made: the site's id of it, and its prefixes."""

    id: str
    prefixes: tuple[Prefix, ...]


def mark(site: str, id: str, prefixes: Iterable[Prefix]) -> str:
    return f"{MARK} {site} {id} {','.join(str(prefix) for prefix in prefixes)}"


def made_by(site: str, net: Net) -> Made | None:
    """None for a network that the site did not make."""
    words = net.description.split(" ")
    if len(words) != 4 or words[:2] != [MARK, site]:
        return None
    try:
        return Made(words[2], tuple(ip_network(prefix) for prefix in words[3].split(",")))
    except ValueError:  # somebody has edited it: then it is not ours
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Subnets and ports are by network; routers' names by id."""

    networks: Mapping[str, Net]
    subnets: Mapping[str, tuple[Subnet, ...]]
    ports: Mapping[str, tuple[Port, ...]]
    routers: Mapping[str, str]

    def find(self, site: str, id: str) -> Net | None:
        """By the site's id of what it made, else by Neutron's. Of twins that a lost answer left, always the same."""
        if id in self.networks:
            return self.networks[id]
        found = (net for net in self.networks.values() if (made := made_by(site, net)) and made.id == id)
        return min(found, key=lambda net: net.id, default=None)

    def twins(self, site: str, id: str) -> list[Net]:
        """What was made more than once under that id."""
        there = [net for net in self.networks.values() if (made := made_by(site, net)) and made.id == id]
        return sorted(there, key=lambda net: net.id)[1:]


class View:
    """Of one region."""

    def __init__(self, neutron: Neutron, good_for: float = GOOD_FOR) -> None:
        self._neutron = neutron
        self._good_for = good_for
        self._until = float("-inf")
        self._looking = asyncio.Lock()
        self.last: Sight | None = None
        """None: the region was never heard of."""

    def stale(self) -> None:
        """Something was changed: the next look asks."""
        self._until = float("-inf")

    async def look(self) -> Sight:
        """Unavailable if the region does not answer."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self.last is None or now > self._until:
                self.last = await self._read()
                self._until = now + self._good_for
            return self.last

    async def find(self, site: str, id: str) -> Net:
        """The network of that id, the site's own or Neutron's. NotFound."""
        net = (await self.look()).find(site, id)
        if net is None:
            raise NotFound(f"{self._neutron.name} has no network {id}", code="unknown-network")
        return net

    async def _read(self) -> Sight:
        networks, subnets, ports, routers = await asyncio.gather(
            self._neutron.networks(), self._neutron.subnets(), self._neutron.ports(), self._neutron.routers()
        )
        return Sight(
            networks={net.id: net for net in networks},
            subnets={id: tuple(s for s in subnets if s.network == id) for id in {s.network for s in subnets}},
            ports=_by_network(ports),
            routers={router.id: router.name for router in routers},
        )


def _by_network(ports: Iterable[Port]) -> Mapping[str, tuple[Port, ...]]:
    found: dict[str, list[Port]] = {}
    for port in ports:
        found.setdefault(port.network, []).append(port)
    return {network: tuple(those) for network, those in found.items()}

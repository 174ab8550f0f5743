"""A region as it was lately seen: four lists, read together, shared by whoever looks in the next seconds.

Neutron tells nobody outside of it when something changes, so it is asked; and one round asks for much of the same.

What was read while somebody changed something may be older than the change, or newer: it is not kept. Who took it for
the present would make a second time what was just made.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_network

from intertie.drivers.openstack.gateway import OWNER
from intertie.drivers.openstack.neutron import Net, Neutron, Port, Subnet
from intertie.model.bodies import Prefix
from intertie.model.errors import NotFound, Unavailable

GOOD_FOR = 4.0
"""Seconds."""
MARK = "intertie"
CLOUDS_OWN = ("network:dhcp", "network:distributed")
"""Owners of ports that the cloud makes with a network and deletes with it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What the description of a network says that a site made: the site's id of it, and its prefixes."""

    id: str
    prefixes: tuple[Prefix, ...]


class Marks:
    """What a site writes into the descriptions of networks that it makes. A description is its project's to write: so
    a mark is sealed, with a key that only the site has, for the project that the network is of. What somebody made
    up, or copied from another project's network, is no mark."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def write(self, site: str, id: str, project: str, prefixes: Iterable[Prefix]) -> str:
        text = f"{MARK} {site} {id} {','.join(str(prefix) for prefix in prefixes)}"
        return f"{text} {self._seal(text, project)}"

    def believed(self, net: Net) -> Net:
        """The network without a description that looks like a mark and is none."""
        text, _, seal = net.description.rpartition(" ")
        if not net.description.startswith(f"{MARK} ") or compare_digest(seal, self._seal(text, net.project)):
            return net
        return replace(net, description="")

    def _seal(self, text: str, project: str) -> str:
        return hmac.new(self._secret, f"{project} {text}".encode(), sha256).hexdigest()[:32]


def made_by(site: str, net: Net) -> Made | None:
    """None for a network that the site did not make. Its mark was looked at when it was read."""
    words = net.description.split(" ")
    if len(words) != 5 or words[:2] != [MARK, site]:
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
        """By the site's id of what it made, else by Neutron's."""
        return self.networks.get(id) or next(iter(self._made(site, id)), None)

    def twins(self, site: str, id: str) -> list[Net]:
        """What was made more than once under that id, for one project. The description is a tenant's to write: what
        another project's network says of itself touches none but that."""
        made = self._made(site, id)
        return [net for net in made[1:] if net.project == made[0].project]

    def users(self, net: Net) -> list[Port]:
        """Ports on it that are neither the cloud's nor a site's."""
        return [port for port in self.ports.get(net.id, ()) if port.device_owner not in (*CLOUDS_OWN, OWNER)]

    def _made(self, site: str, id: str) -> list[Net]:
        """Of twins that a lost answer left the one in use comes first, and otherwise always the same."""
        there = [net for net in self.networks.values() if (made := made_by(site, net)) and made.id == id]
        return sorted(there, key=lambda net: (not self.users(net), net.id not in self.subnets, net.id))


class View:
    """Of one region."""

    def __init__(self, neutron: Neutron, marks: Marks, good_for: float = GOOD_FOR) -> None:
        self._neutron = neutron
        self.marks = marks
        self._good_for = good_for
        self._until = float("-inf")
        self._changes = 0
        self._looking = asyncio.Lock()
        self.last: Sight | None = None
        """None: the region was never heard of."""

    def stale(self) -> None:
        """Something was changed: the next look asks."""
        self._until = float("-inf")
        self._changes += 1

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[None]:
        """Around what changes something. However it ends: it may have been done."""
        self.stale()
        try:
            yield
        finally:
            self.stale()

    async def look(self) -> Sight:
        """Unavailable if the region does not answer."""
        async with self._looking:
            now = asyncio.get_running_loop().time()
            if self.last is None or now > self._until:
                before = self._changes
                self.last = await self._whole()
                self._until = now + self._good_for if before == self._changes else float("-inf")
            return self.last

    async def find(self, site: str, id: str) -> Net:
        """The network of that id, the site's own or Neutron's. NotFound."""
        net = (await self.look()).find(site, id)
        if net is None:
            raise NotFound(f"{self._neutron.name} has no network {id}", code="unknown-network")
        return net

    async def _whole(self) -> Sight:
        """Lists that contradict one another were read while something went, or one of them is not whole."""
        for _ in range(2):
            sight = await self._read()
            missing = self._missing(sight)
            if not missing:
                return sight
        raise Unavailable(
            f"{self._neutron.name} tells of what is on network {missing}, and not of the network",
            code="cloud-silent",
            hint=f"openstack network show {missing}",
        )

    def _missing(self, sight: Sight) -> str:
        """A network that was there, is listed no more, and has subnets or ports still; "" if there is none."""
        gone = set(self.last.networks if self.last is not None else ()) - sight.networks.keys()
        return min(gone & (sight.subnets.keys() | sight.ports.keys()), default="")

    async def _read(self) -> Sight:
        networks, subnets, ports, routers = await asyncio.gather(
            self._neutron.networks(), self._neutron.subnets(), self._neutron.ports(), self._neutron.routers()
        )
        return Sight(
            networks={net.id: self.marks.believed(net) for net in networks},
            subnets={id: tuple(s for s in subnets if s.network == id) for id in {s.network for s in subnets}},
            ports=_by_network(ports),
            routers={router.id: router.name for router in routers},
        )


def _by_network(ports: Iterable[Port]) -> Mapping[str, tuple[Port, ...]]:
    found: dict[str, list[Port]] = {}
    for port in ports:
        found.setdefault(port.network, []).append(port)
    return {network: tuple(those) for network, those in found.items()}

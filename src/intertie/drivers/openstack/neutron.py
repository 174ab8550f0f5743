"""What is needed of Neutron: its objects as far as they matter here, and calls. See `sdk` for the real one.

Errors are of our tree: Unavailable (silent, or failed: nothing is known), Forbidden (a right is missing), Refused
(`quota`, or a wish that Neutron does not take), Conflict (`in-use` and the like), NotFound. Deleting what is not
there is success. An object's description is its mark, given with its creation: what a time-out left half known is
found by it, and not made twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from intertie.drivers.openstack.gateway import Port
from intertie.model.bodies import Address, Prefix, Range

__all__ = ["Bgpvpn", "Net", "Neutron", "Port", "Router", "Rule", "Subnet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A network."""

    id: str = ""
    name: str
    project: str
    mtu: int
    description: str = ""
    shared: bool = False
    external: bool = False
    zones: frozenset[str] = frozenset()
    """Availability zones that it is in, or was hinted to."""
    physical: str = ""
    """Physical network of a provider network; for administrators to see."""
    flaw: str = ""
    """Why it cannot be read, in words; then only its id is sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """`pools` are the addresses that Neutron gives out by itself."""

    id: str = ""
    network: str
    name: str = ""
    project: str = ""
    prefix: Prefix
    gateway: Address | None = None
    pools: tuple[Range, ...] = ()
    dhcp: bool = True
    tags: frozenset[str] = frozenset()
    flaw: str = ""
    """Why it cannot be read, in words; then only its id and network are sure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Router:
    id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bgpvpn:
    """`networks` and `routers` are those that it is associated with."""

    id: str = ""
    name: str
    project: str
    layer: str
    """"l2" or "l3"."""
    route_targets: frozenset[str]
    networks: frozenset[str] = frozenset()
    routers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a security group lets in to its members: from a prefix (None: from everywhere), or, with `members`, from
    those of another group only."""

    group: str
    version: int
    prefix: Prefix | None = None
    members: str = ""


class Neutron(Protocol):
    """One region's. Lists are whole, or Unavailable is raised; what cannot be read is in them with its flaw."""

    @property
    def name(self) -> str:
        """What the operator calls the cloud."""
        ...

    async def extensions(self) -> frozenset[str]:
        """Aliases."""
        ...

    async def networks(self) -> Sequence[Net]: ...
    async def create_network(self, net: Net, tags: Collection[str] = ()) -> Net: ...
    async def delete_network(self, id: str) -> None: ...

    async def subnets(self, network: str = "") -> Sequence[Subnet]: ...
    async def create_subnet(self, subnet: Subnet) -> Subnet:
        """Without pools it gives out the whole prefix."""
        ...

    async def update_subnet(self, subnet: Subnet) -> Subnet:
        """Its pools, gateway and DHCP. Without pools it gives out nothing."""
        ...

    async def tag_subnet(self, id: str, tags: Collection[str]) -> None:
        """These tags, and no others."""
        ...

    async def ports(self, *, device_owner: str = "", network: str = "") -> Sequence[Port]: ...
    async def create_port(self, port: Port) -> Port: ...
    async def update_port(self, port: Port) -> Port: ...
    async def delete_port(self, id: str) -> None: ...
    async def agents(self, host: str) -> Collection[bool]: ...

    async def routers(self) -> Sequence[Router]: ...
    async def rules(self) -> Sequence[Rule]:
        """Of all security groups, what lets in."""
        ...

    async def bgpvpns(self) -> Sequence[Bgpvpn]: ...
    async def create_bgpvpn(self, bgpvpn: Bgpvpn) -> Bgpvpn:
        """Without its associations."""
        ...

    async def delete_bgpvpn(self, id: str) -> None:
        """With its associations."""
        ...

    async def associate(self, bgpvpn: Bgpvpn, *, network: str = "", router: str = "") -> None:
        """Success also if it is associated already."""
        ...

    async def dissociate(self, bgpvpn: Bgpvpn) -> None:
        """From all networks and routers."""
        ...

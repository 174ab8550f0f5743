"""A Neutron in memory that passes the contract of `testing.neutron_suite`, as the real one does.

`FakeRegion` is the world: what is in the region's database, and what is wrong with it today. `FakeNeutron` is a
client that remembers nothing. It judges as Neutron does what may overlap, what is in use, what a quota leaves, and
gives addresses out of the pools; what Neutron does not judge, such as names, it takes as it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address
from itertools import count

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Port, Router, Rule, Subnet
from intertie.drivers.openstack.view import Marks
from intertie.model.bodies import Address, Range
from intertie.model.errors import Conflict, IntertieError, NotFound, Refused, Unavailable
from intertie.planning import ranges

GOES_WITH_IT = ("network:dhcp", "network:distributed")
"""Owners of ports that Neutron deletes with their network."""
INTERFACE = "network:router_interface"
WRITES = ("create", "update", "delete", "tag", "associate", "dissociate")
MTU = 9000
"""The largest that a network may have."""
MARKS = Marks(b"of sites in tests")


@dataclass(slots=True)
class Fault:
    """What comes of a call, so many times. `done`: the call did its work, and only the answer is this."""

    call: str
    error: IntertieError
    done: bool = False
    times: int = 1


@dataclass(slots=True)
class FakeRegion:
    """The world. Tests may change everything in it."""

    networks: dict[str, Net] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    routers: dict[str, Router] = field(default_factory=dict)
    bgpvpns: dict[str, Bgpvpn] = field(default_factory=dict)
    quota: dict[tuple[str, str], int] = field(default_factory=dict)
    """(project, "network" or "subnet") → how many it may have; absent: as many as it likes."""
    rules: list[Rule] = field(default_factory=list)
    agents: dict[str, list[bool]] = field(default_factory=dict)
    tags: dict[str, frozenset[str]] = field(default_factory=dict)
    """Of networks."""
    hidden: set[str] = field(default_factory=set)
    """Networks that lists leave out, though their subnets and ports are told of."""
    faults: list[Fault] = field(default_factory=list)
    silent: bool = False
    delay: float = 0.0
    """Seconds that a call takes; what it does is done at their end."""
    slow: dict[str, float] = field(default_factory=dict)
    """Calls that take others."""
    calls: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def id(self, what: str) -> str:
        return f"{what}-{next(self._numbers):06}"

    @property
    def writes(self) -> list[str]:
        """Calls that change something."""
        return [
            call for call in self.calls if call.split("_")[0] in ("create", "update", "delete", "tag", "associate")
        ]

    # ── What tenants do ────────────────────────────────────────────────────────────────────────────────────

    def boot(self, network: str, owner: str = "compute:nova") -> Port:
        """A machine's port, with an address out of the pools of each version. Conflict if one has none left."""
        versions = sorted({subnet.prefix.version for subnet in self.of(network)})
        offers = {version: self._free(version, network) for version in versions}
        if empty := [version for version, address in offers.items() if address is None]:
            raise Conflict(f"no more IP addresses available on network {network}, v{empty[0]}", code="in-use")
        addresses = frozenset(address for address in offers.values() if address is not None)
        return self.keep(_port(network, owner, addresses))

    def route(self, subnet: str, name: str) -> Port:
        """A router takes the gateway of a subnet."""
        there = self.subnets[subnet]
        assert there.gateway is not None
        router = Router(id=self.id("router"), name=name)
        self.routers[router.id] = router
        port = _port(there.network, INTERFACE, frozenset({there.gateway}))
        return self.keep(replace(port, device_id=router.id))

    def keep(self, port: Port) -> Port:
        id = self.id("port")
        made = replace(port, id=id, mac=port.mac or f"fa:16:3e:00:00:{len(self.ports):02x}")
        self.ports[id] = made
        return made

    def of(self, network: str) -> list[Subnet]:
        return [s for s in self.subnets.values() if s.network == network]

    def on(self, network: str) -> list[Port]:
        return [p for p in self.ports.values() if p.network == network]

    def taken(self, network: str) -> set[Address]:
        return {address for port in self.on(network) for address in port.addresses}

    def _free(self, version: int, network: str) -> Address | None:
        taken = {int(a) for a in self.taken(network) if a.version == version}
        of = IPv4Address if version == 4 else IPv6Address
        for pool in (pool for s in self.of(network) if s.prefix.version == version for pool in s.pools):
            for number in range(int(pool.first), int(pool.last) + 1):
                if number not in taken:
                    return of(number)
        return None


class FakeNeutron:
    """Satisfies `drivers.openstack.neutron.Neutron`."""

    def __init__(self, region: FakeRegion, name: str = "fake") -> None:
        self._region = region
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def extensions(self) -> frozenset[str]:
        async with self._call("extensions"):
            return frozenset({"bgpvpn", "port-security", "quotas", "router", "standard-attr-tag"})

    # ── Networks ───────────────────────────────────────────────────────────────────────────────────────────

    async def networks(self) -> Sequence[Net]:
        async with self._call("networks"):
            return [net for net in self._region.networks.values() if net.id not in self._region.hidden]

    async def create_network(self, net: Net, tags: Collection[str] = ()) -> Net:
        async with self._call("create_network"):
            if not 68 <= net.mtu <= MTU:
                raise Refused(f"the MTU {net.mtu} is more than {MTU}, or less than 68")
            self._count("network", net.project, (n.project for n in self._region.networks.values()))
            made = replace(net, id=self._region.id("net"))
            self._region.networks[made.id] = made
            self._region.tags[made.id] = frozenset(tags)
            return made

    async def delete_network(self, id: str) -> None:
        async with self._call("delete_network"):
            if any(port.device_owner not in GOES_WITH_IT for port in self._region.on(id)):
                raise Conflict(f"there are one or more ports still in use on network {id}", code="in-use")
            for port in self._region.on(id):
                del self._region.ports[port.id]
            for subnet in self._region.of(id):
                del self._region.subnets[subnet.id]
            self._region.networks.pop(id, None)

    # ── Subnets ────────────────────────────────────────────────────────────────────────────────────────────

    async def subnets(self, network: str = "") -> Sequence[Subnet]:
        async with self._call("subnets"):
            return [s for s in self._region.subnets.values() if network in ("", s.network)]

    async def create_subnet(self, subnet: Subnet) -> Subnet:
        async with self._call("create_subnet"):
            self._network(subnet.network)
            self._count("subnet", subnet.project, (s.project for s in self._region.subnets.values()))
            for other in self._region.of(subnet.network):
                if other.prefix.version == subnet.prefix.version and other.prefix.overlaps(subnet.prefix):
                    raise Refused(f"{subnet.prefix} overlaps with another subnet of network {subnet.network}")
            _judge_pools(subnet)
            if subnet.dhcp and subnet.prefix.num_addresses < 4:
                raise Refused("the subnet has a prefix length that is incompatible with DHCP service enabled")
            made = replace(subnet, id=self._region.id("subnet"), pools=subnet.pools or _all_of(subnet))
            self._region.subnets[made.id] = made
            return made

    async def update_subnet(self, subnet: Subnet) -> Subnet:
        async with self._call("update_subnet"):
            have = self._region.subnets.get(subnet.id)
            if have is None:
                raise NotFound(f"subnet {subnet.id} could not be found")
            _judge_pools(subnet)
            users = (p for p in self._region.on(have.network) if p.device_owner == INTERFACE)
            if subnet.gateway != have.gateway and any(have.gateway in port.addresses for port in users):
                raise Conflict(f"gateway {have.gateway} of subnet {have.id} is in use by a router", code="in-use")
            made = replace(have, pools=subnet.pools, gateway=subnet.gateway, dhcp=subnet.dhcp)
            self._region.subnets[made.id] = made
            return made

    async def tag_subnet(self, id: str, tags: Collection[str]) -> None:
        async with self._call("tag_subnet"):
            if id not in self._region.subnets:
                raise NotFound(f"subnet {id} could not be found")
            self._region.subnets[id] = replace(self._region.subnets[id], tags=frozenset(tags))

    # ── Ports and routers ──────────────────────────────────────────────────────────────────────────────────

    async def ports(self, *, device_owner: str = "", network: str = "") -> Sequence[Port]:
        async with self._call("ports"):
            found = self._region.ports.values()
            return [p for p in found if device_owner in ("", p.device_owner) and network in ("", p.network)]

    async def create_port(self, port: Port) -> Port:
        async with self._call("create_port"):
            self._network(port.network)
            if any(port.mac == other.mac for other in self._region.on(port.network)):
                raise Conflict(f"MAC address {port.mac} is in use on network {port.network}", code="in-use")
            return self._region.keep(self._bound(self._addressed(port)))

    async def update_port(self, port: Port) -> Port:
        async with self._call("update_port"):
            if port.id not in self._region.ports:
                raise NotFound(f"port {port.id} could not be found")
            have = self._region.ports[port.id]
            want = replace(have, host=port.host, addresses=port.addresses, secured=port.secured, up=port.up)
            self._region.ports[port.id] = made = self._bound(self._addressed(want))
            return made

    async def delete_port(self, id: str) -> None:
        async with self._call("delete_port"):
            port = self._region.ports.get(id)
            if port is not None and port.device_owner == INTERFACE:
                raise Conflict(f"port {id} cannot be deleted: it is a router's", code="in-use")
            self._region.ports.pop(id, None)

    async def agents(self, host: str) -> Collection[bool]:
        async with self._call("agents"):
            return list(self._region.agents.get(host, ()))

    async def routers(self) -> Sequence[Router]:
        async with self._call("routers"):
            return list(self._region.routers.values())

    async def rules(self) -> Sequence[Rule]:
        async with self._call("rules"):
            return list(self._region.rules)

    # ── BGPVPNs ────────────────────────────────────────────────────────────────────────────────────────────

    async def bgpvpns(self) -> Sequence[Bgpvpn]:
        async with self._call("bgpvpns"):
            return list(self._region.bgpvpns.values())

    async def create_bgpvpn(self, bgpvpn: Bgpvpn) -> Bgpvpn:
        async with self._call("create_bgpvpn"):
            made = replace(bgpvpn, id=self._region.id("bgpvpn"), networks=frozenset(), routers=frozenset())
            self._region.bgpvpns[made.id] = made
            return made

    async def delete_bgpvpn(self, id: str) -> None:
        async with self._call("delete_bgpvpn"):
            self._region.bgpvpns.pop(id, None)

    async def associate(self, bgpvpn: Bgpvpn, *, network: str = "", router: str = "") -> None:
        async with self._call("associate"):
            have = self._region.bgpvpns.get(bgpvpn.id)
            if have is None:
                raise NotFound(f"BGPVPN {bgpvpn.id} could not be found")
            if network:
                self._network(network)
                have = replace(have, networks=have.networks | {network})
            else:
                have = replace(have, routers=have.routers | {router})
            self._region.bgpvpns[have.id] = have

    async def dissociate(self, bgpvpn: Bgpvpn) -> None:
        """From all networks and routers."""
        async with self._call("dissociate"):
            if bgpvpn.id in self._region.bgpvpns:
                bare = replace(self._region.bgpvpns[bgpvpn.id], networks=frozenset(), routers=frozenset())
                self._region.bgpvpns[bgpvpn.id] = bare

    # ── Judging ────────────────────────────────────────────────────────────────────────────────────────────

    def _network(self, id: str) -> Net:
        if id not in self._region.networks:
            raise NotFound(f"network {id} could not be found")
        return self._region.networks[id]

    def _count(self, what: str, project: str, owners: Iterable[str]) -> None:
        limit = self._region.quota.get((project, what))
        if limit is not None and sum(owner == project for owner in owners) >= limit:
            raise Refused(f"Quota exceeded for resources: ['{what}'].", code="quota")

    def _addressed(self, port: Port) -> Port:
        taken = {a for other in self._region.on(port.network) if other.id != port.id for a in other.addresses}
        if both := taken & port.addresses:
            raise Conflict(f"IP address {min(both, key=int)} is in use on network {port.network}", code="in-use")
        subnets = self._region.of(port.network)
        known = (a for a in port.addresses if any(a.version == s.prefix.version and a in s.prefix for s in subnets))
        return replace(port, addresses=frozenset(known))

    def _bound(self, port: Port) -> Port:
        if not port.host:
            return replace(port, binding="unbound")
        alive = any(self._region.agents.get(port.host, ()))
        return replace(port, binding="ovs" if alive else "binding_failed")

    def _call(self, what: str) -> _Call:
        return _Call(self._region, what, self._name)


class _Call:
    """Around one call: that it was made, how long it takes, and what goes wrong with it."""

    def __init__(self, region: FakeRegion, what: str, name: str) -> None:
        self._region = region
        self._what = what
        self._name = name
        self._late: IntertieError | None = None

    async def __aenter__(self) -> None:
        self._region.calls.append(self._what)
        await asyncio.sleep(self._region.slow.get(self._what, self._region.delay))
        if self._region.silent:
            raise Unavailable(f"{self._name} does not answer", code="cloud-silent")
        fault = next((f for f in self._region.faults if f.call == self._what and f.times > 0), None)
        if fault is None:
            return
        fault.times -= 1
        if not fault.done:
            raise fault.error
        self._late = fault.error

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await asyncio.sleep(0)
        if self._late is not None and error is None:
            raise self._late


def _port(network: str, owner: str, addresses: frozenset[Address]) -> Port:
    return Port(
        id="",
        network=network,
        mac="",
        device_owner=owner,
        device_id="",
        description="",
        host="",
        binding="unbound",
        addresses=addresses,
    )


def _all_of(subnet: Subnet) -> tuple[Range, ...]:
    """What Neutron gives out unless it is told of any pool."""
    first, last = int(subnet.prefix.network_address) + 1, int(subnet.prefix.broadcast_address)
    end = last - 1 if subnet.prefix.version == 4 else last
    out = [int(subnet.gateway)] if subnet.gateway is not None else []
    return ranges.ranges_of(ranges.subtract(((first, end),), [(number, number) for number in out]), subnet.prefix)


def _judge_pools(subnet: Subnet) -> None:
    """As Neutron does with `allocation_pools` and `gateway_ip`."""
    before: Range | None = None
    for pool in sorted(subnet.pools, key=lambda r: int(r.first)):
        ends = (pool.first, pool.last)
        if any(end.version != subnet.prefix.version or end not in subnet.prefix for end in ends):
            raise Refused(f"the allocation pool {pool.first}-{pool.last} spans beyond the subnet {subnet.prefix}")
        if int(pool.first) > int(pool.last):
            raise Refused(f"the allocation pool {pool.first}-{pool.last} is not valid")
        if before is not None and int(before.last) >= int(pool.first):
            raise Conflict(f"found overlapping allocation pools for subnet {subnet.prefix}", code="in-use")
        if subnet.gateway is not None and int(pool.first) <= int(subnet.gateway) <= int(pool.last):
            raise Conflict(f"gateway {subnet.gateway} conflicts with allocation pool {pool.first}", code="in-use")
        before = pool

"""The `neutron` cloud: networks of an OpenStack region, through its own API.

A network that we make bears a mark in its description, `intertie SITE ID PREFIXES SEAL`, given with its creation;
what has none is somebody else's, and never changed here. Its subnets are made where addresses are shared out (see
`drivers.openstack.pools`), or at once for a network that stands alone.

A cloud that does not answer is silent: what was seen last stands, and nothing is concluded from what it does not say.

Names are Neutron's: any text, and several networks of a project may have the same. Where a name tells no network, or
cannot be told to other sites, the network goes by its id.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from intertie.drivers.openstack.gateway import is_of
from intertie.drivers.openstack.neutron import Net, Neutron, Port, Subnet
from intertie.drivers.openstack.view import CLOUDS_OWN, Made, Sight, View, made_by
from intertie.model.bodies import Address
from intertie.model.codec import NAME
from intertie.model.errors import Conflict, IntertieError, Refused, Unavailable
from intertie.model.items import Host, Item, Key, Network, NetworkFacts, key
from intertie.planning import ranges
from intertie.planning.identity import bridge_name, is_made
from intertie.planning.plausible import tellable

ROUTERS = "network:router_"
TAG = "intertie"
POLL = 5.0
"""Seconds between looks for changes that nobody tells of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which networks may be attached: all, or those of some projects; and only those of the site's cell."""

    projects: frozenset[str] = frozenset()
    """Project ids; none: all."""
    zone: str = ""
    """Availability zone of the cell; "": any."""
    physical: str = ""
    """Physical network of the cell; "": any."""


class NeutronCloud:
    """One region's cloud. Satisfies `agent.ports.Cloud`."""

    def __init__(self, site: str, neutron: Neutron, view: View, policy: Policy) -> None:
        self._site = site
        self._neutron = neutron
        self._view = view
        self._policy = policy

    async def inventory(self) -> tuple[NetworkFacts, ...]:
        """Its networks, attachable or with the reason why not. While the cloud is silent: as last seen."""
        sight = await self._look()
        names = Counter((net.project, net.name) for net in sight.networks.values() if not self._is_ours(net))
        return tuple(self._facts(net, sight, names[net.project, net.name]) for net in sight.networks.values())

    async def free_bridges(self) -> tuple[str, ...]:
        return ()

    async def observe(self, keys: Collection[Key] | None) -> Sequence[Network]:
        """The networks that this site made. While the cloud is silent: as last seen, so that what needs no cloud goes
        on; Unavailable if it was never heard of."""
        sight = await self._look()
        made = ((net, made_by(self._site, net)) for net in sorted(sight.networks.values(), key=lambda n: n.id))
        found = {m.id: _item(net, m, sight) for net, m in reversed([each for each in made if each[1]]) if m}
        return [item for item in found.values() if keys is None or key(item) in keys]

    async def changes(self) -> AsyncIterator[Key]:
        """Keys of networks of ours that are not as they were a moment ago."""
        before: dict[Key, Network] | None = None
        while True:
            await asyncio.sleep(POLL)
            try:
                now = {key(item): item for item in await self.observe(None)}
            except IntertieError:
                continue
            for k in {*now, *(before or {})}:
                if before is not None and now.get(k) != before.get(k):
                    yield k
            before = now

    async def ensure(self, item: Item) -> None:
        """Make it so. Refused: what a cloud cannot hold; Conflict: what cannot be changed in place."""
        network = _network(item)
        sight = await self._view.look()
        net = sight.find(self._site, network.id)
        async with self._view.changing():
            for twin in sight.twins(self._site, network.id):
                await self._drop(twin, sight)
            if net is None:
                net = await self._make(network)
            elif (net.name, net.project, net.mtu) != (network.name, network.project, network.mtu):
                raise Conflict(
                    f"network {net.id} is {net.name} of project {net.project} with MTU {net.mtu}, "
                    f"not {network.name} of {network.project} with {network.mtu}",
                    code="failed",
                    hint=f"openstack network set --name {network.name} --mtu {network.mtu} {net.id}",
                )
            if not is_made(self._site, network.id):
                await self._fill(network, net, sight.subnets.get(net.id, ()))

    async def _drop(self, net: Net, sight: Sight) -> None:
        """Delete a network, unless somebody uses it: Neutron sees those also who came since it was looked at."""
        for port in sight.ports.get(net.id, ()):
            if is_of(self._site, port):
                await self._neutron.delete_port(port.id)
        with suppress(Conflict):
            await self._neutron.delete_network(net.id)

    async def _make(self, network: Network) -> Net:
        wish = Net(
            name=network.name,
            project=network.project,
            mtu=network.mtu,
            description=self._view.marks.write(self._site, network.id, network.project, network.prefixes),
        )
        try:
            return await self._neutron.create_network(wish, {TAG})
        except Unavailable:
            # It may have been done all the same: the mark tells.
            self._view.stale()
            net = (await self._view.look()).find(self._site, network.id)
            if net is None:
                raise
            return net

    async def _fill(self, network: Network, net: Net, have: Iterable[Subnet]) -> None:
        """A network that stands alone gives out all of its addresses."""
        there = {subnet.prefix for subnet in have}
        for prefix in network.prefixes:
            if prefix not in there:
                gateway = ranges.gateway(prefix)
                number = int(gateway)
                pools = ranges.ranges_of(ranges.subtract((ranges.usable(prefix),), [(number, number)]), prefix)
                wish = Subnet(
                    network=net.id,
                    name=f"{net.name}-v{prefix.version}",
                    project=net.project,
                    prefix=prefix,
                    gateway=gateway,
                    pools=pools,
                    tags=frozenset({TAG}),
                )
                await self._neutron.create_subnet(wish)

    async def remove(self, item: Item) -> None:
        """Take it away; absent already is success. Refused: `in-use`, with whose ports are on it."""
        network = _network(item)
        sight = await self._view.look()
        net = sight.find(self._site, network.id)
        if net is None or made_by(self._site, net) is None:
            return
        users = [port for port in sight.ports.get(net.id, ()) if not self._goes_along(port)]
        if users:
            raise Refused(
                f"network {net.name} has ports: {', '.join(_port_words(port) for port in users[:5])}",
                code="in-use",
                hint=f"openstack port list --network {net.id}",
            )
        async with self._view.changing():
            for twin in sight.twins(self._site, network.id):
                await self._drop(twin, sight)
            for port in sight.ports.get(net.id, ()):
                if is_of(self._site, port):
                    await self._neutron.delete_port(port.id)
            await self._neutron.delete_network(net.id)

    def _goes_along(self, port: Port) -> bool:
        return port.device_owner in CLOUDS_OWN or is_of(self._site, port)

    def _is_ours(self, net: Net) -> bool:
        return made_by(self._site, net) is not None

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> Sight:
        try:
            return await self._view.look()
        except IntertieError:
            if self._view.last is None:
                raise
            return self._view.last

    def _facts(self, net: Net, sight: Sight, namesakes: int) -> NetworkFacts:
        """`namesakes`: how many networks of the project have its name."""
        ports = sight.ports.get(net.id, ())
        subnets = [subnet for subnet in sight.subnets.get(net.id, ()) if not subnet.flaw]
        made = made_by(self._site, net)
        prefixes = made.prefixes if made else tuple(subnet.prefix for subnet in subnets)
        id = made.id if made else net.id
        gateways = tuple(subnet.gateway for subnet in subnets if subnet.gateway is not None)
        reason = self._reason(net, sight.subnets.get(net.id, ()))
        return NetworkFacts(
            id=id,
            name=net.name if made or (namesakes == 1 and tellable(net.name)) else net.id,
            project=net.project,
            prefixes=prefixes,
            mtu=net.mtu,
            bridge=bridge_name(id),
            own=made is not None,
            addresses_in_use=_in_use(ports, gateways),
            gateways=gateways,
            routed_by=_routed_by(ports, gateways, sight),
            ports=sum(not port.device_owner.startswith("network:") for port in ports),
            attachable=not reason,
            reason=reason,
        )

    def _reason(self, net: Net, subnets: Collection[Subnet]) -> str:
        """Why it cannot be attached; "" if it can."""
        policy = self._policy
        if made_by(self._site, net) is not None:
            return ""
        if net.flaw:
            return f"it cannot be read: {net.flaw}"
        if net.external:
            return "it is an external network"
        if not NAME.fullmatch(net.project):
            return f"it belongs to {f'project {net.project}' if net.project else 'no project'}"
        if policy.projects and net.project not in policy.projects:
            return f"project {net.project} is not among those whose networks may be attached here"
        if policy.zone and net.zones and policy.zone not in net.zones:
            return f"it is in availability zone {', '.join(sorted(net.zones))}, this site is {policy.zone}"
        if policy.physical and net.physical and net.physical != policy.physical:
            return f"it is on physical network {net.physical}, this site has {policy.physical}"
        if not subnets:
            return "it has no subnet"
        for subnet in subnets:
            if subnet.flaw:
                return f"subnet {subnet.id} cannot be read: {subnet.flaw}"
        return ""


def _network(item: Item) -> Network:
    if isinstance(item, Host):
        raise Refused("hosts of an OpenStack cloud are its own virtual machines", hint="openstack server create")
    if not isinstance(item, Network):
        raise TypeError(f"a cloud holds networks, not {item!r}")
    return item


def _item(net: Net, made: Made, sight: Sight) -> Network:
    return Network(
        id=made.id,
        name=net.name,
        project=net.project,
        prefixes=made.prefixes,
        mtu=net.mtu,
        bridge=bridge_name(made.id),
        flaw=_flaw(net, made, sight),
    )


def _flaw(net: Net, made: Made, sight: Sight) -> str:
    site = net.description.split(" ")[1]
    if sight.twins(site, made.id):
        return "made more than once"
    missing = set(made.prefixes) - {subnet.prefix for subnet in sight.subnets.get(net.id, ())}
    if missing and not is_made(site, made.id):
        return f"no subnet {', '.join(sorted(str(prefix) for prefix in missing))}"
    return ""


def _in_use(ports: Iterable[Port], gateways: Collection[Address]) -> tuple[Address, ...]:
    """By whomever, but a gateway: that one is told apart."""
    used = {address for port in ports for address in port.addresses} - set(gateways)
    return tuple(sorted(used, key=lambda a: (a.version, int(a))))


def _routed_by(ports: Iterable[Port], gateways: Collection[Address], sight: Sight) -> str:
    for port in ports:
        if port.device_owner.startswith(ROUTERS) and not port.addresses.isdisjoint(gateways):
            return f"router {sight.routers.get(port.device_id, port.device_id)}"
    return ""


def _port_words(port: Port) -> str:
    return f"{port.id} of {port.device_owner or 'nobody'}"

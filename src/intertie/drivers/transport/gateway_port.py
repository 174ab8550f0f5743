"""Segments on networks of an OpenStack cloud, carried by one of our own transports through a port of ours.

The host that the agent runs on, its gateway host, gets a port on each network that a Vpn reaches, as the DHCP agent
does: a Neutron port bound to this host, plugged into the integration bridge. A cable leads from there to a bridge,
and on that bridge the inner transport does what it does on any.

    tenants ── br-int ── io… ═ ig… ── ib… ── the inner transport's segment

The port is the network's, shared by its segments: the first makes it, the last takes it along. It is plugged last of
all: no frame crosses before the segment's filter stands, and before this site's pools hold only its own addresses.
When a segment goes, its cable is cut first, which needs nobody else; the inner segment goes last, for it is by that
that what is left after a crash is known.

What the kernel and Open vSwitch show is looked at each time. What Neutron says of the port is asked for now and then
(see `drivers.openstack.gateway`): a cloud that does not answer is no reason to touch what forwards.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from intertie.drivers.linux.frames import Place
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.drivers.linux.rtnl import link_news
from intertie.drivers.linux.steps import Step, perform
from intertie.drivers.openstack.gateway import PortSight, PortWish
from intertie.drivers.openstack.ovs import Plug, Switch
from intertie.drivers.transport import gateway_cable as cables
from intertie.drivers.transport.gateway_cable import Cable, Course
from intertie.drivers.transport.merged import merged
from intertie.drivers.transport.several import Carrier
from intertie.drivers.transport.vxlan_names import router_mac
from intertie.model.bodies import TransportFacts, VpnKind
from intertie.model.errors import IntertieError, Refused
from intertie.model.items import Item, Key, Segment, key
from intertie.planning.identity import bridge_name

JOIN = 3.0
"""Seconds that whoever runs the cloud's data plane gets to make a new port part of its network."""


class Ports(Protocol):
    """This site's ports in its cloud, and the pools of addresses that its networks give out."""

    async def lacking(self) -> str:
        """What keeps ports from being made, in words; "" if nothing does."""
        ...

    async def sights(self) -> Mapping[str, PortSight] | None:
        """Those that there are by network, as lately seen; None if the cloud was never heard of."""
        ...

    async def ensure(self, wish: PortWish) -> PortSight: ...
    async def remove(self, network: str) -> None: ...
    async def cut_pools(self, segment: Segment) -> None:
        """Have the network give out the segment's ranges only."""
        ...

    async def restore_pools(self, segment: Segment) -> None:
        """Have it give out what it did before."""
        ...

    async def pools_flaw(self, segment: Segment) -> str:
        """What it gives out beside, as lately seen, in words; "" also if that is not known."""
        ...


@dataclass(frozen=True, slots=True)
class _Sight:
    """What is there beside the inner segments."""

    cables: Mapping[Course, Cable]
    plugs: Mapping[str, Plug]
    ports: Mapping[str, PortSight] | None
    userspace: bool
    problem: str = ""
    """Why Open vSwitch cannot be looked at."""


class GatewayPortTransport:
    """`inner` through ports of ours. Satisfies `agent.ports.Transport`. `home` is the namespace of the integration
    bridge and of the inner transport's bridges; None: the agent's own."""

    def __init__(
        self,
        inner: Carrier,
        *,
        site: str,
        namespaces: Namespaces,
        switch: Switch,
        ports: Ports,
        home: Netns | None = None,
    ) -> None:
        self.site = site
        self._inner = inner
        self._home = home
        self._namespaces = namespaces
        self._switch = switch
        self._ports = ports
        self._seen: dict[Course, set[Key]] = {}
        """Whom news of a network's cable or port is news of."""

    async def probe(self) -> TransportFacts:
        """The inner transport's, if the cloud and this host's switch have what it takes."""
        facts = await self._inner.probe()
        reason = await self._lacking() if facts.ok else ""
        return replace(facts, ok=False, l2=False, l3=False, reason=reason) if reason else facts

    def place(self, segment: Segment) -> Place | None:
        return self._inner.place(segment)

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        if keys is None:
            self._seen.clear()
        segments = [item for item in await self._inner.observe(keys) if isinstance(item, Segment)]
        for segment in segments:
            self._seen.setdefault(self._course(segment), set()).add(key(segment))
        sight = await self._look({self._course(segment) for segment in segments})
        return [await self._judged(segment, sight) for segment in segments]

    def changes(self) -> AsyncIterator[Key]:
        """What the inner transport, Open vSwitch and the kernel tell of."""
        return merged([self._inner.changes, self._switch_news, self._cable_news])

    async def ensure(self, item: Item) -> None:
        """The inner segment comes before whatever the cloud must do: who has left is let in no more, even while the
        cloud does not answer."""
        segment = _segment(item)
        course = self._course(segment)
        await self._lay(course)
        await self._inner.ensure(segment)
        if segment.kind is VpnKind.L2:
            await self._ports.cut_pools(segment)
        port = await self._ports.ensure(self._wish(course, (segment, *await self._others(segment))))
        fresh = await self._plug(course, port)
        if fresh:  # a switch that lets go of a device puts it back as it had found it, which may be: down
            await self._lay(course)
        await self._switch.joined(course.network, JOIN if fresh else 0.0)

    async def remove(self, item: Item) -> None:
        """What the cloud has of it goes before the inner segment, by which it is known; but no packet waits for
        that."""
        segment = _segment(item)
        course = self._course(segment)
        others = await self._others(segment)
        failures: list[IntertieError] = []
        if others:
            await self._inner.ensure(replace(segment, remotes=(), flaw=""))
            await _keep(failures, self._ports.ensure(self._wish(course, others)))
        else:
            await self._perform(cables.unrender(course))
            await _keep(failures, self._switch.unplug(course.outer))
            await _keep(failures, self._ports.remove(course.network))
        if segment.kind is VpnKind.L2:
            await _keep(failures, self._ports.restore_pools(segment))
        if failures:
            raise failures[0]
        await self._inner.remove(segment)

    async def _lay(self, course: Course) -> None:
        have = (await self._namespaces.run(self._home, partial(cables.look, [course])))[course]
        await self._perform(cables.render(course, have, await self._userspace()))

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────

    def _course(self, segment: Segment) -> Course:
        return Course(self.site, segment.network, segment.bridge or bridge_name(segment.network))

    async def _look(self, courses: Collection[Course]) -> _Sight:
        found = await self._namespaces.run(self._home, partial(cables.look, courses))
        ports = await self._ports.sights()
        try:
            plugs, host = await self._switch.plugs(), await self._switch.host()
        except IntertieError as error:
            return _Sight(found, {}, ports, True, error.detail)
        return _Sight(found, plugs, ports, host.userspace)

    async def _judged(self, segment: Segment, sight: _Sight) -> Segment:
        course = self._course(segment)
        flaws = [segment.flaw] if segment.flaw else []
        flaws += cables.flaws(course, sight.cables[course], sight.userspace)
        flaws += [sight.problem] if sight.problem else self._plug_flaws(course, sight)
        port = sight.ports.get(course.network) if sight.ports is not None else None
        if sight.ports is not None and port is None:
            flaws.append("its port is not in the cloud")
        elif port is not None and port.flaw:
            flaws.append(port.flaw)
        if segment.kind is VpnKind.L2 and (wide := await self._ports.pools_flaw(segment)):
            flaws.append(wide)
        return replace(segment, flaw="; ".join(flaws))

    def _plug_flaws(self, course: Course, sight: _Sight) -> list[str]:
        plug = sight.plugs.get(course.network)
        port = sight.ports.get(course.network) if sight.ports is not None else None
        if plug is None or plug.device != course.outer:
            return [f"not plugged into {self._switch.bridge}"]
        if port is not None and (plug.port, plug.mac) != (port.id, port.mac):
            return [f"plugged into {self._switch.bridge} as another port"]
        outer = sight.cables[course].outer
        if outer is not None and outer.index != plug.index:
            return ["Open vSwitch holds an end of it that is gone"]
        return [plug.flaw] if plug.flaw else []

    async def _lacking(self) -> str:
        try:
            host = await self._switch.host()
        except IntertieError as error:
            return error.detail
        if not host.bridge:
            return f"Open vSwitch has no bridge {self._switch.bridge}"
        return await self._ports.lacking()

    async def _userspace(self) -> bool:
        """True also where that cannot be told: then checksums are filled in for nothing."""
        try:
            return (await self._switch.host()).userspace
        except IntertieError:
            return True

    async def _others(self, segment: Segment) -> tuple[Segment, ...]:
        """The other segments on the same network."""
        there = (item for item in await self._inner.observe(None) if isinstance(item, Segment))
        return tuple(each for each in there if each.network == segment.network and key(each) != key(segment))

    def _wish(self, course: Course, segments: Collection[Segment]) -> PortWish:
        """With the MAC of the network's router: it is for the port's MAC that the cloud answers when somebody asks
        for a gateway."""
        gateways = (g.ip for each in segments if each.kind is VpnKind.L3 for g in each.gateways)
        mac = router_mac(self.site, course.network, port=False)
        return PortWish(network=course.network, mac=mac, addresses=frozenset(gateways))

    async def _plug(self, course: Course, port: PortSight) -> bool:
        """Whether that was anything new."""
        outer = (await self._namespaces.run(self._home, partial(cables.look, [course])))[course].outer
        want = Plug(
            device=course.outer,
            network=course.network,
            port=port.id,
            mac=port.mac,
            bridge=self._switch.bridge,
            index=outer.index if outer is not None else 0,
        )
        return await self._switch.plug(want)

    async def _perform(self, steps: Sequence[Step]) -> None:
        if steps:
            await perform(self._namespaces, tuple((self._home, step) for step in steps))

    # ── News ───────────────────────────────────────────────────────────────────────────────────────────

    async def _switch_news(self) -> AsyncIterator[Key]:
        async for networks in self._switch.changes():
            for course, keys in list(self._seen.items()):
                if course.network in networks or "" in networks:
                    for each in sorted(keys):
                        yield each

    async def _cable_news(self) -> AsyncIterator[Key]:
        async for news in link_news(self._namespaces, self._home):
            name = news[1].name if news is not None else ""
            for course, keys in list(self._seen.items()):
                if not name or name in course.names:
                    for each in sorted(keys):
                        yield each


def _segment(item: Item) -> Segment:
    if not isinstance(item, Segment):
        raise Refused(f"a transport carries segments, not {type(item).__name__}")
    return item


async def _keep(failures: list[IntertieError], deed: Awaitable[object]) -> None:
    """Do it, and keep why it could not be done: what comes after it is done all the same."""
    try:
        await deed
    except IntertieError as error:
        failures.append(error)

"""Transport `bgpvpn`: a Vpn of the cloud's own BGPVPN service, whatever stands behind that.

Each site makes one object, of the project whose network it is, with the Vpn's route target; the clouds' routers or
agents do the rest among themselves. It is joined to the network last, and parted from it first: while it is joined,
the network gives out this site's part of the addresses only.

An object of that API has no room but in its name, `intertie SITE VPN NETWORK`. What it does not bear (who else is in
the Vpn, its epoch, its gateways) the service has no use for: it is kept in mind, and after a restart the first round
finds each segment "changed" and writes nothing.

Who is let in is for the clouds' fabric to say: whoever imports the route target is. A site that leaves takes its own
object away; that it does, the fabric's own policy must see to. Nothing of ours is on such a segment, so that no probe
crosses it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from intertie.drivers.linux.frames import Place
from intertie.drivers.openstack.neutron import Bgpvpn, Net, Neutron
from intertie.drivers.openstack.pools import Pools
from intertie.drivers.openstack.view import Sight, View
from intertie.model.bodies import Endpoint, TransportFacts, VpnKind
from intertie.model.errors import IntertieError, NotFound, Refused, Unavailable
from intertie.model.items import Item, ItemKind, Key, Segment, key
from intertie.planning.identity import bridge_name

NAME = "bgpvpn"
EXTENSION = "bgpvpn"
MARK = "intertie"
TRIAL = "try"
"""The Vpn that an object is named after which was only to show whether it may be made."""
GOOD_FOR = 4.0
"""Seconds."""
POLL = 5.0
"""Seconds between looks for changes that nobody tells of."""
ROUTERS = "network:router_"
MTU = 1500
"""Of a cloud that has no network yet."""


@dataclass(frozen=True, slots=True)
class Joint:
    """What is associated: a network, or the router that has it for its only one."""

    network: str = ""
    router: str = ""


class BgpvpnTransport:
    """Satisfies `agent.ports.Transport` over a region's BGPVPN service."""

    def __init__(self, site: str, neutron: Neutron, view: View, pools: Pools, *, good_for: float = GOOD_FOR) -> None:
        self._site = site
        self._neutron = neutron
        self._view = view
        self._pools = pools
        self._good_for = good_for
        self._mind: dict[Key, Segment] = {}
        self._seen: Sequence[Bgpvpn] = ()
        self._until = float("-inf")
        self._may: frozenset[VpnKind] = frozenset()
        """What was made once to try."""

    async def probe(self) -> TransportFacts:
        """What the service lets this site make, tried out once: an object that is joined to nothing does nothing."""
        reason = ""
        try:
            if EXTENSION not in await self._neutron.extensions():
                reason = f"{self._neutron.name} has no BGPVPN service"
            elif not self._may:
                await self._view.look()  # the MTUs of its networks
                self._may = await self._try()
        except IntertieError as error:
            reason = error.detail
        seen = self._view.last
        mtu = max((net.mtu for net in seen.networks.values()), default=MTU) if seen is not None else MTU
        may = frozenset[VpnKind]() if reason else self._may
        return TransportFacts(
            name=NAME, ok=bool(may), l2=VpnKind.L2 in may, l3=VpnKind.L3 in may, underlay_mtu=mtu, reason=reason
        )

    def place(self, segment: Segment) -> Place | None:
        return None

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        """This site's segments as the service has them. Unavailable while the cloud is silent."""
        mine: dict[Key, list[Bgpvpn]] = {}
        for each in await self._look():
            if (k := self._key(each)) is not None and (keys is None or k in keys):
                mine.setdefault(k, []).append(each)
        sight = await self._view.look() if mine else None
        if keys is None:
            self._mind = {k: segment for k, segment in self._mind.items() if k in mine}
        return [self._segment(k, found, sight) for k, found in sorted(mine.items()) if sight is not None]

    async def changes(self) -> AsyncIterator[Key]:
        """Keys of segments that are not as they were a moment ago."""
        before: dict[Key, Item] | None = None
        while True:
            await asyncio.sleep(POLL)
            try:
                now = {key(item): item for item in await self.observe(None)}
            except IntertieError:
                continue
            for k in sorted({*now, *(before or {})}):
                if before is not None and now.get(k) != before.get(k):
                    yield k
            before = now

    async def ensure(self, item: Item) -> None:
        """Make it so. Refused: what the service cannot carry without joining more than the Vpn's network."""
        segment = _segment(item)
        if not segment.route_target:
            raise Refused(f"Vpn {segment.vpn} has no route target", hint="make it anew: it is older than bgpvpn here")
        net = await self._view.find(self._site, segment.network)
        joint = _joint(net, await self._view.look(), segment)
        wanted = () if segment.blocked else (joint,)
        have = await self._object(segment, net)
        if set(_joints(have)) - set(wanted):
            self._stale()
            await self._neutron.dissociate(have)
            have = replace(have, networks=frozenset(), routers=frozenset())
        if segment.kind is VpnKind.L2:
            await self._pools.cut(segment)
        for each in wanted:
            if each not in _joints(have):
                self._stale()
                await self._neutron.associate(have, network=each.network, router=each.router)
        self._mind[key(segment)] = segment

    async def remove(self, item: Item) -> None:
        """Take it away; absent already is success."""
        segment = _segment(item)
        self._stale()
        mine = [each for each in await self._look() if self._key(each) == key(segment)]
        for each in mine:
            if _joints(each):
                await self._neutron.dissociate(each)
        if segment.kind is VpnKind.L2:
            await self._pools.restore(segment)
        self._stale()
        for each in mine:
            await self._neutron.delete_bgpvpn(each.id)
        self._mind.pop(key(segment), None)

    # ── The object ─────────────────────────────────────────────────────────────────────────────────────────

    async def _object(self, segment: Segment, net: Net) -> Bgpvpn:
        """The segment's one, made if it is not there. One that is of another kind or target is made anew: it was
        never the Vpn's."""
        want = Bgpvpn(
            name=f"{MARK} {self._site} {segment.vpn} {segment.network}",
            project=net.project,
            layer=segment.kind.value,
            route_targets=frozenset({segment.route_target}),
        )
        self._stale()
        mine = [each for each in await self._look() if each.name == want.name]
        same = [each for each in mine if _bare(each) == want]
        for each in mine:
            if each not in same[:1]:  # also what was answered too late
                await self._neutron.delete_bgpvpn(each.id)
        if same:
            return same[0]
        self._stale()
        try:
            return await self._neutron.create_bgpvpn(want)
        except Unavailable:
            # It may have been done all the same: its name tells.
            made = next((each for each in await self._look() if _bare(each) == want), None)
            if made is None:
                raise
            self._stale()
            return made

    async def _try(self) -> frozenset[VpnKind]:
        """The kinds that may be made. What the last of them raised if none may be."""
        self._stale()
        for left in await self._look():
            if left.name == f"{MARK} {self._site} {TRIAL}":
                await self._neutron.delete_bgpvpn(left.id)
        self._stale()
        may: set[VpnKind] = set()
        problem: IntertieError | None = None
        for kind in VpnKind:
            wish = Bgpvpn(
                name=f"{MARK} {self._site} {TRIAL}", project="", layer=kind.value, route_targets=frozenset()
            )
            try:
                made = await self._neutron.create_bgpvpn(wish)
            except IntertieError as error:
                problem = error
                continue
            may.add(kind)
            await self._neutron.delete_bgpvpn(made.id)
        if problem is not None and not may:
            raise problem
        return frozenset(may)

    # ── Looking ────────────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> Sequence[Bgpvpn]:
        now = asyncio.get_running_loop().time()
        if now > self._until:
            try:
                self._seen = await self._neutron.bgpvpns()
            except NotFound:  # there is no such service
                self._seen = ()
            self._until = now + self._good_for
        return self._seen

    def _stale(self) -> None:
        self._until = float("-inf")

    def _key(self, found: Bgpvpn) -> Key | None:
        words = found.name.split(" ")
        if len(words) != 4 or words[:2] != [MARK, self._site]:
            return None
        return (ItemKind.SEGMENT, f"{words[2]}/{words[3]}")

    def _segment(self, k: Key, found: Sequence[Bgpvpn], sight: Sight) -> Segment:
        """As it was wished, so far as the service bears it out."""
        first = min(found, key=lambda each: each.id)
        wished = self._mind.get(k)
        segment = wished or _told(k, first)
        flaws = ["made more than once"] if len(found) > 1 else []
        if (first.layer, first.route_targets) != (segment.kind.value, frozenset({segment.route_target})):
            flaws.append(
                f"an {first.layer} object with route target {', '.join(sorted(first.route_targets)) or 'none'}"
            )
        net = sight.find(self._site, segment.network)
        if net is None:
            flaws.append("its network has gone")
        elif wished is not None:
            flaws += self._joint_flaws(first, net, sight, segment)
        if segment.kind is VpnKind.L2 and wished is not None and (wide := self._pools.flaw(segment)):
            flaws.append(wide)
        return replace(segment, flaw="; ".join(flaws))

    def _joint_flaws(self, found: Bgpvpn, net: Net, sight: Sight, segment: Segment) -> list[str]:
        try:
            want = () if segment.blocked else (_joint(net, sight, segment),)
        except Refused as error:
            return [error.detail]
        return [] if set(_joints(found)) == set(want) else ["not joined to its network, or to more than that"]


def _segment(item: Item) -> Segment:
    if not isinstance(item, Segment):
        raise Refused(f"a transport carries segments, not {type(item).__name__}")
    return item


def _told(k: Key, found: Bgpvpn) -> Segment:
    """What the object alone says."""
    vpn, _, network = k[1].partition("/")
    return Segment(
        vpn=vpn,
        kind=VpnKind(found.layer),
        epoch=0,
        vni=0,
        network=network,
        bridge=bridge_name(network),
        local=Endpoint(address=IPv4Address(0)),
        mtu=0,
        remotes=(),
        transport=NAME,
        route_target=min(found.route_targets, default=""),
    )


def _bare(found: Bgpvpn) -> Bgpvpn:
    return replace(found, id="", networks=frozenset(), routers=frozenset())


def _joints(found: Bgpvpn) -> list[Joint]:
    return [Joint(network=n) for n in sorted(found.networks)] + [Joint(router=r) for r in sorted(found.routers)]


def _joint(net: Net, sight: Sight, segment: Segment) -> Joint:
    """An L3 Vpn of a network that a router serves needs the router: hosts send there what is for others. It joins all
    networks that the router has. Refused if it has more than this one."""
    routers = {p.device_id for p in sight.ports.get(net.id, ()) if p.device_owner.startswith(ROUTERS)}
    if segment.kind is VpnKind.L2 or not routers:
        return Joint(network=net.id)
    for router in sorted(routers):
        served = {
            other
            for other, ports in sight.ports.items()
            if any(p.device_id == router and p.device_owner.startswith(ROUTERS) for p in ports)
        }
        if served == {net.id}:
            return Joint(router=router)
        names = sorted(sight.networks[n].name for n in served - {net.id} if n in sight.networks)
        name = sight.routers.get(router, router)
        raise Refused(
            f"router {name} of network {net.name} serves {', '.join(names)} too: a BGP VPN would join them all",
            code="in-use",
            hint="give the network a router of its own",
        )
    raise AssertionError("not reached")

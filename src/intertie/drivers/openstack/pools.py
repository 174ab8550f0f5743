"""What a network of the cloud gives out by itself, while it is in an L2 Vpn: the addresses that this site holds.

A network that was there keeps what it gave out before in tags on its subnets, `intertie:pool=FIRST-LAST`, set
before the pools are cut; when the Vpn leaves, they are put back. A network that we made for the Vpn gets its subnets
here, and not before: Neutron gives out addresses from the moment that a subnet is, and only the segment says which
are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from ipaddress import ip_address

from intertie.drivers.openstack.neutron import Net, Neutron, Subnet
from intertie.drivers.openstack.view import Sight, View, made_by
from intertie.model.bodies import Address, Prefix, Range
from intertie.model.errors import IntertieError, NotFound, Refused
from intertie.model.items import Segment
from intertie.planning import ranges

TAG = "intertie:pool="
NONE = f"{TAG}none"
"""It gave out nothing."""


class Pools:
    """Of the networks of one region."""

    def __init__(self, site: str, neutron: Neutron, view: View) -> None:
        self._site = site
        self._neutron = neutron
        self._view = view

    async def cut(self, segment: Segment) -> None:
        """Have the segment's network give out its ranges only. Refused if a subnet that is to be made would have
        nothing to give out. What cannot be done with one subnet keeps none of the others from it."""
        if not await self._lacking(segment):
            return
        self._view.stale()  # what is noted of a subnet is what it has now
        failures: list[IntertieError] = []
        for there, want in await self._lacking(segment):
            try:
                async with self._view.changing():
                    await self._set(there, want)
            except IntertieError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _lacking(self, segment: Segment) -> list[tuple[Subnet | None, Subnet]]:
        """Subnets that are not as they are to be: what is there, and what is wanted."""
        net = await self._view.find(self._site, segment.network)
        have = _readable((await self._view.look()).subnets.get(net.id, ()))
        there = {subnet.id: subnet for subnet in have}
        wish = wanted(self._site, net, have, segment)
        return [(there.get(want.id), want) for want in wish if there.get(want.id) != want]

    async def _set(self, there: Subnet | None, want: Subnet) -> None:
        if there is None:
            await self._neutron.create_subnet(want)
            return
        if want.tags != there.tags:  # first: what is not noted could not be put back
            await self._neutron.tag_subnet(want.id, want.tags)
        await self._neutron.update_subnet(want)

    async def restore(self, segment: Segment) -> None:
        """Have it give out what it did before, but its gateway. What is gone needs nothing."""
        if not await self._noted(segment):
            return
        self._view.stale()  # tags of others stay as they are now
        failures: list[IntertieError] = []
        for subnet, before in await self._noted(segment):
            left = _without(subnet.prefix, subnet.gateway, before)
            try:
                async with self._view.changing():
                    await self._neutron.update_subnet(replace(subnet, pools=left))
                    await self._neutron.tag_subnet(subnet.id, {t for t in subnet.tags if not t.startswith(TAG)})
            except NotFound:
                continue
            except IntertieError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _noted(self, segment: Segment) -> list[tuple[Subnet, tuple[Range, ...]]]:
        """Subnets that say what they gave out before, and that."""
        sight = await self._view.look()
        net = sight.find(self._site, segment.network)
        subnets = sight.subnets.get(net.id, ()) if net is not None else ()
        return [(subnet, before) for subnet in subnets if (before := noted(subnet.tags)) is not None]

    def flaw(self, segment: Segment) -> str:
        """What it gives out beside, as lately seen, in words; "" also if that is not known."""
        sight = self._view.last
        net = sight.find(self._site, segment.network) if sight is not None else None
        if sight is None or net is None:
            return ""
        return _flaw(self._site, sight, net, segment)


def _readable(subnets: Iterable[Subnet]) -> list[Subnet]:
    return [subnet for subnet in subnets if not subnet.flaw]


def _flaw(site: str, sight: Sight, net: Net, segment: Segment) -> str:
    have = {s.id: s for s in _readable(sight.subnets.get(net.id, ()))}
    try:
        want = wanted(site, net, have.values(), segment)
    except Refused as error:
        return error.detail
    for subnet in want:
        there = have.get(subnet.id)
        if there is None:
            return f"no subnet {subnet.prefix}"
        if there != subnet:
            return f"subnet {there.name or there.id} gives out {_words(there.pools)}, not {_words(subnet.pools)}"
    return ""


def wanted(site: str, net: Net, have: Iterable[Subnet], segment: Segment) -> list[Subnet]:
    """The network's subnets as they are to be; one that is to be made has no id. Refused: nothing to give out."""
    made = made_by(site, net)
    there = {s.prefix: s for s in have}
    if made is None:
        return [_cut(subnet, segment) for subnet in there.values() if _touches(subnet.prefix, segment.ranges)]
    gateways: dict[Prefix, Address] = {g.network: g.ip for g in segment.gateways}
    found = []
    for prefix in made.prefixes:
        name = f"{net.name}-v{prefix.version}"
        new = Subnet(network=net.id, name=name, project=net.project, prefix=prefix, tags=frozenset({"intertie"}))
        gateway = gateways.get(prefix)
        pools = _without(prefix, gateway, segment.ranges)
        if prefix not in there and not pools:
            # Of a subnet that is made without pools Neutron gives out everything.
            raise Refused(f"no address of {prefix} is left to give out here", code="prefix-too-small")
        found.append(replace(there.get(prefix, new), gateway=gateway, pools=pools))
    return found


def _cut(subnet: Subnet, segment: Segment) -> Subnet:
    """A subnet that was there: its gateway is its own."""
    tags = subnet.tags if noted(subnet.tags) is not None else subnet.tags | note(subnet.pools)
    return replace(subnet, pools=_without(subnet.prefix, subnet.gateway, segment.ranges), tags=tags)


def _without(prefix: Prefix, gateway: Address | None, held: Collection[Range]) -> tuple[Range, ...]:
    """What is held of the prefix, but the gateway."""
    out = [(int(gateway), int(gateway))] if gateway is not None and gateway in prefix else []
    return ranges.ranges_of(ranges.subtract(ranges.spans_of(held, prefix), out), prefix)


def _touches(prefix: Prefix, held: Iterable[Range]) -> bool:
    return any(r.first.version == prefix.version and r.first in prefix for r in held)


def note(pools: Collection[Range]) -> frozenset[str]:
    """Tags that say what is given out."""
    return frozenset(f"{TAG}{r.first}-{r.last}" for r in pools) or frozenset({NONE})


def noted(tags: Iterable[str]) -> tuple[Range, ...] | None:
    """What the tags say was given out; None if they say nothing that can be read."""
    said = sorted(tag for tag in tags if tag.startswith(TAG))
    found: list[Range] = []
    for tag in said:
        first, _, last = tag.removeprefix(TAG).partition("-")
        try:
            found.append(Range(first=ip_address(first), last=ip_address(last)))
        except ValueError:  # "none", or somebody's own words
            continue
    if not found and NONE not in said:
        return None
    return tuple(sorted(found, key=lambda r: (r.first.version, int(r.first))))


def _words(pools: Collection[Range]) -> str:
    return ", ".join(f"{r.first}–{r.last}" for r in pools) or "nothing"

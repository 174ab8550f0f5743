"""A data plane in memory that evaluates: does a packet from a host at one site reach a host at another?

`FakeUnderlay` is the world: what carries packets between sites, the hosts on their bridges, and every segment that
stands, whoever's agent lives. `FakeTransport` is a driver on it that remembers nothing. It passes the transport
contract (`testing.transport_suite`), whose other subject is the kernel: a packet is sent where the segment here
says, carried unless a cut is in its way, and let in only as the segment there says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from intertie.model.bodies import Address, Endpoint, VpnKind
from intertie.model.errors import Conflict, Refused
from intertie.model.items import Item, Key, Remote, Segment, key

Hindrance = Callable[[str, str, Key | None], Awaitable[None]]
"""Called before each (site, verb, key), to wait or to raise. Verbs: observe, ensure, remove."""


async def _unhindered(site: str, verb: str, k: Key | None) -> None:
    return None


Watch = Callable[[str, Segment | None, Segment | None], None]
"""Called after each change that a driver made: (site, before, after)."""


def _unwatched(site: str, before: Segment | None, after: Segment | None) -> None:
    return None


@dataclass(slots=True)
class FakeUnderlay:
    """The world. Everything in it may be changed by a test; `tell` if the system would."""

    segments: dict[str, dict[Key, Segment]] = field(default_factory=dict)
    """Per site, what its data plane holds."""
    hosts: dict[tuple[str, str], set[Address]] = field(default_factory=dict)
    """(site, bridge) → the addresses of the hosts on it."""
    cuts: set[tuple[str, str]] = field(default_factory=set)
    """(from, to)"""
    writes: int = 0
    hindrance: Hindrance = _unhindered
    watch: Watch = _unwatched
    listeners: dict[str, list[asyncio.Queue[Key]]] = field(default_factory=dict)

    def cut(self, a: str, b: str, back: bool = True) -> None:
        """Nothing crosses from `a` to `b`, nor `back`."""
        self.cuts.add((a, b))
        if back:
            self.cuts.add((b, a))

    def heal(self) -> None:
        self.cuts.clear()

    def tell(self, site: str, k: Key) -> None:
        for listener in self.listeners.get(site, []):
            listener.put_nowait(k)

    def wrote(self, site: str, before: Segment | None, after: Segment | None) -> None:
        self.writes += 1
        self.watch(site, before, after)
        segment = before or after
        assert segment is not None
        self.tell(site, key(segment))

    def damage(self, site: str, k: Key, flaw: str = "broken by hand") -> None:
        """Somebody breaks a segment: it is still there, says what is wrong, and forwards nothing."""
        self.segments[site][k] = replace(self.segments[site][k], flaw=flaw)
        self.tell(site, k)

    def crosses(self, vpn: str, a: str, b: str) -> bool:
        """Whether what `a`'s segment of the Vpn sends to `b` comes out of a segment there."""
        return any(
            site == b
            for segment in self.segments.get(a, {}).values()
            if segment.vpn == vpn
            for remote in segment.remotes
            if remote.site == b
            for site, _ in self._arrivals(a, segment, remote)
        )

    def reaches(self, site: str, bridge: str, source: Address, target: Address) -> bool:
        """Whether a packet from a host on a bridge of a site comes to the host that has the target address."""
        if target in self.hosts.get((site, bridge), set()):
            return True
        return any(
            target in self.hosts.get((there, far.bridge), set()) and _admits(far, near, source, target)
            for near in self.segments.get(site, {}).values()
            if near.bridge == bridge
            for remote in near.remotes
            if near.kind is VpnKind.L2 or any(target in prefix for prefix in remote.prefixes)
            for there, far in self._arrivals(site, near, remote)
        )

    def _arrivals(self, site: str, near: Segment, remote: Remote) -> Iterator[tuple[str, Segment]]:
        """Where the segment's packets to a remote come out: whoever is at its endpoints, and lets us in."""
        if near.blocked or near.flaw:
            return
        places = {(e.address, e.port) for e in remote.endpoints}
        for there, held in self.segments.items():
            if there == site or (site, there) in self.cuts:
                continue
            for far in held.values():
                at = (far.local.address, far.local.port)
                if far.vni == near.vni and at in places and not far.blocked and not far.flaw and _knows(far, near):
                    yield there, far


def _knows(far: Segment, near: Segment) -> bool:
    """The allow-list: the outer source is an endpoint of a remote."""
    return any(e.address == near.local.address for r in far.remotes for e in r.endpoints)


def _admits(far: Segment, near: Segment, source: Address, target: Address) -> bool:
    """L3: the inner source is one of that remote's prefixes, and the target is on the network there."""
    if far.kind is not near.kind:
        return False
    if far.kind is VpnKind.L2:
        return True
    accepted = (
        p for r in far.remotes if any(e.address == near.local.address for e in r.endpoints) for p in r.prefixes
    )
    return any(source in p for p in accepted) and any(target in g.network for g in far.gateways)


class FakeTransport:
    """Satisfies `agent.ports.Transport`; remembers nothing, the underlay does."""

    def __init__(self, site: str, underlay: FakeUnderlay) -> None:
        self._site = site
        self._underlay = underlay
        self._held = underlay.segments.setdefault(site, {})

    def held(self) -> list[Segment]:
        return list(self._held.values())

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        await self._underlay.hindrance(self._site, "observe", None)
        return [segment for k, segment in self._held.items() if keys is None or k in keys]

    async def changes(self) -> AsyncIterator[Key]:
        news: asyncio.Queue[Key] = asyncio.Queue()
        listeners = self._underlay.listeners.setdefault(self._site, [])
        listeners.append(news)
        try:
            while True:
                yield await news.get()
        finally:
            listeners.remove(news)

    async def ensure(self, item: Item) -> None:
        segment = _segment(item)
        await self._underlay.hindrance(self._site, "ensure", key(segment))
        for k, other in self._held.items():
            if k != key(segment) and other.vni == segment.vni:
                raise Conflict(f"VNI {segment.vni} is used on this machine by Vpn {other.vpn}")
        before = self._held.get(key(segment))
        if before != segment:
            self._held[key(segment)] = segment
            self._underlay.wrote(self._site, before, segment)

    async def remove(self, item: Item) -> None:
        segment = _segment(item)
        await self._underlay.hindrance(self._site, "remove", key(segment))
        gone = self._held.pop(key(segment), None)
        if gone is not None:
            self._underlay.wrote(self._site, gone, None)


def _segment(item: Item) -> Segment:
    if not isinstance(item, Segment):
        raise Refused(f"a transport carries segments, not {type(item).__name__}")
    return item


class FakeTransportRig:
    """The fake, as `testing.transport_suite` asks for it."""

    def __init__(self) -> None:
        self.underlay = FakeUnderlay()

    def transport(self, site: int) -> FakeTransport:
        return FakeTransport(f"s{site}", self.underlay)

    def endpoint(self, site: int, mac: str) -> Endpoint:
        return Endpoint(address=ip_address(f"192.0.2.{site}"), mac=mac)

    async def host(self, site: int, bridge: str, addresses: Collection[str], gateways: Collection[str]) -> None:
        held = self.underlay.hosts.setdefault((f"s{site}", bridge), set())
        held.update(ip_address(address) for address in addresses)

    async def pings(self, site: int, bridge: str, source: str, target: str) -> bool:
        asks, answers = ip_address(source), ip_address(target)
        there = [place for place, held in self.underlay.hosts.items() if answers in held and place[1] == bridge]
        return self.underlay.reaches(f"s{site}", bridge, asks, answers) and any(
            self.underlay.reaches(far, back, answers, asks) for far, back in there
        )

    async def writes(self) -> int:
        return self.underlay.writes

    async def damage(self, site: int, segment: Segment) -> None:
        self.underlay.damage(f"s{site}", key(segment))

    async def cut(self, site: int) -> None:
        for other in self.underlay.segments:
            self.underlay.cut(f"s{site}", other)

    async def heal(self, site: int) -> None:
        self.underlay.heal()

"""A data plane in memory that evaluates: does what one site's segment sends reach another's?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection

from intertie.model.items import Item, Key, Segment, key


class FakeUnderlay:
    """What carries packets between sites, and every segment that stands, whoever's agent lives."""

    def __init__(self) -> None:
        self.segments: dict[str, dict[Key, Segment]] = {}
        self.cuts: set[frozenset[str]] = set()
        self.writes = 0

    def cut(self, a: str, b: str) -> None:
        self.cuts.add(frozenset((a, b)))

    def heal(self) -> None:
        self.cuts.clear()

    def crosses(self, vpn: str, a: str, b: str) -> bool:
        """Whether a packet from `a`'s segment of the Vpn comes out of `b`'s: sent there, carried, and let in."""
        return frozenset((a, b)) not in self.cuts and any(
            _sends(s, b, t) and _lets_in(t, a, s)
            for s in self.segments.get(a, {}).values()
            for t in self.segments.get(b, {}).values()
            if s.vpn == vpn and s.vni == t.vni
        )


def _sends(segment: Segment, to: str, there: Segment) -> bool:
    addresses = {e.address for r in segment.remotes if r.site == to for e in r.endpoints}
    return not segment.blocked and there.local.address in addresses


def _lets_in(segment: Segment, source: str, there: Segment) -> bool:
    addresses = {e.address for r in segment.remotes if r.site == source for e in r.endpoints}
    return not segment.blocked and there.local.address in addresses


class FakeTransport:
    """Satisfies `agent.ports.Transport`; remembers nothing, the underlay does."""

    def __init__(self, site: str, underlay: FakeUnderlay) -> None:
        self._held = underlay.segments.setdefault(site, {})
        self._underlay = underlay

    def held(self) -> list[Segment]:
        return list(self._held.values())

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        return [s for k, s in self._held.items() if keys is None or k in keys]

    async def changes(self) -> AsyncIterator[Key]:
        await asyncio.Event().wait()
        yield next(iter(self._held))

    async def ensure(self, item: Item) -> None:
        if not isinstance(item, Segment):
            raise TypeError(f"a transport holds segments, not {item!r}")
        if self._held.get(key(item)) != item:
            self._held[key(item)] = item
            self._underlay.writes += 1

    async def remove(self, item: Item) -> None:
        if self._held.pop(key(item), None) is not None:
            self._underlay.writes += 1

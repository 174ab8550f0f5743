"""Several transports as one: each segment is carried by the one that its name says.

A Vpn's transport never changes (another one is another Vpn), so a segment belongs to the same driver for as long as
it lives, and is never looked for at two of them.

One that fails stops no other. Its silence is no word either: what it showed when it was last seen counts until it can
be seen again, so that a cloud that does not answer neither adds nor takes anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Protocol

from intertie.drivers.linux.frames import Place
from intertie.drivers.transport.merged import merged
from intertie.model.bodies import TransportFacts
from intertie.model.errors import Refused
from intertie.model.items import Item, Key, Segment, key


class Carrier(Protocol):
    """A transport as it is put among others: `agent.ports.Transport`, with what it can do and where it probes."""

    async def probe(self) -> TransportFacts:
        """What it can do here; `reason` says what is missing. Raises nothing for what is missing."""
        ...

    def place(self, segment: Segment) -> Place | None:
        """Where a segment's probes are sent and heard; None where nothing of ours is on it."""
        ...

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]: ...
    def changes(self) -> AsyncIterator[Key]: ...
    async def ensure(self, item: Item) -> None: ...
    async def remove(self, item: Item) -> None: ...


class SeveralTransports:
    """Satisfies `agent.ports.Transport` over transports by name."""

    def __init__(self, carriers: Mapping[str, Carrier]) -> None:
        self._carriers = dict(carriers)
        self._last: dict[str, dict[Key, Item]] = {}

    def place(self, segment: Segment) -> Place | None:
        carrier = self._carriers.get(segment.transport)
        return carrier.place(segment) if carrier is not None else None

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        """All that any of them shows; what one of them raised only if none can be looked at."""
        looks = (carrier.observe(keys) for carrier in self._carriers.values())
        sights = await asyncio.gather(*looks, return_exceptions=True)
        failures = [sight for sight in sights if isinstance(sight, BaseException)]
        if failures and len(failures) == len(sights):
            raise failures[0]
        shown: list[Item] = []
        for name, sight in zip(self._carriers, sights, strict=True):
            if isinstance(sight, BaseException):
                shown += self._as_before(name, keys)
            else:
                shown += self._remembered(name, keys, sight)
        return shown

    def changes(self) -> AsyncIterator[Key]:
        return merged([carrier.changes for carrier in self._carriers.values()])

    async def ensure(self, item: Item) -> None:
        await self._of(item).ensure(item)

    async def remove(self, item: Item) -> None:
        await self._of(item).remove(item)

    def _of(self, item: Item) -> Carrier:
        if not isinstance(item, Segment):
            raise Refused(f"a transport carries segments, not {type(item).__name__}")
        carrier = self._carriers.get(item.transport)
        if carrier is None:
            raise Refused(
                f"this site carries nothing by {item.transport}",
                code="no-common-transport",
                hint=f"here there is {', '.join(self._carriers)}",
            )
        return carrier

    def _remembered(self, name: str, keys: Collection[Key] | None, sight: Collection[Item]) -> Collection[Item]:
        """`sight`, noted in the place of what was seen before of the same keys."""
        kept = self._last.setdefault(name, {})
        for k in list(kept) if keys is None else keys:
            kept.pop(k, None)
        kept.update((key(item), item) for item in sight)
        return sight

    def _as_before(self, name: str, keys: Collection[Key] | None) -> Collection[Item]:
        return [item for k, item in self._last.get(name, {}).items() if keys is None or k in keys]

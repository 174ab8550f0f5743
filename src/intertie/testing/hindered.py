"""Drivers that have bad days: what clouds and kernels do to an agent, around any driver.

`Day` says what goes wrong at a site from now on; the wrappers stand between the agent and its drivers and carry it
out. They are also where a process may die before or after a driver did something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass

from intertie.agent.ports import Cloud, Transport
from intertie.model.errors import Unavailable
from intertie.model.items import Item, Key, NetworkFacts
from intertie.model.storage import Batch, Committed, Seal, Snapshot
from intertie.store.memory import MemoryStore

Point = Callable[[str], Awaitable[None]]
"""Where the process may die: awaited with the name of the crash point."""


@dataclass(slots=True)
class Day:
    """What goes wrong with a site's drivers."""

    failing: int = 0
    """That many calls to come fail,"""
    done: bool = False
    """though they took effect nevertheless (a time-out of the cloud)."""
    partial: int = 0
    """That many observations to come tell half of what is there."""
    slow: float = 0.0
    """Seconds that each call takes."""

    def clear(self) -> None:
        """All is well again."""
        self.failing, self.done, self.partial, self.slow = 0, False, 0, 0.0


class Hindered:
    """Common to both kinds of driver."""

    def __init__(self, inner: Cloud | Transport, day: Day, point: Point) -> None:
        self.inner = inner
        self._day = day
        self._point = point

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        if self._day.slow:
            await asyncio.sleep(self._day.slow)
        found = await self.inner.observe(keys)
        if self._day.partial:
            self._day.partial -= 1
            return tuple(found)[::2]
        return found

    def changes(self) -> AsyncIterator[Key]:
        return self.inner.changes()

    async def ensure(self, item: Item) -> None:
        await self._do(self.inner.ensure, item)

    async def remove(self, item: Item) -> None:
        await self._do(self.inner.remove, item)

    async def _do(self, verb: Callable[[Item], Awaitable[None]], item: Item) -> None:
        day = self._day
        await self._point("before-driver")
        if day.slow:
            await asyncio.sleep(day.slow)
        if day.failing:
            day.failing -= 1
            if day.done:
                await verb(item)
            raise Unavailable("the cloud answers 500: something went wrong", code="storage")
        await verb(item)
        await self._point("after-driver")


class HinderedCloud(Hindered):
    """Satisfies `ports.Cloud`."""

    def __init__(self, inner: Cloud, day: Day, point: Point) -> None:
        super().__init__(inner, day, point)
        self._cloud = inner

    async def inventory(self) -> tuple[NetworkFacts, ...]:
        return await self._cloud.inventory()

    async def free_bridges(self) -> tuple[str, ...]:
        return await self._cloud.free_bridges()


class WatchedStore:
    """A memory store whose forced writes are seen, and around whose commits a process may die."""

    def __init__(self, inner: MemoryStore, point: Point, wrote: Callable[[Committed], None]) -> None:
        self._inner = inner
        self._point = point
        self._wrote = wrote

    async def open(self, incarnation_at_least: int) -> Snapshot:
        return await self._inner.open(incarnation_at_least)

    async def commit(self, batch: Batch, seal: Seal) -> Committed:
        await self._point("before-write")
        done = await self._inner.commit(batch, seal)
        self._wrote(done)
        await self._point("after-write")
        return done

    async def close(self) -> None:
        await self._inner.close()

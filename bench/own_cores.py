"""The simulated world with a core for each site: what a site's code costs, in processor time, passes on that site's
own clock, and only there. So a federation of fifty on one machine takes the time that it would take on fifty.

Signatures are real ones. What the simulated world has no part for is charged as it was measured on the real thing in
the same run (`costs`): the processor time of a peer call at either end, and a forced write of the store.
"""

from __future__ import annotations

import asyncio
import random
from asyncio import TimerHandle
from collections.abc import Callable, Coroutine
from contextvars import Context
from dataclasses import dataclass, replace
from heapq import heappush
from pathlib import Path
from time import thread_time
from typing import Any, TypeVar

from bench.acquaintance import acquainted, founder
from bench.loopback import CALM
from intertie.agent.agent import Ports, Settings
from intertie.agent.recovery import LINEAGE
from intertie.federation import keys
from intertie.model.bodies import IntroductionBody
from intertie.model.records import Cursor, Draft
from intertie.model.storage import Batch, LocalEntry
from intertie.planning.admit import Situation
from intertie.planning.hearing import concerning
from intertie.testing.fake_ports import QuietLog
from intertie.testing.federation import Site, World
from intertie.testing.hindered import WatchedStore
from intertie.testing.simulated_network import Link
from intertie.testing.virtual_time import Process, VirtualLoop, current
from intertie.wiring import SiteKeys

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds, as measured on the real thing."""

    calling: float = 0.0
    """Processor time of a peer call (TLS, HTTP) where it is made,"""
    answering: float = 0.0
    """and where it is answered."""
    write: float = 0.0
    """Until a commit is on disk; nothing computes meanwhile."""


FREE = Costs()


class OwnCores(VirtualLoop):
    """Virtual time in which a process that computes is busy, and the others are not."""

    def __init__(self) -> None:
        super().__init__()
        self._busy: dict[Process, float] = {}
        self._begun: float | None = None
        self._spent = 0.0

    def time(self) -> float:
        """As the running process sees it: later by what it has computed since it was called."""
        return self.now if self._begun is None else self.now + thread_time() - self._begun + self._spent

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> TimerHandle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def spend(self, seconds: float) -> None:
        """The running process computes something that this world has no part for."""
        self._spent += seconds

    def _run_ready(self) -> None:
        while self.ready:
            process, handle = self.ready.popleft()
            if handle._cancelled:
                continue
            if process is None:
                handle._run()
                continue
            free = self._busy.get(process, 0.0)
            if free > self.now:
                self._order += 1
                heappush(self._timers, (free, self._order, process, handle))  # type: ignore[misc]
                continue
            self._begun, self._spent = thread_time(), 0.0
            handle._run()
            self._busy[process] = self.time()
            self._begun = None


class Even(random.Random):
    """Chance that always takes the middle: a delay that is the same every time."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def random(self) -> float:
        return 0.5


class Federation(World):
    """Sites s1, s2, … that know one another, each with the key of `folder`."""

    def __init__(self, folder: Path, costs: Costs = FREE) -> None:
        settings = Settings(name="", version="0", heartbeat=CALM, round_every=CALM)
        super().__init__(settings=settings)
        self.network.carried = None
        self._folder = folder
        self._costs = costs
        self._keys: dict[str, SiteKeys] = {}

    async def found(self, count: int) -> None:
        """Make that many sites, let them know one another, and wait until nobody has anything left to say."""
        names = [f"s{number}" for number in range(1, count + 1)]
        for name in names:
            self._keys[name] = SiteKeys(keys.create(self._folder / name, name))
            self.network.links |= {(name, other): Link(Even()) for other in names}
        for name in names:
            await self.site(name)
        for name in names:
            await self.running[name].agent.write(self._acquainted)
        for number, name in enumerate(names, start=1):
            await self.net(name, "own", f"10.{number}.0.0/24")
        await self.net("s1", "blue", "10.200.0.0/16")
        await self._introduce()
        for site in self.running.values():
            site.process.spawn(site.exchange.run())
            site.process.spawn(site.health.run())
        await self.quiet()
        await asyncio.sleep(5.0)

    def _run(self, site: Site) -> None:
        """Nobody speaks before everybody is there."""
        site.process.spawn(site.rounds.run())

    async def _introduce(self) -> None:
        """Everybody holds what everybody has to say, without the N³ signatures that hearing it would check."""
        agents = [site.agent for site in self.running.values()]
        for here in agents:
            others = [agent for agent in agents if agent is not here]
            records = tuple(r for other in others for r in concerning(other.table, here.site, Cursor()))
            read = {other.site: other.table.last() for other in others}
            lineage = tuple(LocalEntry(LINEAGE, other.site, other.boot) for other in others)
            acked = dict.fromkeys(read, here.table.last())
            await here._commit(Batch(peers=records, cursors=read, acked=acked, local=lineage))

    def _acquainted(self, situation: Situation) -> list[Draft]:
        here = situation.site
        others = [
            IntroductionBody(site=name, root=key.root, address=self.settings[name].address)
            for name, key in self._keys.items()
            if name != here
        ]
        return [*([founder(here)] if here == "s1" else []), *acquainted(situation, others)]

    async def quiet(self) -> None:
        await self.until(self.told, 3 * CALM)

    def told(self) -> bool:
        """Whether everybody holds what concerns it."""
        agents = [site.agent for site in self.running.values()]
        return not any(a.poke.is_set() for a in agents) and not any(
            concerning(a.table, b.site, b.cursors.get(a.site, Cursor())) for a in agents for b in agents if a is not b
        )

    def _ports(self, name: str, store: WatchedStore, log: QuietLog) -> Ports:
        return replace(super()._ports(name, store, log), keys=self._keys[name])

    async def _reach(self, name: str, point: str) -> None:
        """Where the simulator lets processes die, this one charges what the real thing costs there."""
        loop = asyncio.get_running_loop()
        if point == "before-write" and self._costs.write:
            await asyncio.sleep(self._costs.write)
        elif isinstance(loop, OwnCores) and current() is not None:
            loop.spend({"before-send": self._costs.calling, "before-reply": self._costs.answering}.get(point, 0.0))


class Moments:
    """The first time at which each of some conditions held, looked at whenever anything may have changed."""

    def __init__(self, **conditions: Callable[[], bool]) -> None:
        self._conditions = conditions
        self.at: dict[str, float] = {}

    async def watch(self, seconds: float, step: float = 0.0005) -> dict[str, float]:
        """Seconds from now to each; a condition that does not hold in time is left out."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while self.at.keys() != self._conditions.keys() and loop.time() - begun < seconds:
            for name, holds in self._conditions.items():
                if name not in self.at and holds():
                    self.at[name] = loop.time() - begun
            await asyncio.sleep(step)
        return self.at


def on_own_cores(main: Coroutine[Any, Any, T]) -> T:
    loop = OwnCores()  # type: ignore[abstract]
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def home(world: World) -> Site:
    return world.running["s1"]

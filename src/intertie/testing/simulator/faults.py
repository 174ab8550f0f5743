"""What breaks: every fault of a story, carried out on the world.

A fault that makes no sense where it comes (the site does not run, there is no copy to restore) does nothing, and is
not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from intertie.model.errors import IntertieError
from intertie.store.memory import Disk
from intertie.testing.federation import Armed, World
from intertie.testing.simulated_network import NOBODY
from intertie.testing.simulator.liars import lie
from intertie.testing.simulator.story import Step, Verb

POINTS = (
    "before-write",
    "after-write",
    "before-send",
    "after-send",
    "before-reply",
    "after-reply",
    "before-driver",
    "after-driver",
)
"""Where an agent may be made to die: around every durable write, every message, every change that a driver makes."""
RESTART = 5.0
"""Seconds after which a supervisor tries again to start an agent that could not start."""
WEATHER = {
    Verb.DROP: "drop",
    Verb.DUPLICATE: "duplicate",
    Verb.LATE: "late",
    Verb.RESET: "reset",
    Verb.HALF_OPEN: "half_open",
}


class Faults:
    """Carries out faults on a world, and ends those that end."""

    def __init__(self, world: World, struck: Callable[[Step], None], segment_of: Callable[[str], str]) -> None:
        self.world = world
        self._struck = struck
        self._segment_of = segment_of
        """Name of a Vpn → its id, as users were told."""
        self._copies: dict[str, Disk] = {}
        self._starting: dict[str, asyncio.Task[None]] = {}
        self._cloning: dict[str, asyncio.Task[None]] = {}
        self._deeds: dict[Verb, Callable[[Step], bool]] = {
            Verb.CUT: self._cut,
            Verb.HEAL: self._heal,
            Verb.CLOG: self._clog,
            Verb.CRASH: self._crash,
            Verb.START: self._start,
            Verb.PAUSE: self._pause,
            Verb.CLOCK: self._clock,
            Verb.DISK_FULL: self._disk_full,
            Verb.LOSE_STORE: self._lose_store,
            Verb.BACKUP: self._backup,
            Verb.RESTORE: self._restore,
            Verb.CLONE: self._clone,
            Verb.CLOUD_FAILS: self._cloud_fails,
            Verb.CLOUD_SLOW: self._cloud_slow,
            Verb.BREAK_SEGMENT: self._break_segment,
            Verb.OCCUPY: self._occupy,
            Verb.LIE: self._lie,
            Verb.MASS_RESTART: self._mass_restart,
            **dict.fromkeys(WEATHER, self._weather),
        }

    def handles(self, step: Step) -> bool:
        return step.verb in self._deeds

    def strike(self, step: Step) -> None:
        """Carry out one step."""
        known = step.site in self.world.settings or not step.site
        if known and (not step.other or step.other in self.world.settings) and self._deeds[step.verb](step):
            self._struck(step)

    async def mend_all(self) -> None:
        """The end of all faults: what is cut heals, what stands still goes on, what is down starts."""
        world = self.world
        world.armed.clear()
        for name in list(world.clones):
            world.end_clone(name)
        world.heal()
        for site in world.running.values():
            site.process.resume()
        for name in world.settings:
            world.disks[name].failures = 0
            world.disks[name].power_fails = None
            world.skews[name] = timedelta()
            world.days[name].clear()
        for name in world.settings:
            self.begin(name)
        await asyncio.gather(*self._starting.values())
        for site in world.running.values():
            for name in sorted(site.agent.pins()):
                # Whoever ended a copy says so, where somebody heard of it.
                await site.enrolment.approve(name)

    # ── Messages ───────────────────────────────────────────────────────────────────────────────────────────

    def _cut(self, step: Step) -> bool:
        self.world.network.silent_cuts = step.point == "silent"
        self.world.cut(step.site, step.other, back=bool(step.amount))
        if step.seconds:
            self._later(step.seconds, lambda: self.world.mend(step.site, step.other))
        return True

    def _heal(self, step: Step) -> bool:
        self.world.heal()
        return True

    def _weather(self, step: Step) -> bool:
        network, field = self.world.network, WEATHER[step.verb]
        amount = min(step.amount, 60.0 if field == "late" else 1.0)
        network.set_weather(
            step.site, step.other, replace(network.link(step.site, step.other).weather, **{field: amount})
        )

        def clear() -> None:
            now = network.link(step.site, step.other).weather
            network.set_weather(step.site, step.other, replace(now, **{field: 0.0}))

        self._later(step.seconds, clear)
        return True

    def _clog(self, step: Step) -> bool:
        self.world.network.clog(step.site, step.other)
        self._later(step.seconds, lambda: self.world.network.unclog(step.site, step.other))
        return True

    def _lie(self, step: Step) -> bool:
        if step.site not in self.world.running or step.other not in self.world.running:
            return False
        return lie(self.world, step.site, step.other, step.point)

    # ── Processes ──────────────────────────────────────────────────────────────────────────────────────────

    def _crash(self, step: Step) -> bool:
        if step.site not in self.world.running:
            return False
        if step.point:
            self.world.armed[step.site] = Armed(step.point, max(int(step.amount), 1))
        else:
            self.world.kill(step.site)
        return True

    def _start(self, step: Step) -> bool:
        if step.site in self.world.running:
            return False
        self.begin(step.site)
        return True

    def begin(self, name: str) -> None:
        """Start an agent, again and again until it starts, as a supervisor does."""
        if name not in self.world.running and name not in self._starting:
            self._starting[name] = asyncio.create_task(self._supervise(name))

    async def _supervise(self, name: str) -> None:
        try:
            while True:
                try:
                    await self.world.boot(name)
                    return
                except IntertieError:
                    self.world.disks[name].lose_power()
                    await asyncio.sleep(RESTART)
        finally:
            del self._starting[name]

    def _mass_restart(self, step: Step) -> bool:
        for name in list(self.world.running):
            self.world.kill(name)
        for name in self.world.settings:
            self.begin(name)
        return True

    def _pause(self, step: Step) -> bool:
        site = self.world.running.get(step.site)
        if site is None or site.process.paused:
            return False
        site.process.pause()
        self._later(min(step.seconds, 600.0), site.process.resume)
        return True

    def _clock(self, step: Step) -> bool:
        self.world.skews[step.site] += timedelta(seconds=step.amount)
        return True

    # ── Disks ──────────────────────────────────────────────────────────────────────────────────────────────

    def _disk_full(self, step: Step) -> bool:
        self.world.disks[step.site].failures = int(step.amount)
        return step.amount > 0

    def _lose_store(self, step: Step) -> bool:
        self._down(step.site)
        self.world.disks[step.site].lose()
        return True

    def _backup(self, step: Step) -> bool:
        self._copies[step.site] = self.world.disks[step.site].backup()
        return True

    def _restore(self, step: Step) -> bool:
        copy = self._copies.get(step.site)
        if copy is None:
            return False
        self._down(step.site)
        disk = self.world.disks[step.site]
        if step.point == "whole":
            disk.put_back_whole(copy)
        else:
            disk.put_back(copy)
        self.begin(step.site)
        return True

    def _clone(self, step: Step) -> bool:
        """It ends by itself; operators who know of it say so at the end of all faults only."""
        if step.site not in self.world.running or step.site in self.world.clones:
            return False
        self._cloning[step.site] = asyncio.create_task(self.world.clone(step.site))
        self._later(step.seconds, lambda: self.world.end_clone(step.site))
        return True

    def _down(self, name: str) -> None:
        if name in self.world.running:
            self.world.kill(name)

    # ── Clouds ─────────────────────────────────────────────────────────────────────────────────────────────

    def _cloud_fails(self, step: Step) -> bool:
        day = self.world.days[step.site]
        if step.point == "partial":
            day.partial = int(step.amount)
        else:
            day.failing, day.done = int(step.amount), step.point == "done"
        return step.amount > 0

    def _cloud_slow(self, step: Step) -> bool:
        day = self.world.days[step.site]
        day.slow = step.amount
        self._later(step.seconds, lambda: setattr(day, "slow", 0.0))
        return True

    def _break_segment(self, step: Step) -> bool:
        wanted = self._segment_of(step.name)
        for k, segment in self.world.underlay.segments.get(step.site, {}).items():
            if segment.vpn == wanted:
                self.world.underlay.damage(step.site, k)
                return True
        return False

    def _occupy(self, step: Step) -> bool:
        system = self.world.systems[step.site]
        for name, bridge in system.bridges.items():
            if bridge.network is None or bridge.network.name != step.name:
                continue
            if step.amount:
                system.occupy(name, "tap-foreign")
            elif bridge.foreign:
                system.vacate(name, "tap-foreign")
            else:
                return False
            return True
        return False

    def _later(self, seconds: float, end: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_later(seconds, end, context=NOBODY.copy())

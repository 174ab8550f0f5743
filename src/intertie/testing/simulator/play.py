"""Plays a story: a world of real agents in virtual time, users who ask, faults that strike, watchers who see it all.

    outcome = play(story)

The last step is followed by peace: everything is healed and started, the federation gets its time to come to rest,
and the watchers are told so. From then on nothing may change any more: not by rounds, not by heartbeats, not by
old messages that come once more.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace

from intertie.agent.access import Caller
from intertie.agent.agent import Settings
from intertie.model.errors import IntertieError
from intertie.model.items import Item, Segment
from intertie.model.records import Record
from intertie.model.storage import Committed
from intertie.model.views import HostView, NetworkView, VpnView
from intertie.testing.fake_cloud import FakeSystem
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.fake_transport import FakeUnderlay
from intertie.testing.federation import Site, World
from intertie.testing.simulator.faults import Faults
from intertie.testing.simulator.oracle import Oracle
from intertie.testing.simulator.recorder import Recorder
from intertie.testing.simulator.story import Outcome, Step, Story, Verb, Violation
from intertie.testing.simulator.users import Users
from intertie.testing.simulator.watch import Told, Watcher
from intertie.testing.virtual_time import VirtualLoop, run

SETTINGS = Settings(name="", version="0", heartbeat=20.0, round_every=10.0, probe_every=15.0, probe_window=46.0)
"""Idle beats, rounds and probes are sparse: news does not wait for them, and they would be most of what happens."""
ROUNDS = 31.0
"""Seconds in which everybody runs three rounds."""
ECHO = 30.0
"""Seconds in which whatever old messages stir up would show."""
REPLAYED = 3
"""Old messages of each link that come once more at the end."""
LATER = 0.3
"""Probability that a site runs a later version."""
HANGING = 180.0
"""Seconds after the last step in which every user has heard something."""


def play(story: Story, watchers: Sequence[Watcher] = (), *, keep_lines: bool = False, plant: str = "") -> Outcome:
    """Play a story and judge it. `plant` names a protocol bug to switch on (`plants`)."""
    with _planted(plant) if plant else nullcontext():
        return run(_Play(story, watchers, keep_lines).run())


def _planted(name: str):  # type: ignore[no-untyped-def]
    from intertie.testing.simulator.plants import PLANTS

    return PLANTS[name].apply()


def _paced(pace: float) -> Settings:
    return replace(
        SETTINGS,
        heartbeat=SETTINGS.heartbeat * pace,
        round_every=SETTINGS.round_every * pace,
        probe_every=SETTINGS.probe_every * pace,
        probe_window=SETTINGS.probe_window * pace,
    )


class _Play:
    """One run of a story."""

    def __init__(self, story: Story, watchers: Sequence[Watcher], keep_lines: bool) -> None:
        self.story = story
        self.world = World(story.seed, story.delay, _paced(story.pace))
        self.world.network.carried = None
        # Versions are mixed (I20): some sites sign more than this version reads.
        self.world.later = lambda name: random.Random(f"{story.seed}/version/{name}").random() < LATER
        self.oracle = Oracle(_Stage(self.world))
        self.recorder = Recorder(keep_lines)
        self.watchers: tuple[Watcher, ...] = (self.recorder, self.oracle, *watchers)
        self.faults = Faults(self.world, self._struck, lambda name: self.users.vpns.get(name, ""))
        self.users = Users(self.world, self._asked, self._told)
        self.counted: Counter[str] = Counter()
        self.heard: Counter[str] = Counter()

    async def run(self) -> Outcome:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        try:
            await self._stand()
            self._watch()
            begun, events = loop.time(), loop.events
            for step in self.story.steps:
                await self._sleep_until(begun + step.at)
                self._do(step)
            await self._come_to_rest()
            return self._outcome(loop.events - events, loop.time() - begun)
        finally:
            await self.world.close()

    async def _stand(self) -> None:
        """The sites know each other, and let each other's users in."""
        first = self.story.sites[0]  # of a shortened story it may be the hidden one: then nobody could join
        for name in self.story.sites:
            await self.world.site(name, reachable=name not in self.story.hidden[:1] or name == first)
        if len(self.story.sites) > 1:
            await self.world.enrol(*self.story.sites)

    def _do(self, step: Step) -> None:
        if self.users.handles(step):
            self.users.ask(step)
        else:
            self.faults.strike(step)

    async def _come_to_rest(self) -> None:
        await self._until_idle(HANGING)
        await self.faults.mend_all()
        self._struck(Step(at=0.0, verb=Verb.HEAL))
        await self._until_idle(HANGING)
        await asyncio.sleep(self.story.calm)
        for watcher in self.watchers:
            watcher.rested(self._now())
        await asyncio.sleep(ROUNDS * self.story.pace)
        network = self.world.network
        for (a, b), link in sorted(network.links.items()):
            for body in list(link.requests)[:: max(len(link.requests) // REPLAYED, 1)]:
                network.replay(a, b, body)
        await asyncio.sleep(ECHO * self.story.pace)

    async def _until_idle(self, seconds: float) -> None:
        if self.users.busy:
            await asyncio.wait(tuple(self.users.busy), timeout=seconds)

    async def _sleep_until(self, when: float) -> None:
        if (left := when - self._now()) > 0:
            await asyncio.sleep(left)

    def _outcome(self, events: int, simulated: float) -> Outcome:
        violations = (*self.oracle.violations, *self._inner_errors())
        return Outcome(
            story=self.story,
            violations=violations,
            trace=self.recorder.hexdigest(),
            events=events,
            simulated=simulated,
            faults=dict(sorted(self.counted.items())),
            told=dict(sorted(self.heard.items())),
            lines=self.recorder.lines,
        )

    def _inner_errors(self) -> Iterable[Violation]:
        """What broke inside an agent beyond the errors that it knows: no fault of the world excuses that."""
        sites: list[Site] = [*self.world.ended, *self.world.running.values()]
        for site in sites:
            for event, trace in site.log.exceptions:
                yield Violation(invariant="no inner error", at=self._now(), what=f"{site.name}: {event}: {trace}")
            for error in site.process.failed:
                if not isinstance(error, (IntertieError, TimeoutError)):
                    yield Violation(invariant="no inner error", at=self._now(), what=f"{site.name}: {error!r}")

    # ── What is seen ───────────────────────────────────────────────────────────────────────────────────────

    def _watch(self) -> None:
        world = self.world
        self.oracle.begin()
        world.wrote = self._wrote
        world.underlay.watch = self._forwarded
        world.network.watch = self._sent
        world.made = self._made
        for name in world.settings:
            self._made(name)

    def _made(self, name: str) -> None:
        def changed(before: Item | None, after: Item | None) -> None:
            for watcher in self.watchers:
                watcher.changed(self._now(), name, before, after)

        self.world.systems[name].watch = changed

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _wrote(self, site: str, done: Committed) -> None:
        puts = {r.id: r for r in (*done.written, *done.accepted)}
        if puts:
            for watcher in self.watchers:
                watcher.wrote(self._now(), site, puts)

    def _forwarded(self, site: str, before: Segment | None, after: Segment | None) -> None:
        for watcher in self.watchers:
            watcher.forwarded(self._now(), site, before, after)

    def _sent(self, site: str, to: str, what: str, fate: str) -> None:
        if fate not in ("goes", "cut"):
            self.counted[f"message {fate}"] += 1
        for watcher in self.watchers:
            watcher.sent(self._now(), site, to, what, fate)

    def _struck(self, step: Step) -> None:
        self.counted[step.verb.value if not step.point else f"{step.verb.value} {step.point}"] += 1
        for watcher in self.watchers:
            watcher.struck(self._now(), step)

    def _asked(self, step: Step) -> None:
        for watcher in self.watchers:
            watcher.asked(self._now(), step)

    def _told(self, told: Told) -> None:
        self.heard[f"{told.step.verb.value} {told.code}"] += 1
        for watcher in self.watchers:
            watcher.told(told)


class _Stage:
    """`oracle.Outside`: what there is to see when everything rests."""

    def __init__(self, world: World) -> None:
        self._world = world

    def sites(self) -> Sequence[str]:
        return tuple(self._world.settings)

    def runs(self, site: str) -> bool:
        return site in self._world.running

    def system(self, site: str) -> FakeSystem:
        return self._world.systems[site]

    def underlay(self) -> FakeUnderlay:
        return self._world.underlay

    def records(self, site: str) -> Mapping[str, Record]:
        return self._world.disks[site].records()

    def genuine(self, record: Record) -> bool:
        return FakeKeys(record.home, self._world.secrets).verify_own(record)

    def vpns(self, site: str, caller: Caller) -> Sequence[VpnView]:
        return self._world.running[site].vpns.all(caller)

    def networks(self, site: str, caller: Caller) -> Sequence[NetworkView]:
        return self._world.running[site].networks.all(caller)

    def hosts(self, site: str, caller: Caller) -> Sequence[HostView]:
        return self._world.running[site].networks.hosts(caller)

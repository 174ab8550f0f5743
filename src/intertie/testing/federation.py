"""A whole federation in one process: real agents, real exchange, real planning; the world around them is simulated.

    world = World(seed=1)
    nantes = await world.site("nantes")          # an agent with its store, cloud and data plane
    await world.enrol("nantes", "lyon", "rennes")
    world.cut("nantes", "lyon"); world.heal()
    await world.crash("lyon"); await world.start("lyon")

The network delays, cuts and loses; disks keep what was synced; clouds and data planes outlive agents, as kernels do.
Every agent is a `Process` of the virtual loop: it may die between any two of its instructions, or stand still.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Address, ip_network

from intertie.agent.access import Caller, Role, Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.ports import Cloud, Guards, Transport
from intertie.agent.round import Rounds
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.model.bodies import Address, Attachment, IntroductionBody, TransportFacts, VpnKind
from intertie.model.items import Inventory, Segment
from intertie.model.storage import Committed
from intertie.model.views import VpnRequest
from intertie.planning.enrol import pin
from intertie.store.memory import Disk, MemoryStore
from intertie.testing.fake_cloud import FakeCloud, FakeSystem
from intertie.testing.fake_ports import (
    FakeInvitations,
    FakeKeys,
    FakeLinks,
    FakePing,
    FakeProbes,
    QuietLog,
    SeededIds,
)
from intertie.testing.fake_transport import FakeTransport, FakeUnderlay
from intertie.testing.hindered import Day, Hindered, HinderedCloud, WatchedStore
from intertie.testing.simulated_network import Network, SimulatedCalls
from intertie.testing.virtual_time import Process, VirtualClock, current, die

OPERATOR = Caller(project="demo", role=Role.ADMIN)
USUAL = Settings(name="", version="0")
"""What sites are set to; names and addresses come with each."""


@dataclass(slots=True)
class Site:
    """One running agent and its use cases."""

    process: Process
    agent: Agent
    exchange: Exchange
    rounds: Rounds
    health: Health
    vpns: Vpns
    networks: Networks
    enrolment: Enrolment
    tokens: Tokens
    transport: FakeTransport
    log: QuietLog

    @property
    def name(self) -> str:
        return self.agent.site

    def segments(self) -> list[Segment]:
        """What its data plane holds."""
        return self.transport.held()


@dataclass(slots=True)
class Place:
    """What outlives an agent: the machine that it runs on."""

    disk: Disk
    system: FakeSystem
    underlay: FakeUnderlay
    day: Day


@dataclass(slots=True)
class Armed:
    """A process that is to die the `left`-th time it comes to this crash point."""

    point: str
    left: int = 1


def _nobody(site: str) -> bool:
    return False


def _nobody_asks(site: str) -> None:
    return None


def _nobody_looks(site: str, done: Committed) -> None:
    return None


class World:
    """All sites, and everything between them."""

    def __init__(self, seed: int = 0, delay: float = 0.02, settings: Settings = USUAL) -> None:
        self.seed = seed
        self.network = Network(str(seed), delay, point=self._reach)
        self.underlay = FakeUnderlay()
        self.secrets: dict[str, bytes] = {}
        self.systems: dict[str, FakeSystem] = {}
        self.disks: dict[str, Disk] = {}
        self.days: dict[str, Day] = {}
        self.addresses: dict[str, Address] = {}
        self.running: dict[str, Site] = {}
        self.ended: list[Site] = []
        self.settings: dict[str, Settings] = {}
        self.skews: dict[str, timedelta] = {}
        """How far each site's wall clock is from right."""
        self.armed: dict[str, Armed] = {}
        self.later: Callable[[str], bool] = _nobody
        """Whether a site runs a later version of Intertie (I20)."""
        self.wrote: Callable[[str, Committed], None] = _nobody_looks
        self.made: Callable[[str], None] = _nobody_asks
        """Told of a site that was just made."""
        self.transports = (TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50),)
        """What sites can carry."""
        self.guards: dict[str, Guards] = {}
        """Clouds that keep somebody out, by site."""
        self.clones: dict[str, Site] = {}
        self._settings = settings
        self._starts: dict[str, int] = {}
        self._pins: dict[str, dict[str, str]] = {}

    async def site(self, name: str, *, reachable: bool = True, introductions: str = "accept") -> Site:
        """Make a site and start its agent."""
        self.addresses[name] = IPv4Address(f"192.0.2.{len(self.addresses) + 1}")
        address = f"{self.addresses[name]}:7576" if reachable else ""
        self.settings[name] = replace(self._settings, name=name, address=address, introductions=introductions)
        self.systems[name] = FakeSystem()
        self.disks[name] = Disk()
        self.days[name] = Day()
        self.skews[name] = timedelta()
        self.made(name)
        return await self.start(name)

    async def start(self, name: str) -> Site:
        """Start a site's agent on the disk, cloud and data plane that it has; returns after its first round."""
        site = await self.boot(name)
        await self.until(lambda: site.rounds.rounds > 0 or site.process.dead)
        return site

    async def boot(self, name: str) -> Site:
        """Start a site's agent; returns when it answers calls. StorageError if its disk does not let it."""
        process = Process(name)
        return await process.spawn(self._boot(name, process))

    async def _boot(self, name: str, process: Process) -> Site:
        place = Place(self.disks[name], self.systems[name], self.underlay, self.days[name])
        calls = SimulatedCalls(name, self.network, lambda pins: self._trusts(name, pins))
        site = self._compose(process, place, calls, lambda done: self.wrote(name, done))
        await site.agent.open()
        await self._recover(site.agent)
        await site.rounds.first_look()
        self.network.serve(name, site.exchange.handle, process)
        self.running[name] = site
        self._run(site)
        return site

    def _run(self, site: Site) -> None:
        for loop in (site.rounds.run, site.exchange.run, site.health.run):
            site.process.spawn(loop())

    def _trusts(self, name: str, pins: Mapping[str, str]) -> None:
        self.network.trusted[name] = frozenset(pins)
        self._pins[name] = dict(pins)

    async def clone(self, name: str) -> None:
        """A copy of the site's machine, keys and all, runs beside it, somewhere else: it calls, and is not called."""
        disk = self.disks[name].backup()
        held = dict(self.underlay.segments.get(name, {}))
        there = self.systems[name]
        system = FakeSystem(deepcopy(there.bridges), dict(there.hosts))
        place = Place(disk, system, FakeUnderlay(segments={name: held}), Day())
        process = Process(name)
        site = self._compose(process, place, SimulatedCalls(name, self.network, lambda pins: None), lambda done: None)
        self.clones[name] = site
        await process.spawn(site.agent.open())
        await process.spawn(site.rounds.first_look())
        self._run(site)

    def end_clone(self, name: str) -> None:
        if (site := self.clones.pop(name, None)) is not None:
            site.process.kill()
            self.ended.append(site)

    async def _recover(self, agent: Agent) -> None:
        """As `main` does: a lost store knows from the file beside the keys whom it trusted."""
        if agent.recovering and not agent.pins():
            pins = self._pins.get(agent.site, {})
            bodies = [IntroductionBody(site=s, root=r, address=self.settings[s].address) for s, r in pins.items()]
            await agent.write(lambda s: [pin(s.table, b) for b in bodies])

    def _ports(self, name: str, store: WatchedStore, log: QuietLog) -> Ports:
        self._starts[name] = start = self._starts.get(name, 0) + 1
        return Ports(
            store=store,
            keys=FakeKeys(name, self.secrets, self.later(name)),
            clock=_SiteClock(self.skews, name),
            ids=SeededIds(random.Random(f"{self.seed}/ids/{name}/{start}")),
            chance=random.Random(f"{self.seed}/jitter/{name}/{start}"),
            log=log,
        )

    def _compose(
        self, process: Process, place: Place, calls: SimulatedCalls, wrote: Callable[[Committed], None]
    ) -> Site:
        name, log = process.name, QuietLog()

        async def point(where: str) -> None:
            await self._reach(name, where)

        store = WatchedStore(MemoryStore(site=name, disk=place.disk), point, wrote)
        agent = Agent(self.settings[name], self._ports(name, store, log))
        cloud = HinderedCloud(self.cloud(name, place), place.day, point)
        plane = FakeTransport(name, place.underlay)
        transport = Hindered(self.carrier(name, plane), place.day, point)
        health = Health(agent, FakeProbes(self, name), FakeLinks(self, name))
        whispers = Whispers(agent, health, FakePing(self, name), self.guards.get(name))
        enrolment = Enrolment(agent, calls, FakeInvitations(agent.ports.ids.new))
        exchange = Exchange(agent, calls, enrolment, whispers)

        async def look() -> Inventory:
            underlay = (self.addresses[name],)
            return Inventory(networks=await cloud.inventory(), transports=self.transports, underlay=underlay)

        return Site(
            process=process,
            agent=agent,
            exchange=exchange,
            rounds=Rounds(agent, cloud, transport, health, look),
            health=health,
            vpns=Vpns(agent, exchange, health, whispers),
            networks=Networks(agent, cloud, look),
            enrolment=enrolment,
            tokens=Tokens(agent),
            transport=plane,
            log=log,
        )

    def cloud(self, name: str, place: Place) -> Cloud:
        """What an agent that starts finds for its cloud. A world of other clouds has others."""
        return FakeCloud(place.system)

    def carrier(self, name: str, plane: FakeTransport) -> Transport:
        """What it carries segments by, over the data plane."""
        return plane

    async def _reach(self, name: str, point: str) -> None:
        """A process comes to a crash point; it may go no further. Clones come to none."""
        armed = self.armed.get(name)
        if armed is None or armed.point != point or name not in self.running:
            return
        process = self.running[name].process
        if process is not current():
            return
        armed.left -= 1
        if armed.left <= 0:
            del self.armed[name]
            self.kill(name)
            await die(process)

    def kill(self, name: str) -> None:
        """The agent is gone between two instructions; disk (what was synced), cloud and data plane stay."""
        site = self.running.pop(name)
        site.process.kill()
        self.ended.append(site)
        self.network.gone(name)
        self.disks[name].lose_power()

    async def crash(self, name: str) -> None:
        """See `kill`."""
        self.kill(name)

    async def close(self) -> None:
        for name in list(self.running):
            self.kill(name)
        for name in list(self.clones):
            self.end_clone(name)
        for site in self.ended:
            site.process.bury()

    # ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────

    def cut(self, a: str, b: str, back: bool = True) -> None:
        """Nothing crosses from `a` to `b`, calls or packets, nor `back`."""
        self.network.cuts.add((a, b))
        if back:
            self.network.cuts.add((b, a))
        self.underlay.cut(a, b, back)

    def isolate(self, name: str) -> None:
        for other in self.settings:
            if other != name:
                self.cut(name, other)

    def mend(self, a: str, b: str) -> None:
        """Both directions between two sites carry again."""
        for pair in ((a, b), (b, a)):
            self.network.cuts.discard(pair)
            self.underlay.cuts.discard(pair)

    def heal(self) -> None:
        """Everything crosses again, in fair weather."""
        self.network.clear()
        self.underlay.heal()

    def reaches(self, a: str, b: str) -> bool:
        """Whether packets get from `a` to `b` and back."""
        return (a, b) not in self.network.cuts and (b, a) not in self.network.cuts

    def answers(self, site: str) -> bool:
        """Whether the agent of a site runs, and not merely lies there."""
        return site in self.running and not self.running[site].process.paused

    @property
    def round_trip(self) -> float:
        return self.network.delay * 2

    # ── What users do ──────────────────────────────────────────────────────────────────────────────────────

    async def enrol(self, first: str, *others: str) -> None:
        """Invite and join, until everybody has pinned everybody; projects `demo` are mapped to each other."""
        inviter = self.running[first]
        for name in others:
            token, _ = await inviter.enrolment.invite(name)
            await self.running[name].enrolment.join(token)
        everybody = {first, *others}
        await self.until(lambda: all(self._knows(n, everybody - {n}) for n in everybody))
        for name in everybody:
            for other in everybody - {name}:
                await self.running[name].enrolment.map(other, "demo", "demo")

    def _knows(self, name: str, others: Collection[str]) -> bool:
        agent = self.running[name].agent
        return all(o in agent.pins() and agent.table.get(f"{o}.site") is not None for o in others)

    async def net(self, site: str, name: str, *prefixes: str) -> None:
        await self.running[site].networks.create(OPERATOR, name, [ip_network(p) for p in prefixes])

    async def vpn(self, site: str, name: str, kind: str, *attachments: str, wait: float = 5.0) -> str:
        """Make a Vpn; its id. Attachments as the CLI writes them."""
        request = VpnRequest(name=name, kind=VpnKind(kind), attachments=tuple(attachment(a) for a in attachments))
        return (await self.running[site].vpns.create(OPERATOR, request, wait)).id

    async def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Let virtual time pass until the condition holds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not condition():
            if loop.time() > end:
                raise AssertionError(f"not within {seconds} s: {condition}")
            await asyncio.sleep(0.05)

    def phase(self, site: str, vpn: str) -> str:
        return self.running[site].vpns.get(OPERATOR, vpn).phase.value


def attachment(text: str) -> Attachment:
    site, _, network = text.partition(":")
    return Attachment(site=site, network=network)


class _SiteClock(VirtualClock):
    """The wall clock of one site."""

    def __init__(self, skews: Mapping[str, timedelta], site: str) -> None:
        super().__init__()
        self._skews = skews
        self._site = site

    def now(self) -> datetime:
        return super().now() + self._skews[self._site]


__all__ = ["OPERATOR", "Site", "World", "attachment"]

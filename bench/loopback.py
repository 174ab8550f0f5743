"""A federation of real agents in this process: real stores on disk, real keys, real peer calls over mutual TLS 1.3 on
loopback. Only clouds and data planes are the fakes of `intertie.testing`, so that no kernel is needed.

Between sites lies time: each call leaves half a round trip before it is made, and its reply arrives half a round trip
after it was given. On a warm connection that is what a path of that length does to a call that fits its window.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from bench.acquaintance import acquainted, founder
from intertie.agent import ports
from intertie.agent.access import Caller, Role
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.round import Rounds
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.federation import keys
from intertie.federation.peer_door import Limits
from intertie.federation.peer_server import listen
from intertie.federation.peer_transport import TlsTransport
from intertie.federation.rates import Rate
from intertie.federation.transport import Caller as PeerCaller
from intertie.model.bodies import Address, Attachment, IntroductionBody, TransportFacts
from intertie.model.codec import decode
from intertie.model.items import Inventory
from intertie.model.records import Cursor, Draft
from intertie.planning.admit import Situation
from intertie.planning.hearing import concerning
from intertie.store.sqlite import SqliteStore
from intertie.testing.fake_cloud import FakeCloud, FakeSystem
from intertie.testing.fake_ports import FakeLinks, FakePing, FakeProbes, QuietLog
from intertie.testing.fake_transport import FakeTransport, FakeUnderlay
from intertie.wiring import InvitationTokens, PeerCalls, SiteKeys, SystemClock, Ulids

OPERATOR = Caller(project="demo", role=Role.ADMIN)
LIMITS = Limits(strangers_per_source=512, handshakes=Rate(4096, per_second=512.0))
"""All sites share one source address here."""
CALM = 600.0
"""Seconds between heartbeats and rounds without news: else the idle work of all sites would share one process."""


@dataclass(slots=True)
class Lag:
    """The round trip between any two sites, in seconds; changed between measurements."""

    rtt: float = 0.0


class Distant:
    """`ports.PeerTransport` at a distance."""

    def __init__(self, calls: PeerCalls, lag: Lag) -> None:
        self._calls = calls
        self._lag = lag
        self.made = 0

    async def call(self, peer: ports.PeerAddress, body: bytes, timeout: float) -> bytes:
        self.made += 1
        await asyncio.sleep(self._lag.rtt / 2)
        reply = await self._calls.call(peer, body, timeout)
        await asyncio.sleep(self._lag.rtt / 2)
        return reply

    def trust(self, pins: Mapping[str, str]) -> None:
        self._calls.trust(pins)


@dataclass(slots=True)
class Site:
    """One running agent."""

    agent: Agent
    exchange: Exchange
    rounds: Rounds
    health: Health
    vpns: Vpns
    networks: Networks
    transport: TlsTransport
    calls: Distant
    store: SqliteStore
    plane: FakeTransport
    root: str
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def serve(self, caller: PeerCaller | None, body: bytes) -> bytes:
        return await self.exchange.handle(caller.name if caller is not None else None, body)


class Loopback:
    """Sites s1, s2, … that have all pinned one another; projects `demo` are mapped onto each other."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lag = Lag()
        self.underlay = FakeUnderlay()
        self.systems: dict[str, FakeSystem] = {}
        self.addresses: dict[str, Address] = {}
        self.sites: dict[str, Site] = {}

    # What probes ask of the world (`fake_ports.Sights`).

    @property
    def round_trip(self) -> float:
        return self.lag.rtt

    def answers(self, site: str) -> bool:
        return site in self.sites

    def reaches(self, a: str, b: str) -> bool:
        return True

    def compose(self, name: str) -> Site:
        """As `intertie.main` does it. Nothing runs yet."""
        folder = self.directory / name
        (folder / "keys").mkdir(parents=True)
        key = keys.create(folder, name)
        sock = listen(IPv4Address("127.0.0.1"), 0)
        self.addresses[name] = IPv4Address("192.0.2.0") + len(self.addresses) + 1
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        settings = Settings(name=name, version="0", address=address, heartbeat=CALM, round_every=CALM)
        clock, system = SystemClock(), self.systems.setdefault(name, FakeSystem())
        store = SqliteStore(folder / "intertie.db", site=name, decode=decode, marker=folder / "keys" / "marker")
        own = SiteKeys(key)
        agent = Agent(settings, Ports(store, own, clock, Ulids(), random.Random(name), QuietLog()))
        transport = TlsTransport(key, clock.now, [sock], limits=LIMITS)
        calls = Distant(PeerCalls(transport, folder / "keys" / "pins.json"), self.lag)
        cloud, plane = FakeCloud(system), FakeTransport(name, self.underlay)
        health = Health(agent, FakeProbes(self, name), FakeLinks(self, name))
        whispers = Whispers(agent, health, FakePing(self, name))
        exchange = Exchange(agent, calls, Enrolment(agent, calls, InvitationTokens(key)), whispers)

        async def look() -> Inventory:
            facts = TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50)
            return Inventory(networks=await cloud.inventory(), transports=(facts,), underlay=(self.addresses[name],))

        return Site(
            agent=agent,
            exchange=exchange,
            rounds=Rounds(agent, cloud, plane, health, look),
            health=health,
            vpns=Vpns(agent, exchange, health, whispers),
            networks=Networks(agent, cloud, look),
            transport=transport,
            calls=calls,
            store=store,
            plane=plane,
            root=own.root,
        )

    async def start(self, count: int) -> None:
        """Make the sites, let them know one another, and wait until they have nothing left to say."""
        for number in range(1, count + 1):
            self.sites[f"s{number}"] = self.compose(f"s{number}")
        for site in self.sites.values():
            await site.agent.open()
            await site.rounds.first_look()
        for site in self.sites.values():
            await site.agent.write(self._acquainted)
        for site in self.sites.values():
            pins = {name: other.root for name, other in self.sites.items() if other is not site}
            site.calls.trust(pins)  # a first call that came before would be refused, and tried again later
        for site in self.sites.values():
            works = (site.transport.serve(site.serve), site.exchange.run(), site.rounds.run(), site.health.run())
            site.tasks = [asyncio.create_task(work) for work in works]
        for site in self.sites.values():
            await self._network(site)
        await self.until(self._known, 300.0)
        await self.quiet()

    def _acquainted(self, situation: Situation) -> list[Draft]:
        here = situation.site
        others = [
            IntroductionBody(site=name, root=other.root, address=other.agent.settings.address)
            for name, other in self.sites.items()
            if name != here
        ]
        return [*([founder(here)] if here == "s1" else []), *acquainted(situation, others)]

    async def _network(self, site: Site) -> None:
        """Each site has a network of its own, for L3; s1 one more, to be stretched."""
        number = int(site.agent.site[1:])
        await site.networks.create(OPERATOR, "own", [ip_network(f"10.{number}.0.0/24")])
        if number == 1:
            await site.networks.create(OPERATOR, "blue", [ip_network("10.200.0.0/16")])

    def _known(self) -> bool:
        return all(
            site.agent.table.get(f"{other}.site") is not None for site in self.sites.values() for other in self.sites
        )

    async def quiet(self) -> None:
        """Wait until everything that was said has been heard, by everybody whom it concerns."""
        await self.until(lambda: all(self._told(site) for site in self.sites.values()), 120.0)

    def _told(self, site: Site) -> bool:
        """By what the others hold, not by what they have acknowledged: a reply is acknowledged with the next call."""
        here = site.agent
        others = (s.agent for s in self.sites.values() if s is not site)
        return not here.poke.is_set() and not any(
            concerning(here.table, o.site, o.cursors.get(here.site, Cursor())) for o in others
        )

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not condition():
            if loop.time() > end:
                raise RuntimeError(f"not within {seconds} s")
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        for site in self.sites.values():
            for task in site.tasks:
                task.cancel()
        for site in self.sites.values():
            await asyncio.gather(*site.tasks, return_exceptions=True)
            site.transport.close()
            with suppress(Exception):
                await site.store.close()


def everybody(sites: Collection[str], kind: str) -> tuple[Attachment, ...]:
    """The attachments of a Vpn over all sites, made at the first."""
    first, *others = sites
    if kind == "l2":
        return (Attachment(site=first, network="blue"), *(Attachment(site=o) for o in others))
    return tuple(Attachment(site=s, network="own") for s in sites)

"""A whole federation in one process: real agents, real exchange, real planning; the world around them is simulated.

    world = World(seed=1)
    nantes = await world.site("nantes")          # an agent with its store, cloud and data plane
    await world.enrol("nantes", "lyon", "rennes")
    world.cut("nantes", "lyon"); world.heal()
    await world.crash("lyon"); await world.start("lyon")

The network delays, cuts and loses; disks keep what was synced; clouds and data planes outlive agents, as kernels do.
"""

from __future__ import annotations

import asyncio
import hmac
import random
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import IPv4Address, ip_network

from intertie.agent.access import Caller, Role, Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.ports import Echo, Invitation, PeerAddress
from intertie.agent.round import Rounds
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.model.bodies import Address, Attachment, IntroductionBody, TransportFacts, VpnKind
from intertie.model.codec import encode
from intertie.model.errors import Refused, Unavailable
from intertie.model.items import Inventory, Segment
from intertie.model.records import Draft, Order, Record
from intertie.planning.change import VpnRequest
from intertie.planning.enrol import pin
from intertie.store.memory import Disk, MemoryStore
from intertie.testing.fake_cloud import FakeCloud, FakeSystem
from intertie.testing.fake_transport import FakeTransport, FakeUnderlay
from intertie.testing.virtual_time import VirtualClock

OPERATOR = Caller(project="demo", role=Role.ADMIN)


class FakeKeys:
    """Signatures that only their maker can make, without arithmetic: the world keeps the secrets."""

    def __init__(self, site: str, secrets: dict[str, bytes]) -> None:
        self.site = site
        self._secrets = secrets
        secrets.setdefault(site, sha256(f"secret of {site}".encode()).digest())

    @property
    def root(self) -> str:
        return b64encode(self.site.encode()).decode()

    @property
    def fingerprint(self) -> str:
        return self.fingerprint_of(self.root)

    def seal(self, site: str, draft: Draft, order: Order) -> Record:
        header = draft.header(site, order)
        raw = encode(header, draft.body)
        return Record(header, draft.body, raw, self._sign(site, raw))

    def _sign(self, site: str, raw: bytes) -> bytes:
        return hmac.digest(self._secrets[site], raw, "sha256")

    def verify(self, root: str, record: Record) -> bool:
        owner = b64decode(root).decode()
        return owner in self._secrets and hmac.compare_digest(self._sign(owner, record.raw), record.signature)

    def fingerprint_of(self, root: str) -> str:
        return sha256(root.encode()).hexdigest()

    def point_of(self, root: str) -> bytes:
        return b64decode(root)


class FakeInvitations:
    """Tokens that say the same as real ones, in clear."""

    def __init__(self, ids: Callable[[], str]) -> None:
        self._ids = ids

    def make(self, name: str, inviter: str, address: str) -> tuple[str, str]:
        secret = self._ids()
        return f"{name} {inviter} {address} {secret}", self.hash(secret, name)

    def parse(self, token: str) -> Invitation:
        parts = token.split()
        if len(parts) != 4:
            raise Refused("the token is cut off")
        name, inviter, address, secret = parts
        return Invitation(name=name, inviter=inviter, address=address, key=inviter.encode(), secret=secret)

    def hash(self, secret: str, name: str) -> str:
        return sha256(f"{name} {secret}".encode()).hexdigest()


@dataclass(slots=True)
class Network:
    """What lies between the sites: delay one way in seconds, loss 0..1, and who cannot reach whom."""

    chance: random.Random
    delay: float = 0.02
    loss: float = 0.0
    cuts: set[tuple[str, str]] = field(default_factory=set)
    handlers: dict[str, Callable[[str | None, bytes], Awaitable[bytes]]] = field(default_factory=dict)
    trusted: dict[str, frozenset[str]] = field(default_factory=dict)
    calls: int = 0
    carried: list[tuple[float, str, str, int]] = field(default_factory=list)

    async def _cross(self, a: str, b: str) -> None:
        await asyncio.sleep(self.delay * self.chance.uniform(0.9, 1.1))
        if (a, b) in self.cuts or self.chance.random() < self.loss:
            raise Unavailable(f"no way from {a} to {b}", code="owner-silent")

    async def call(self, caller: str, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        self.calls += 1
        self.carried.append((asyncio.get_running_loop().time(), caller, peer.name, len(body)))
        try:
            async with asyncio.timeout(timeout):
                return await self._call(caller, peer, body)
        except TimeoutError:
            raise Unavailable(f"{peer.name} did not answer in time", code="owner-silent") from None

    async def _call(self, caller: str, peer: PeerAddress, body: bytes) -> bytes:
        await self._cross(caller, peer.name)
        handler = self.handlers.get(peer.name)
        joins = not peer.root
        if handler is None or not (joins or caller in self.trusted.get(peer.name, frozenset())):
            raise Unavailable(f"{peer.name} refuses the connection of {caller}", code="owner-silent")
        reply = await handler(None if joins else caller, body)
        await self._cross(peer.name, caller)
        return reply


class FakeCalls:
    """`ports.PeerTransport` over the simulated network."""

    def __init__(self, site: str, network: Network) -> None:
        self.site = site
        self.network = network

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        return await self.network.call(self.site, peer, body, timeout)

    def trust(self, pins: Mapping[str, str]) -> None:
        self.network.trusted[self.site] = frozenset(pins)


class FakePing:
    """Echoes over the evaluated data plane: a host is reached if its site's segment is."""

    def __init__(self, world: World, site: str) -> None:
        self._world = world
        self._site = site

    async def ping(self, host: str, target: Address, size: int, timeout: float) -> Echo:
        for name, system in self._world.systems.items():
            for there in system.hosts.values():
                if any(i.ip == target for i in there.interfaces) and self._world.reaches(self._site, name):
                    return Echo(rtt_ms=1.0)
        return Echo(problem="timeout")


class FakeProbes:
    """Segment and link probes over the evaluated data plane."""

    def __init__(self, world: World, site: str) -> None:
        self._world = world
        self._site = site
        self.segments: tuple[Segment, ...] = ()

    async def set_segments(self, segments: Collection[Segment]) -> None:
        self.segments = tuple(segments)

    async def probe(self, vpn: str, site: str, size: int | None, timeout: float) -> float | None:
        await asyncio.sleep(self._world.network.delay * 2)
        alive = site in self._world.running
        crosses = self._world.underlay.crosses(vpn, self._site, site) and self._world.underlay.crosses(
            vpn, site, self._site
        )
        return self._world.network.delay * 2000 if alive and crosses else None

    async def check_loops(self, vpn: str | None = None) -> None:
        return None


class FakeLinks:
    def __init__(self, world: World, site: str) -> None:
        self._world = world
        self._site = site

    async def probe(self, address: Address, timeout: float) -> float | None:
        there = next((n for n, a in self._world.addresses.items() if a == address), None)
        return 1.0 if there in self._world.running and self._world.reaches(self._site, there) else None


@dataclass(slots=True)
class Site:
    """One running agent and its use cases."""

    agent: Agent
    exchange: Exchange
    rounds: Rounds
    health: Health
    vpns: Vpns
    networks: Networks
    enrolment: Enrolment
    tokens: Tokens
    tasks: list[asyncio.Task[None]]

    @property
    def name(self) -> str:
        return self.agent.site

    def segments(self) -> list[Segment]:
        return [s for s in self.rounds.transport.held() if isinstance(s, Segment)]  # type: ignore[attr-defined]


class World:
    """All sites, and everything between them."""

    def __init__(self, seed: int = 0, delay: float = 0.02) -> None:
        self.chance = random.Random(seed)
        self.network = Network(self.chance, delay)
        self.underlay = FakeUnderlay()
        self.secrets: dict[str, bytes] = {}
        self.systems: dict[str, FakeSystem] = {}
        self.disks: dict[str, Disk] = {}
        self.addresses: dict[str, Address] = {}
        self.running: dict[str, Site] = {}
        self.settings: dict[str, Settings] = {}
        self.pins: dict[str, dict[str, str]] = {}

    async def site(self, name: str, *, reachable: bool = True, introductions: str = "accept") -> Site:
        """Make a site and start its agent."""
        self.addresses[name] = IPv4Address(f"192.0.2.{len(self.addresses) + 1}")
        address = f"{self.addresses[name]}:7576" if reachable else ""
        self.settings[name] = Settings(name=name, version="0", address=address, introductions=introductions)
        self.systems[name] = FakeSystem()
        self.disks[name] = Disk()
        return await self.start(name)

    async def start(self, name: str) -> Site:
        """Start a site's agent on the disk, cloud and data plane that it has."""
        agent = Agent(
            self.settings[name],
            Ports(
                store=MemoryStore(site=name, disk=self.disks[name]),
                keys=FakeKeys(name, self.secrets),
                clock=VirtualClock(),
                ids=_Ids(name, self.chance),
            ),
        )
        await agent.open()
        await self._recover(agent)
        running = self._compose(agent)
        await running.rounds.first_look()
        self.network.handlers[name] = running.exchange.handle
        running.tasks = [
            asyncio.create_task(running.rounds.run()),
            asyncio.create_task(running.exchange.run()),
            asyncio.create_task(running.health.run()),
        ]
        self.running[name] = running
        await self.until(lambda: running.rounds.rounds > 0)
        return running

    async def _recover(self, agent: Agent) -> None:
        """As `main` does: a lost store knows from the file beside the keys whom it trusted."""
        if agent.recovering and not agent.pins():
            bodies = [IntroductionBody(site=s, root=r) for s, r in self.pins.get(agent.site, {}).items()]
            await agent.write(lambda s: [pin(s.table, b) for b in bodies])

    def _compose(self, agent: Agent) -> Site:
        name = agent.site
        cloud = FakeCloud(self.systems[name])
        transport = FakeTransport(name, self.underlay)
        calls = FakeCalls(name, self.network)
        health = Health(agent, FakeProbes(self, name), FakeLinks(self, name))
        whispers = Whispers(agent, health, FakePing(self, name))
        enrolment = Enrolment(agent, calls, FakeInvitations(agent.ports.ids.new))
        exchange = Exchange(agent, calls, enrolment, whispers)

        async def look() -> Inventory:
            facts = TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50)
            return Inventory(networks=await cloud.inventory(), transports=(facts,), underlay=(self.addresses[name],))

        return Site(
            agent=agent,
            exchange=exchange,
            rounds=Rounds(agent, cloud, transport, health, look),
            health=health,
            vpns=Vpns(agent, exchange, health, whispers),
            networks=Networks(agent, cloud, look),
            enrolment=enrolment,
            tokens=Tokens(agent),
            tasks=[],
        )

    async def crash(self, name: str) -> None:
        """The agent is gone between two instructions; disk (what was synced), cloud and data plane stay."""
        site = self.running.pop(name)
        self.network.handlers.pop(name, None)
        self.pins[name] = {n: b.root for n, b in site.agent.pins().items()}
        for task in site.tasks:
            task.cancel()
        await asyncio.gather(*site.tasks, return_exceptions=True)
        self.disks[name].lose_power()

    async def close(self) -> None:
        for name in list(self.running):
            await self.crash(name)

    # ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────

    def cut(self, a: str, b: str) -> None:
        """Nothing crosses between two sites, calls or packets."""
        self.network.cuts |= {(a, b), (b, a)}
        self.underlay.cut(a, b)

    def isolate(self, name: str) -> None:
        for other in self.settings:
            if other != name:
                self.cut(name, other)

    def heal(self) -> None:
        self.network.cuts.clear()
        self.underlay.heal()

    def reaches(self, a: str, b: str | None) -> bool:
        return b is not None and (a, b) not in self.network.cuts

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


class _Ids:
    """Ids from the world's chance: unique, and the same in every run of a seed."""

    def __init__(self, site: str, chance: random.Random) -> None:
        self._site = site
        self._chance = chance

    def new(self) -> str:
        return f"{self._chance.getrandbits(128):032x}"


__all__ = ["OPERATOR", "Site", "World", "attachment"]

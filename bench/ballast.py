"""A site with thousands of Vpns, all in force: what `round`, `memory`, `api` and `cold-start` are measured with.

The Vpns are this site's own, each between a network of its own and one of a peer's, both of which have said yes.
Their records are what the real planning writes, signed with the real keys, in a real store; the peer is never there.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from bench.acquaintance import acquainted, founder
from bench.loopback import CALM
from intertie.agent.access import Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.networks import Networks
from intertie.agent.round import Rounds
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.api.services import Services
from intertie.federation import keys
from intertie.federation.peer_transport import TlsTransport
from intertie.model.bodies import (
    Address,
    AnswerBody,
    Attachment,
    Endpoint,
    IntroductionBody,
    NetworkBody,
    TransportFacts,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.codec import decode
from intertie.model.items import Inventory, Network, Segment, key
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.planning import numbers
from intertie.planning.admit import Situation
from intertie.planning.compile import compile_site
from intertie.planning.identity import answer_id, bridge_name, segment_mac
from intertie.store.sqlite import SqliteStore
from intertie.testing.fake_cloud import FakeBridge, FakeCloud, FakeSystem
from intertie.testing.fake_ports import FakeLinks, FakePing, FakeProbes, QuietLog
from intertie.testing.fake_transport import FakeTransport, FakeUnderlay
from intertie.wiring import InvitationTokens, PeerCalls, SiteKeys, SystemClock, Ulids

SITE, PEER = "here", "peer"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 1000


@dataclass(slots=True)
class Laden:
    """The site, its world, and its use cases; nothing of it runs by itself."""

    services: Services
    exchange: Exchange
    transport: TlsTransport
    store: SqliteStore
    system: FakeSystem
    underlay: FakeUnderlay

    @property
    def agent(self) -> Agent:
        return self.services.agent

    @property
    def rounds(self) -> Rounds:
        return self.services.rounds


class World:
    """What probes ask of the world (`fake_ports.Sights`): nobody else is there."""

    def __init__(self) -> None:
        self.underlay = FakeUnderlay()
        self.systems: dict[str, FakeSystem] = {}
        self.addresses: dict[str, Address] = {}

    @property
    def round_trip(self) -> float:
        return 0.0

    def answers(self, site: str) -> bool:
        return False

    def reaches(self, a: str, b: str) -> bool:
        return False


def network_of(number: int) -> Network:
    body = _network(number)
    id = f"{SITE}.n{number:05}"
    return Network(id=id, name=body.name, project="demo", prefixes=body.prefixes, mtu=1450, bridge=bridge_name(id))


def _network(number: int) -> NetworkBody:
    prefix = ip_network((int(IPv4Address("10.0.0.0")) + number * 256, 24))
    return NetworkBody(name=f"net-{number}", project="demo", prefixes=(prefix,), mtu=1450)


def make(folder: Path) -> None:
    """The directory of a new site."""
    (folder / "keys").mkdir(parents=True)
    keys.create(folder, SITE)


def compose(folder: Path, vpns: int) -> Laden:
    """As `intertie.main` does it, on a cloud that has the networks of so many Vpns."""
    key, clock, world = keys.load(folder), SystemClock(), World()
    system = world.systems[SITE] = FakeSystem()
    for number in range(vpns):
        network = network_of(number)
        system.bridges[network.bridge] = FakeBridge(own=True, network=network)
    store = SqliteStore(folder / "intertie.db", site=SITE, decode=decode, marker=folder / "keys" / "marker")
    settings = Settings(name=SITE, version="0", address="127.0.0.1:1", heartbeat=CALM, round_every=CALM)
    agent = Agent(settings, Ports(store, SiteKeys(key), clock, Ulids(), random.Random(SITE), QuietLog()))
    transport = TlsTransport(key, clock.now)
    calls = PeerCalls(transport, folder / "keys" / "pins.json")
    cloud, plane = FakeCloud(system), FakeTransport(SITE, world.underlay)
    health = Health(agent, FakeProbes(world, SITE), FakeLinks(world, SITE))
    whispers = Whispers(agent, health, FakePing(world, SITE))
    enrolment = Enrolment(agent, calls, InvitationTokens(key))
    exchange = Exchange(agent, calls, enrolment, whispers)

    async def look() -> Inventory:
        facts = TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50)
        return Inventory(networks=await cloud.inventory(), transports=(facts,), underlay=(IPv4Address("192.0.2.1"),))

    services = Services(
        agent=agent,
        vpns=Vpns(agent, exchange, health, whispers),
        networks=Networks(agent, cloud, look),
        enrolment=enrolment,
        tokens=Tokens(agent),
        rounds=Rounds(agent, cloud, plane, health, look),
        health=health,
    )
    return Laden(services, exchange, transport, store, system, world.underlay)


async def lay(folder: Path, vpns: int) -> None:
    """Make a site in `folder` that has said and heard all there is to say of so many Vpns."""
    make(folder)
    keys.create(folder / "peer", PEER)
    peer = SiteKeys(keys.load(folder / "peer"))
    laden = compose(folder, vpns)
    agent = laden.agent
    await agent.open()
    await laden.rounds.first_look()
    known = IntroductionBody(site=PEER, root=peer.root, address="127.0.0.1:1")
    await agent.write(lambda s: [founder(SITE), *acquainted(s, [known])])
    await agent.write(laden.rounds._site_facts)
    everything = agent.inventory
    for first in range(0, vpns, CHUNK):
        numbered = range(first, min(first + CHUNK, vpns))
        # Each new Vpn looks for its network among all that are there: a few at a time take less long.
        agent.inventory = replace(everything, networks=everything.networks[first : first + CHUNK])
        drafts = [draft for number in numbered for draft in _wishes(number)]
        await agent.write(partial(_those, drafts))
        made = (agent.table.get(_id(number)) for number in numbered)
        answers = [_yes(peer, vpn, number) for number, vpn in zip(numbered, made, strict=True) if vpn is not None]
        await agent.take(PEER, partial(_judged, answers, answers[-1].cursor), Cursor())
    agent.inventory = everything
    carry(laden)
    while (await laden.rounds.round()).plan or await agent.settle():
        pass
    await agent.take(PEER, partial(_judged, (), None), agent.table.last())
    await laden.store.close()


def _judged(answers: Sequence[Record], cursor: Cursor | None) -> tuple[Sequence[Record], Cursor | None]:
    return answers, cursor


def carry(laden: Laden) -> None:
    """The data plane has all that it is to have, as one that went on without its agent."""
    items = compile_site(laden.agent.table)
    laden.underlay.segments[SITE] |= {key(item): item for item in items if isinstance(item, Segment)}


def _id(number: int) -> str:
    return f"{SITE}.v{number:05}"


def _those(drafts: list[Draft], situation: Situation) -> list[Draft]:
    return drafts


def _wishes(number: int) -> Iterator[Draft]:
    """A network of ours, and the Vpn that joins it to one of the peer's."""
    network = network_of(number)
    yield Draft(kind=Kind.NETWORK, id=network.id, body=_network(number))
    vni = numbers.VNI_SPACE[0] + number
    body = VpnBody(
        name=f"vpn-{number}",
        kind=VpnKind.L3,
        project="demo",
        transport="vxlan",
        vni=vni,
        route_target=numbers.route_target(vni),
        mtu=1450,
        attachments=(
            Attachment(site=SITE, network=network.name, prefixes=network.prefixes),
            Attachment(site=PEER, network=network.name),
        ),
        created_at=NOW,
    )
    yield Draft(kind=Kind.VPN, id=_id(number), names=(SITE, PEER), body=body)


def _yes(peer: SiteKeys, vpn: Record, number: int) -> Record:
    """The peer's answer."""
    body = AnswerBody(
        vpn=vpn.id,
        order=vpn.order,
        digest=vpn.digest,
        word=Word.ACCEPTED,
        network=f"{PEER}.n{number:05}",
        network_name=f"net-{number}",
        project="demo",
        prefixes=(ip_network((int(IPv4Address("20.0.0.0")) + number * 256, 24)),),
        endpoints=(Endpoint(address=IPv4Address("192.0.2.2"), mac=segment_mac(PEER, vpn.id)),),
        mtu=1450,
        realised=True,
    )
    draft = Draft(kind=Kind.ANSWER, id=answer_id(PEER, vpn.id), names=(SITE,), body=body)
    return peer.seal(PEER, draft, Order(0, "", 1, number + 1))

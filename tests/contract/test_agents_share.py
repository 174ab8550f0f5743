"""Two agents of one site on one PostgreSQL store, in one process: decisions are taken on what stands, whoever wrote
it; what one hears, both know; who cannot reach the store promises nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network

import psycopg
import pytest
from psycopg import sql

from intertie.agent.access import Caller, Role, Tokens
from intertie.agent.agent import Agent, Ports, Settings
from intertie.agent.enrolment import Enrolment
from intertie.agent.exchange import Exchange
from intertie.agent.health import Health
from intertie.agent.ports import Echo, PeerAddress
from intertie.agent.siblings import Siblings
from intertie.agent.volatile import Whispers
from intertie.agent.vpns import Vpns
from intertie.model import wire
from intertie.model.bodies import (
    Address,
    Attachment,
    IntroductionBody,
    NetworkBody,
    SiteBody,
    TransportFacts,
    VpnKind,
)
from intertie.model.errors import Forbidden, Refused, Unauthenticated, Unavailable
from intertie.model.items import Inventory, NetworkFacts, Segment
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.model.storage import Batch, Damaged, LocalEntry, StorageError
from intertie.model.views import VpnRequest
from intertie.model.wire import Join, Message, ToldHost, Volatile
from intertie.planning.admit import Situation
from intertie.planning.change import new_vpn
from intertie.planning.enrol import pin
from intertie.store.postgres import PostgresStore
from intertie.testing.fake_ports import FakeInvitations, FakeKeys, QuietLog, SeededIds
from intertie.testing.postgres_rig import PostgresRig
from intertie.testing.store_samples import SITE
from tests.contract.test_store_postgres_shared import rig

__all__ = ["rig"]

VXLAN = TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50)
MEMBERS = (Attachment(site=SITE, network="blue"), Attachment(site="lyon"))
OPERATOR = Caller(project="demo", role=Role.ADMIN)
COLOURS = {"blue": 1, "red": 2, "green": 3}


def facts(name: str, number: int) -> NetworkFacts:
    prefixes = (ip_network(f"10.{number}.0.0/24"),)
    return NetworkFacts(
        id=f"{SITE}.{name}", name=name, project="demo", prefixes=prefixes, mtu=1500, bridge=f"br{number}"
    )


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Nowhere:
    """No peer answers, no probe comes back."""

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes:
        raise Unavailable(f"{peer.name} does not answer")

    def trust(self, pins: object) -> None:
        """Nobody calls."""

    async def set_segments(self, segments: Collection[Segment]) -> None:
        """None is probed."""

    async def probe(self, *asked: object) -> float | None:
        return None

    async def check_loops(self, vpn: str | None = None) -> None:
        """There are none."""

    async def ping(self, host: str, target: Address, size: int, timeout: float) -> Echo:
        return Echo(problem="nobody is there")


@dataclass
class Member:
    """One of the agents."""

    agent: Agent
    store: PostgresStore
    whispers: Whispers
    exchange: Exchange
    enrolment: Enrolment
    vpns: Vpns
    siblings: Siblings


def compose(rig: PostgresRig, name: str, secrets: dict[str, bytes]) -> Member:
    store = rig.shared(name)
    ids = SeededIds(random.Random(name))
    ports = Ports(
        store=store,
        keys=FakeKeys(SITE, secrets),
        clock=Clock(),
        ids=ids,
        chance=random.Random(name),
        log=QuietLog(),
        shared=store,
    )
    agent = Agent(Settings(name=SITE, version="1", address="192.0.2.1:7576"), ports)
    nowhere = Nowhere()
    health = Health(agent, nowhere, nowhere)
    whispers = Whispers(agent, health, nowhere)
    enrolment = Enrolment(agent, nowhere, FakeInvitations(ids.new))
    exchange = Exchange(agent, nowhere, enrolment, whispers)
    vpns = Vpns(agent, exchange, health, whispers)
    return Member(agent, store, whispers, exchange, enrolment, vpns, Siblings(agent, store, whispers))


Pair = tuple[Member, Member]


@pytest.fixture
async def pair(rig: PostgresRig) -> AsyncIterator[Pair]:
    secrets: dict[str, bytes] = {}
    one, other = compose(rig, "1", secrets), compose(rig, "2", secrets)
    for member in (one, other):
        await member.agent.open()
        member.agent.inventory = Inventory(
            networks=tuple(facts(*each) for each in COLOURS.items()),
            transports=(VXLAN,),
            underlay=(ip_address("192.0.2.1"),),
        )
    await one.enrolment.invite("lyon")  # the first of its federation: it takes the numbers
    yield one, other
    await one.store.close()
    await other.store.close()


def named(text: str) -> NetworkBody:
    return NetworkBody(name=text, project="demo", prefixes=(ip_network("10.9.0.0/24"),), mtu=1500)


async def test_a_decision_is_taken_anew_when_the_other_agent_was_first(pair: Pair) -> None:
    """Both count the networks that there are and give the next number: none is given twice."""
    seen: list[list[int]] = [[], []]

    def number(which: int, situation: Situation) -> list[Draft]:
        count = sum(1 for _ in situation.table.all_of(Kind.NETWORK))
        seen[which].append(count)
        return [Draft(kind=Kind.NETWORK, id=f"{SITE}.net{count}", body=named(f"n{count}"))]

    async def write(which: int) -> list[str]:
        agent = pair[which].agent
        return [(await agent.write(lambda s: number(which, s)))[0].id for _ in range(20)]

    mine, theirs = await asyncio.gather(write(0), write(1))
    assert sorted([*mine, *theirs]) == sorted(f"{SITE}.net{n}" for n in range(40))
    assert len(seen[0]) + len(seen[1]) > 40, "nobody was overtaken: the test shows nothing"


async def test_what_a_decision_refuses_on_the_newer_table_is_not_written(pair: Pair) -> None:
    one, other = pair

    def once(situation: Situation) -> list[Draft]:
        if situation.table.get(f"{SITE}.only"):
            raise Refused("there is one already")
        return [Draft(kind=Kind.NETWORK, id=f"{SITE}.only", body=named("only"))]

    await one.agent.write(once)
    with pytest.raises(Refused):
        await other.agent.write(once, [LocalEntry("s", "k", "v")])
    await one.agent.catch_up()
    assert "s" not in one.agent.local


async def test_one_idempotency_key_at_both_at_once_makes_one_vpn(pair: Pair) -> None:
    await known(pair[0])
    for network in COLOURS:
        members = (Attachment(site=SITE, network=network), Attachment(site="lyon"))
        request = VpnRequest(name=f"over-{network}", kind=VpnKind.L2, attachments=members)
        made = await asyncio.gather(*(m.vpns.create(OPERATOR, request, key=network) for m in pair))
        assert made[0].id == made[1].id


async def test_a_token_made_or_revoked_at_one_is_so_at_the_other(pair: Pair) -> None:
    one, other = pair
    made = await Tokens(one.agent).create("demo", "reader")
    await other.agent.catch_up()
    assert Tokens(other.agent).recognise(made.token).project == "demo"
    await Tokens(other.agent).revoke(made.id)
    await one.agent.catch_up()
    with pytest.raises(Unauthenticated):
        Tokens(one.agent).recognise(made.token)


async def test_an_invitation_lets_in_one_key_whichever_agent_is_asked(pair: Pair) -> None:
    one, other = pair
    token, _ = await one.enrolment.invite("rennes")
    join = Join(name="rennes", secret=FakeInvitations(str).parse(token).secret)
    await other.agent.catch_up()  # it knows of the invitation; of what the first makes of it, it is not told
    outcomes = await asyncio.gather(
        *(m.enrolment.admit(join, (site_record(m, f"key-{n}"),), "rennes") for n, m in enumerate(pair)),
        return_exceptions=True,
    )
    assert {type(o) for o in outcomes} == {Forbidden, type(None)}


def site_record(member: Member, key: str, name: str = "rennes") -> Record:
    """A site's word on itself, with this root."""
    ours = member.agent.ports.keys
    assert isinstance(ours, FakeKeys)
    keys = FakeKeys(key, ours._secrets)
    there = (ip_address("192.0.2.2"),)
    body = SiteBody(
        name=name, version="1", root=keys.root, address="192.0.2.2:7576", underlay=there, transports=(VXLAN,)
    )
    return keys.seal(name, Draft(kind=Kind.SITE, id=f"{name}.site", body=body), Order(0, "", 1, 1))


# ── What is no record ──────────────────────────────────────────────────────────────────────────────────────


async def known(member: Member) -> None:
    """lyon is a peer, and has said what it is."""
    introduction = IntroductionBody(site="lyon", root=FakeKeys("lyon", {}).root, address="192.0.2.2:7576")
    await member.agent.write(lambda s: [pin(s.table, introduction)])
    await member.agent.take("lyon", lambda: ([site_record(member, "lyon", "lyon")], Cursor(1, 1)), Cursor())


async def heard(member: Member) -> None:
    """lyon is pinned, and told this agent of its host."""
    await known(member)
    host = ToldHost(vpn=f"{SITE}.v", name="web", addresses=(ip_address("10.1.0.9"),))
    await member.exchange.hear(Message(sender="lyon", incarnation=1, boot="b", volatile=Volatile(hosts=(host,))))


async def beats(member: Member, ready: Callable[[], bool], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not ready():
            await member.siblings._turn()


async def test_what_a_peer_tells_one_agent_both_know(pair: Pair) -> None:
    one, other = pair
    await one.siblings.begin()
    await other.siblings.begin()
    await heard(one)
    assert other.agent.peer("lyon").last_seen is None
    telling = asyncio.ensure_future(beats(one, lambda: False, 30))
    await beats(other, lambda: other.agent.peer("lyon").last_seen is not None)
    telling.cancel()
    assert other.agent.peer("lyon").last_seen == one.agent.peer("lyon").last_seen
    assert [p.state for p in other.enrolment.peers() if p.name == "lyon"] == ["up"]


async def test_one_leads_and_only_that_one_tells_what_it_measured(pair: Pair) -> None:
    one, other = pair
    await one.siblings.begin()
    await other.siblings.begin()
    assert (one.agent.leads, other.agent.leads) == (True, False)
    assert one.agent.lineage == other.agent.lineage
    assert one.agent.boot != other.agent.boot
    await one.store.close()
    await beats(other, lambda: other.agent.leads)


async def test_the_leader_says_what_follows_when_the_writer_died_before_it_did(pair: Pair) -> None:
    """The other agent's Vpn is durable and its answer is not: as after a SIGKILL between the two."""
    one, other = pair
    await one.siblings.begin()
    await known(other)
    running = asyncio.ensure_future(one.siblings.run())
    request = VpnRequest(name="orphan", kind=VpnKind.L2, attachments=MEMBERS)
    draft = new_vpn(other.agent.situation, request, "demo", f"{SITE}.orphan", datetime.now(UTC))
    await other.store.commit(Batch(drafts=(draft,)), other.agent._seal)
    async with asyncio.timeout(10):
        while one.agent.table.own_answer(f"{SITE}.orphan") is None:
            await one.agent.news.wait(0.1)
    running.cancel()


async def test_who_cannot_reach_the_store_promises_nothing_and_leads_no_more(rig: PostgresRig, pair: Pair) -> None:
    one, _ = pair
    await one.siblings.begin()
    await heard(one)
    name = sql.Identifier(rig.database)
    with psycopg.connect(rig.server.url(), autocommit=True) as server:
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        rig.server.end_sessions(rig.database)
        await beats(one, lambda: bool(one.agent.cut_off))
        with pytest.raises(Unavailable):
            await one.exchange.handle("lyon", wire.encode(Message(sender="lyon", incarnation=1, boot="b")))
        with pytest.raises(StorageError):
            await one.agent.remember(LocalEntry("s", "k", "v"))
        await beats(one, lambda: not one.agent.leads)
        server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    await beats(one, lambda: not one.agent.cut_off and one.agent.leads)
    await one.exchange.handle("lyon", wire.encode(Message(sender="lyon", incarnation=1, boot="b")))
    await one.agent.remember(LocalEntry("s", "k", "v"))


async def test_an_agent_ends_when_its_database_was_put_back(rig: PostgresRig, pair: Pair) -> None:
    one, _ = pair
    await one.siblings.begin()
    copy = rig.backup()
    await beats(one, lambda: not one.agent.cut_off)
    for n in range(2):
        draft = Draft(kind=Kind.NETWORK, id=f"{SITE}.after{n}", body=named(f"after{n}"))
        with suppress(StorageError):
            await one.agent.write(lambda s, d=draft: [d])  # type: ignore[misc]
    rig.put_back(copy)
    with pytest.raises(Damaged):
        async with asyncio.timeout(30):
            await one.siblings.run()
    await one.store.close()
    again = compose(rig, "1", {})
    found = await again.agent.open()
    assert found.behind is not None
    assert again.agent.recovering
    await again.store.close()

"""Who may say what in a peer call: everything that a call can carry × every kind of caller.

nantes is called. `lyon` is a member of its Vpn `blue`; `metz` is foreign: pinned, but named by no Vpn of nantes, and
none of its projects is mapped. `brest` was introduced by lyon and waits for approval, `rennes` was pinned and then
forgotten, `mallory` is nobody. What a call can carry is read from the message's own fields and from the kinds of
records.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from intertie.agent.exchange import HOLD
from intertie.model import wire
from intertie.model.bodies import (
    Attachment,
    ForgottenBody,
    GrantBody,
    HostBody,
    IntroductionBody,
    MappingBody,
    NetworkBody,
    ProposalBody,
    SiteBody,
    VpnKind,
    Word,
)
from intertie.model.codec import decode
from intertie.model.errors import Forbidden
from intertie.model.records import Cursor, Draft, Kind, Order, Record
from intertie.model.views import VpnRequest
from intertie.model.wire import Join, Message, ToldCause, ToldHost, ToldPair, ToldSight, Volatile
from intertie.planning import trust
from intertie.planning.change import new_vpn
from intertie.planning.compile import compile_site
from intertie.planning.identity import answer_id, forgotten_id, grant_id, introduction_id, site_id
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.federation import OPERATOR, Site, World
from tests.unit.api_lab import virtually

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FOREIGN = {
    # Public kinds are kept as its word on itself; what is about `blue` is kept and changes nothing.
    "record site": "kept",
    "record introduction": "kept",
    "record forgotten": "kept",
    "record grant": "kept",
    "record vpn": "kept, answered",
    "record answer": "kept",
    "record proposal": "kept, answered",
    "record mapping": "left out",
    "record network": "left out",
    "record host": "left out",
    "sights": "nothing",
    "hosts": "nothing",
    "verified": "nothing",
    "verify": "nothing",
    "join": "nothing",
    "recover": "told its own",
    "recover_after": "nothing",
    "held": "told",
    "since": "nothing",
    "upto": "nothing",
    "wait": "nothing",
    "more": "nothing",
    "returns": "nothing",
    "boot": "nothing",
    "incarnation": "nothing",
    "sender": "forbidden",
    "opened": "nothing",
    "mark": "nothing",
    "echo": "nothing",
    "cloned": "nothing",
    "held_of": "nothing",
    "request": "nothing",
    "trace": "nothing",
    "causes": "nothing",
    "at": "nothing",
}
MEMBER = {
    **FOREIGN,
    "record vpn": "kept, answered, built",
    "record answer": "kept, shown, built",
    "record proposal": "kept, answered, shown",
    "sights": "shown",
    "hosts": "shown",
    "verify": "told",
}
for _kind in Kind:
    FOREIGN[f"returned {_kind}"] = MEMBER[f"returned {_kind}"] = "nothing"
"""nantes has not lost its store: what is given back to it is not needed."""

NOBODY = dict.fromkeys(FOREIGN, "forbidden")
CALLERS = {"lyon": MEMBER, "metz": FOREIGN, "brest": NOBODY, "rennes": NOBODY, "mallory": NOBODY}


@dataclass
class Stage:
    world: World
    blue: str
    caller: str
    said: int = 0

    @property
    def nantes(self) -> Site:
        return self.world.running["nantes"]

    @property
    def vpn(self) -> Record:
        found = self.nantes.agent.table.get(self.blue)
        assert found is not None
        return found

    def sealed(self, kind: Kind, id: str, body: Any, names: tuple[str, ...] = ()) -> Record:
        """A record as the caller would write it."""
        self.said += 1
        order = Order(incarnation=1, seq=100_000 + self.said)
        return FakeKeys(self.caller, self.world.secrets).seal(
            self.caller, Draft(kind=kind, id=id, names=names, body=body), order
        )


async def staged(caller: str) -> Stage:
    world = World()
    await world.site("nantes", introductions="ask")
    for name in ("lyon", "metz", "rennes", "brest"):
        await world.site(name)
    await world.enrol("nantes", "lyon", "metz", "rennes")
    nantes, lyon, metz = (world.running[n] for n in ("nantes", "lyon", "metz"))
    token, _ = await lyon.enrolment.invite("brest")
    await world.running["brest"].enrolment.join(token)
    await world.until(lambda: "brest" in trust.introduced(nantes.agent.table))
    await nantes.enrolment.map("metz", "demo", "demo", ())
    await world.net("nantes", "blue", "10.0.0.0/24")
    for name in ("lyon", "metz"):
        await world.net(name, "own", "10.9.0.0/24")
    blue = await world.vpn("nantes", "blue", "l2", "nantes:blue", "lyon")
    await world.until(lambda: world.phase("nantes", blue) == "ready")
    await nantes.networks.create_host(OPERATOR, "here", "blue")
    await lyon.networks.create_host(OPERATOR, "there", "blue")
    await nantes.enrolment.forget("rennes")
    await world.until(lambda: metz.agent.acked["nantes"] == metz.agent.table.last())
    # From here on nantes hears what the test says, and nothing else.
    world.isolate("nantes")
    await asyncio.sleep(60.0)
    return Stage(world, blue, caller)


def a_vpn(stage: Stage) -> Record:
    site = stage.world.running.get(stage.caller)
    id = f"{stage.caller}.01another"
    if stage.caller not in ("lyon", "metz"):
        return stage.sealed(Kind.VPN, id, stage.vpn.body, ("lyon", "nantes"))
    assert site is not None
    ends = (Attachment(site=stage.caller, network="own"), Attachment(site="nantes"))
    request = VpnRequest(name="another", kind=VpnKind.L2, attachments=ends)
    draft = new_vpn(site.agent.situation, request, "demo", id, site.agent.now())
    return stage.sealed(Kind.VPN, id, draft.body, draft.names)


def an_answer(stage: Stage) -> Record:
    standing = stage.nantes.agent.table.answer_record(stage.blue, "lyon")
    assert standing is not None
    body = replace(standing.body, word=Word.REFUSED, endpoints=())
    return stage.sealed(Kind.ANSWER, answer_id(stage.caller, stage.blue), body, ("nantes",))


def a_proposal(stage: Stage) -> Record:
    body = ProposalBody(
        vpn=stage.blue,
        base=stage.vpn.order,
        change="update",
        name="renamed",
        attachments=tuple(Attachment(site=a.site, network=a.network) for a in stage.vpn.body.attachments),
        project="demo",
        not_after=stage.nantes.agent.now() + timedelta(hours=1),
    )
    return stage.sealed(Kind.PROPOSAL, f"{stage.caller}.proposal.01p", body, ("nantes",))


def a_record(stage: Stage, kind: Kind) -> Record:
    """One of each kind, as plausible as it can be, made and signed by the caller."""
    caller, root = stage.caller, FakeKeys(stage.caller, stage.world.secrets).root
    prefixes = stage.vpn.body.prefixes
    local: dict[Kind, Any] = {
        Kind.MAPPING: MappingBody(peer=caller, theirs="demo", ours="demo"),
        Kind.NETWORK: NetworkBody(name="n", project="demo", prefixes=prefixes, mtu=1400),
        Kind.HOST: HostBody(name="h", project="demo", network="nantes.blue", addresses=()),
    }
    match kind:
        case Kind.SITE:
            said = trust.site_body(stage.nantes.agent.table, caller)
            body = replace(said or SiteBody(name=caller, version="", root=root), version="9")
            return stage.sealed(kind, site_id(caller), body)
        case Kind.INTRODUCTION:
            id = introduction_id(caller, "paris")
            return stage.sealed(kind, id, IntroductionBody(site="paris", root=root))
        case Kind.FORGOTTEN:
            return stage.sealed(kind, forgotten_id(caller, "lyon", 9), ForgottenBody(site="lyon", incarnation=9))
        case Kind.GRANT:
            grant = GrantBody(space="vni", first=70000, last=70099, to="paris")
            return stage.sealed(kind, grant_id(caller, "vni", "paris", 70000), grant)
        case Kind.VPN:
            return a_vpn(stage)
        case Kind.ANSWER:
            return an_answer(stage)
        case Kind.PROPOSAL:
            return a_proposal(stage)
        case _:
            return stage.sealed(kind, f"{caller}.{kind}.x", local[kind], ("nantes",))


def empty(stage: Stage) -> Message:
    """A call that says nothing new, and has heard everything."""
    agent = stage.nantes.agent
    read = agent.cursors.get(stage.caller, Cursor())
    known = stage.nantes.exchange.whispers._hosts.get((stage.blue, stage.caller), ())
    return Message(
        sender=stage.caller,
        incarnation=1,
        boot="b",
        held=agent.table.last(),
        since=read,
        upto=read,
        volatile=Volatile(hosts=known),
    )


def carrying(stage: Stage, thing: str) -> Message:
    message, far = empty(stage), Cursor(9, 9)
    said = message.volatile
    what, _, kind = thing.partition(" ")
    if what in ("record", "returned"):
        sent: dict[str, Any] = {"records" if what == "record" else what: (a_record(stage, Kind(kind)),)}
        return replace(message, **sent)
    others: dict[str, dict[str, Any]] = {
        "sights": {"volatile": replace(said, sights=(ToldSight(vpn=stage.blue, to="nantes", health="down"),))},
        "hosts": {
            "volatile": Volatile(hosts=(ToldHost(vpn=stage.blue, name="x", addresses=(ip_address("10.0.0.9"),)),))
        },
        "verified": {"volatile": replace(said, verified=(ToldPair(vpn=stage.blue, to_site="nantes", ok=True),))},
        "verify": {"verify": (stage.blue,)},
        "join": {"join": Join(name=stage.caller, secret="guess")},
        "recover": {"recover": True},
        "recover_after": {"recover": True, "recover_after": far},
        "held": {"held": Cursor()},
        "since": {"since": far, "upto": far},
        "upto": {"upto": max(message.upto, Cursor(1, 99_999))},
        "wait": {"wait": 1e9},
        "more": {"more": True},
        "returns": {"returns": True},
        "boot": {"boot": "another"},
        "incarnation": {"incarnation": 7},
        "request": {"request": "forged"},
        "trace": {"trace": TRACE},
        "causes": {"causes": (ToldCause(record=stage.blue, request="forged", trace=TRACE),)},
        "at": {"at": 5e9},
        "sender": {"sender": "lyon" if stage.caller == "metz" else "metz"},
        "opened": {"opened": Cursor(1, 1)},
        "mark": {"mark": "x" * 128},
        "echo": {"echo": f"{stage.nantes.agent.boot}/{10**9}"},
        "cloned": {"cloned": True},
        "held_of": {"held_of": "another"},
    }
    return replace(message, **others[thing])


@dataclass
class Seen:
    """All of nantes that a call could bend."""

    records: dict[str, str]
    shown: Any
    built: Any
    hosts: Any
    events: int
    peers: Any


def seen(stage: Stage) -> Seen:
    agent = stage.nantes.agent
    records = {r.id: r.digest for kind in Kind for r in agent.table.all_of(kind)}
    view = stage.nantes.vpns.get(OPERATOR, stage.blue)
    told = {key: sight.health for key, sight in stage.nantes.health._told.items()}
    hosts = dict(stage.nantes.exchange.whispers._hosts)
    shown = (view.name, [(m.site, m.answer, m.reason, m.network, m.ranges) for m in view.members], told)
    last = agent.events[-1].seq
    return Seen(records, shown, compile_site(agent.table), hosts, last, str(agent.peers))


async def outcome(stage: Stage, thing: str) -> str:
    """In words, what came of it; and what may never come of anything."""
    agent = stage.nantes.agent
    await asyncio.sleep(10.0)  # a round, for what came before
    message, before = carrying(stage, thing), seen(stage)
    begun = asyncio.get_running_loop().time()
    try:
        raw = await stage.nantes.exchange.handle(stage.caller, wire.encode(message))
    except Forbidden:
        assert seen(stage) == before, thing
        return "forbidden"
    assert asyncio.get_running_loop().time() - begun <= HOLD + 5
    after = seen(stage)
    reply, faults = wire.decode(raw, decode)
    assert not faults
    changed = {
        id for id in before.records.keys() | after.records.keys() if before.records.get(id) != after.records.get(id)
    }
    homes = {record.home for record in map(agent.table.get, changed) if record is not None}
    # I16: it alters its own records, and nantes answers with its own.
    assert homes <= {"nantes", stage.caller}, thing
    assert all(r.home == "nantes" and r.concerns(stage.caller) for r in reply.records), thing
    assert all(r.home == stage.caller for r in reply.returned), thing
    words = {
        "kept": bool(message.records) and message.records[0].digest in after.records.values(),
        "left out": any(e.kind == "rejected" for e in agent.events if e.seq > before.events),
        "answered": "nantes" in homes,
        "shown": (before.shown, before.hosts) != (after.shown, after.hosts),
        "built": before.built != after.built,
        "told its own": bool(reply.returned),
        "told": bool(not changed and (reply.records or reply.volatile.verified)),
    }
    return ", ".join(word for word, true in words.items() if true) or "nothing"


@pytest.mark.parametrize("caller", CALLERS)
@virtually
async def test_every_thing_that_a_call_carries_for_every_caller(caller: str) -> None:
    stage = await staged(caller)
    found = {thing: await outcome(stage, thing) for thing in CALLERS[caller]}
    assert found == CALLERS[caller]
    await stage.world.close()


def test_the_matrix_has_every_kind_and_every_part_of_a_message() -> None:
    parts = {f.name for cls in (Message, Volatile) for f in fields(cls)} - {"records", "returned", "volatile"}
    kinds = {f"{what} {kind}" for what in ("record", "returned") for kind in Kind}
    assert FOREIGN.keys() == MEMBER.keys() == parts | kinds


@virtually
async def test_who_shows_no_certificate_may_only_join_whatever_else_it_carries() -> None:
    stage = await staged("mallory")
    before = seen(stage)
    for thing in FOREIGN:
        for caller in ("mallory", "lyon", "nantes"):
            message = replace(carrying(stage, thing), sender=caller)
            with pytest.raises(Forbidden):
                await stage.nantes.exchange.handle(None, wire.encode(message))
    assert seen(stage) == before
    await stage.world.close()


@virtually
async def test_what_a_stranger_sends_is_worth_no_event() -> None:
    """Events are kept in a bounded list: who may say nothing must not push out what others are to read."""
    stage = await staged("mallory")
    before = seen(stage)
    bad = wire.encode(empty(stage)).replace(b'"records":[]', b'"records":[{},{},{}]')
    for caller in (None, "mallory", "rennes", "brest"):
        with pytest.raises(Forbidden):
            await stage.nantes.exchange.handle(caller, bad)
    assert seen(stage) == before
    await stage.world.close()

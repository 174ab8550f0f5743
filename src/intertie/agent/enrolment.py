"""How sites come to know each other: invite, join, approve, map, forget, leave."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from intertie.agent.agent import Agent
from intertie.agent.causes import current
from intertie.agent.clones import Clones
from intertie.agent.ports import Invitations, PeerAddress, PeerTransport
from intertie.agent.recovery import QUARANTINE
from intertie.model import wire
from intertie.model.bodies import GrantBody, IntroductionBody, MappingBody, SiteBody
from intertie.model.codec import check_name
from intertie.model.codec import decode as decode_record
from intertie.model.errors import Conflict, Forbidden, NotFound, Refused, Unavailable
from intertie.model.records import Cursor, Draft, Kind, Record, State
from intertie.model.storage import LocalEntry
from intertie.model.views import MappingView, PeerView
from intertie.model.wire import Join, Message
from intertie.planning import numbers, trust
from intertie.planning.admit import Situation
from intertie.planning.change import taken_vnis
from intertie.planning.enrol import approval, forgetting, goodbye, pin, site_draft
from intertie.planning.plausible import flaw

SPACE = "invitation"
LONGEST = 24 * 3600
GOODBYE = 5.0
"""Seconds for which peers may take to hear that this site leaves."""
TWO_AGENTS = (
    "two agents on two stores write as {0}: nothing of either is taken; end one of them (a copy of its machine?), "
    "then wait, or say so: intertie site approve {0}"
)
MAY = ("l2", "l3", "reserve", "read")


class Enrolment:
    """The use cases; and `admit`, the far end of `join`."""

    def __init__(self, agent: Agent, transport: PeerTransport, invitations: Invitations) -> None:
        self.agent = agent
        self._transport = transport
        self._invitations = invitations
        self.clones = Clones(agent)

    # ── Inviting ───────────────────────────────────────────────────────────────────────────────────────────

    async def invite(self, name: str, expires_in: float = LONGEST) -> tuple[str, datetime]:
        """(token, when it ends). The token is shown once; only a hash of its secret is kept."""
        agent = self.agent
        # Who joins is granted numbers: they must not have been granted before to somebody else.
        agent.needs_its_past()
        check_name(name, "site")
        if not 0 < expires_in <= LONGEST:
            raise Refused("an invitation lasts at most 24 hours", hint="expires_in: seconds, 1 to 86400")
        if not agent.settings.address:
            raise Refused(
                f"{agent.site} cannot be called, so nobody can join through it",
                hint="set `address` in site.toml, or join the other site from here",
            )
        if name == agent.site or name in trust.pins(agent.table):
            raise Conflict(f"{name} is a peer already", code="name-taken")
        token, secret = self._invitations.make(name, agent.site, agent.settings.address)
        ends = agent.now() + timedelta(seconds=expires_in)
        entry = LocalEntry(SPACE, name, json.dumps({"hash": secret, "ends": ends.isoformat(), "root": ""}))
        await agent.write(_founded, [entry])
        return token, ends

    async def admit(self, join: Join, records: Sequence[Record], sender: str) -> None:
        """Let in who shows the secret of an invitation. Forbidden otherwise, without saying what was wrong."""
        agent = self.agent
        await agent.catch_up()
        site = _site_of(records, sender)
        entry = self._invited(join, site, sender)
        assert site is not None
        agent.needs_its_past()
        record, body = site
        incarnation = record.order.incarnation
        introduction = IntroductionBody(site=sender, root=body.root, address=body.address, incarnation=incarnation)
        used = LocalEntry(SPACE, sender, json.dumps({**entry, "root": body.root}))
        again = sender in trust.pins(agent.table)

        def admission(situation: Situation) -> list[Draft]:
            self._invited(join, site, sender)  # another agent of this site may have let somebody in with it meanwhile
            return _admission(situation, introduction)

        await agent.write(admission, [used])
        if not again:
            agent.tell("peer", sender, sender, "joined by invitation")

    def _invited(self, join: Join, site: tuple[Record, SiteBody] | None, sender: str) -> dict[str, str]:
        """The invitation, as kept, if this sender may use it. Forbidden otherwise."""
        agent = self.agent
        entry: dict[str, str] = json.loads(agent.local.get(SPACE, {}).get(join.name, "{}"))
        wrong = (
            not entry
            or site is None
            or sender != join.name
            or self._invitations.hash(join.secret, join.name) != entry["hash"]
            or datetime.fromisoformat(entry["ends"]) < agent.now()
        )
        if wrong or site is None or not agent.ports.keys.verify(site[1].root, site[0]):
            raise Forbidden("this invitation is not valid: unknown, used, or past its time", hint="ask for a new one")
        if entry["root"] not in ("", site[1].root) or (entry["root"] and sender not in trust.pins(agent.table)):
            raise Forbidden("this invitation was used by another key")
        return entry

    # ── Joining ────────────────────────────────────────────────────────────────────────────────────────────

    async def join(self, token: str) -> str:
        """Join the site that made `token`; its name. Everything else comes with the first exchange."""
        agent = self.agent
        invitation = self._invitations.parse(token)
        if invitation.name != agent.site:
            raise Refused(
                f"the invitation is for {invitation.name}, this site is {agent.site}",
                hint=f"ask {invitation.inviter} for one: intertie site invite {agent.site}",
            )
        own = agent.table.get(f"{agent.site}.site")
        if own is None or not own.live:
            raise Unavailable("this site has not looked at itself yet", hint="try again in a second")
        message = Message(
            sender=agent.site,
            incarnation=agent.incarnation,
            boot=agent.lineage,
            records=(own,),
            upto=Cursor(),
            join=Join(name=agent.site, secret=invitation.secret),
            request=current().request,
            trace=current().trace,
        )
        address = PeerAddress(name=invitation.inviter, address=invitation.address, key=invitation.key)
        raw = await self._transport.call(address, wire.encode(message), agent.settings.call_timeout)
        reply, _ = wire.decode(raw, decode_record)
        site = _site_of(reply.records, invitation.inviter)
        keys = agent.ports.keys
        if site is None or keys.point_of(site[1].root) != invitation.key or not keys.verify(site[1].root, site[0]):
            raise Refused(f"{invitation.inviter} did not prove that it made this invitation", code="forbidden")
        introduction = IntroductionBody(
            site=invitation.inviter,
            root=site[1].root,
            address=invitation.address,
            incarnation=site[0].order.incarnation,
        )
        await agent.write(lambda s: _joined(s, introduction))
        return invitation.inviter

    async def approve(self, name: str) -> None:
        """Pin a site that a peer introduced. If it is pinned already, its quarantine ends: one of two agents was
        ended, an operator says."""
        if name in trust.pins(self.agent.table):
            await self.clones.end(name, "an operator says so")
            return
        await self.agent.write(lambda s: [approval(s.table, name)])

    async def forget(self, name: str) -> None:
        """From now on nothing of this peer is taken, and its connections are cut (rule 17)."""
        # Its invitation goes with it: a token that was used must not bring a forgotten site back.
        gone = [LocalEntry(SPACE, name, None), LocalEntry(QUARANTINE, name, None)]
        await self.agent.write(lambda s: forgetting(s.table, name), gone)
        self._transport.trust({n: b.root for n, b in trust.pins(self.agent.table).items()})
        await self.agent.recovered()

    async def leave(self) -> None:
        """Withdraw from the federation. Refused while Vpns bind this site to others. Peers that hear of it forget
        this site; for those that are silent nobody waits."""
        self.agent.needs_its_past()
        bound = [b.name for r, b in self.agent.table.vpns() if self.agent.site in r.header.names]
        if bound:
            raise Conflict(
                f"{self.agent.site} is a member of {', '.join(bound)}",
                code="in-use",
                hint="delete these Vpns, or remove this site from them, first",
            )
        await self.agent.write(lambda s: goodbye(s.table))
        await self._told_goodbye()
        for name in list(trust.pins(self.agent.table)):
            await self.forget(name)

    async def _told_goodbye(self) -> None:
        """Until every peer that answers has heard so far. Who heard may cut the connection instead of saying so."""
        agent, loop = self.agent, asyncio.get_running_loop()
        place, ends = agent.table.last(), loop.time() + GOODBYE

        def waited_for() -> bool:
            return any(
                agent.acked.get(name, Cursor()) < place and not agent.peer(name).failures
                for name in trust.pins(agent.table)
            )

        while waited_for() and loop.time() < ends:
            await agent.news.wait(0.1)

    # ── Mappings ───────────────────────────────────────────────────────────────────────────────────────────

    async def map(self, peer: str, theirs: str, ours: str, may: Sequence[str] = ("l2", "l3", "read")) -> MappingView:
        """Let `theirs` of `peer` act as `ours` here. An empty `may` takes it back."""
        check_name(theirs, "project")
        check_name(ours, "project")
        if peer not in trust.pins(self.agent.table):
            raise NotFound(f"{peer} is no peer of {self.agent.site}", hint="intertie site list")
        unknown = [m for m in may if m not in MAY]
        if unknown:
            raise Refused(f"{unknown[0]!r} is nothing that a mapping allows", hint=f"one of {', '.join(MAY)}")
        body = MappingBody(peer=peer, theirs=theirs, ours=ours, may=tuple(sorted(set(may))))
        await self.agent.write(lambda s: _mapped(s, body))
        return MappingView(peer=peer, theirs=theirs, ours=ours, may=body.may)

    def mappings(self, peer: str | None = None) -> list[MappingView]:
        found = self.agent.table.bodies(Kind.MAPPING, MappingBody)
        return [
            MappingView(peer=b.peer, theirs=b.theirs, ours=b.ours, may=b.may)
            for _, b in found
            if peer in (None, b.peer)
        ]

    # ── Showing ────────────────────────────────────────────────────────────────────────────────────────────

    def peers(self) -> list[PeerView]:
        """All peers: pinned, introduced and waiting, forgotten."""
        agent = self.agent
        pinned = trust.pins(agent.table)
        views = [self._pinned(name, body) for name, body in pinned.items()]
        views += [
            PeerView(
                name=name,
                state="pending",
                address=body.address,
                last_seen=None,
                rtt_ms=None,
                introduced_by=by,
                fingerprint=agent.ports.keys.fingerprint_of(body.root),
            )
            for name, (by, body) in trust.introduced(agent.table).items()
        ]
        views += [
            PeerView(name=name, state="forgotten", address="", last_seen=None, rtt_ms=None)
            for name in trust.forgotten(agent.table)
            if name not in pinned
        ]
        return sorted(views, key=lambda v: v.name)

    def peer(self, name: str) -> PeerView:
        for found in self.peers():
            if found.name == name:
                return found
        raise NotFound(f"{name} is no peer of {self.agent.site}", hint="intertie site list")

    def _pinned(self, name: str, body: IntroductionBody) -> PeerView:
        state = self.agent.peer(name)
        limit = self.agent.settings.heartbeat * 3
        if state.last_seen is None:
            # Since this agent began; a peer that was read before is no newcomer.
            word = "silent" if name in self.agent.cursors and state.failures else "pending"
        else:
            quiet = asyncio.get_running_loop().time() - state.heard_at > limit or state.failures > 2
            word = "silent" if quiet else "up"
        problem = state.problem
        if self.clones.quarantined(name):
            word, problem = "quarantined", TWO_AGENTS.format(name)
        said = trust.site_body(self.agent.table, name)
        return PeerView(
            name=name,
            state=word,
            location=said.location if said else None,
            cloud=said.cloud if said else "",
            cell=said.cell if said else "",
            transports=said.transports if said else (),
            address=body.address,
            last_seen=state.last_seen,
            rtt_ms=round(state.rtt_ms, 2) if state.rtt_ms is not None else None,
            problem=problem,
            fingerprint=self.agent.ports.keys.fingerprint_of(body.root),
        )


def _site_of(records: Iterable[Record], name: str) -> tuple[Record, SiteBody] | None:
    for record in records:
        body = record.body
        if isinstance(body, SiteBody) and record.home == name == body.name and flaw(record.header, body) is None:
            return record, body
    return None


def _founded(situation: Situation) -> list[Draft]:
    """A site that holds no numbers and has no peer is the first of its federation: it takes the whole space."""
    table = situation.table
    if numbers.holding(table, table.site) or trust.pins(table):
        return []
    return [_grant(situation, numbers.founding(table.site))]


def _grant(situation: Situation, body: GrantBody) -> Draft:
    id = f"{situation.site}.grant.{body.space}.{body.to}.{body.first}"
    standing = situation.table.get(id)
    return Draft(kind=Kind.GRANT, id=id, body=body, base=standing.order if standing else None)


def _admission(situation: Situation, introduction: IntroductionBody) -> list[Draft]:
    """Pin the joiner, and grant it a block of numbers unless it has one from here."""
    table = situation.table
    drafts = _founded(situation)
    given = [b for r, b in table.bodies(Kind.GRANT, GrantBody) if r.home == table.site and b.to == introduction.site]
    if not given and not drafts:
        drafts = [_grant(situation, numbers.block_for(table, table.site, introduction.site, taken_vnis(situation)))]
    known = trust.pins(table).get(introduction.site)
    # A joiner that did not hear the answer asks again: what it said the first time changes nothing (invariant I13).
    again = known is not None and known.root == introduction.root
    return drafts if again else [pin(table, introduction), *drafts]


def _joined(situation: Situation, introduction: IntroductionBody) -> list[Draft]:
    """Pin the inviter; a space that this site took when it was alone is given up for the inviter's block."""
    table = situation.table
    founding = [
        Draft(kind=Kind.GRANT, id=r.id, state=State.WITHDRAWN, body=b, base=r.order)
        for r, b in table.bodies(Kind.GRANT, GrantBody)
        if r.home == table.site and b.to == table.site and not trust.pins(table)
    ]
    return [pin(table, introduction), *founding, *site_draft(table, _own(table.get(f"{table.site}.site")))]


def _own(record: Record | None) -> SiteBody:
    assert record is not None
    assert isinstance(record.body, SiteBody)
    return record.body


def _mapped(situation: Situation, body: MappingBody) -> list[Draft]:
    id = f"{situation.site}.mapping.{body.peer}.{body.theirs}"
    standing = situation.table.get(id)
    if standing is not None and standing.live and standing.body == body:
        return []
    state = State.LIVE if body.may else State.WITHDRAWN
    return [Draft(kind=Kind.MAPPING, id=id, state=state, body=body, base=standing.order if standing else None)]

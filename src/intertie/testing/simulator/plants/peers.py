"""Mistakes between two sites: what was heard, whom to believe, how a lost past comes back (rules 4, 7, 17–19)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from intertie.agent.recovery import RECOVERY
from intertie.model.bodies import AnswerBody, GrantBody, IntroductionBody
from intertie.model.items import Remote
from intertie.model.records import Cursor, Draft, Kind, Record
from intertie.model.storage import LocalEntry
from intertie.planning import numbers, ranges
from intertie.planning.identity import grant_id
from intertie.testing.simulator.plants.plant import always, planted

# ── What was heard ─────────────────────────────────────────────────────────────────────────────────────────


def _never_back(right: Any) -> Any:
    async def wrong(self: Any, peer: str, judge: Any, acked: Cursor, of: str = "") -> Any:
        return await right(self, peer, judge, max(acked, self.acked.get(peer, Cursor())), of)

    return wrong


@planted(
    "agent.exchange.Exchange.compose",
    expects=("I8", "I5"),
    profiles=("swizzle", "mixed"),
    also={"agent.agent.Agent.take": _never_back},
)
def answer_lost(right: Any) -> Any:
    """What was sent counts as read: if the message or the reply is lost, it is not sent again."""

    def wrong(self: Any, peer: str, since: Cursor) -> Any:
        if peer not in self.agent.acked:
            return right(self, peer, since)
        said = right(self, peer, max(since, self.agent.acked[peer]))
        self.agent.acked[peer] = said.upto
        return said

    return wrong


@planted(
    "agent.exchange.Exchange.compose",
    expects=("I8",),
    profiles=("disks", "mixed"),
    also={"agent.agent.Agent.take": _never_back},
)
def acked_never_goes_back(right: Any) -> Any:
    """A peer's word on how far it has read is taken only if it is more: who lost its store is told nothing again."""

    def wrong(self: Any, peer: str, since: Cursor) -> Any:
        return right(self, peer, max(since, self.agent.acked.get(peer, Cursor())))

    return wrong


@planted("agent.exchange.Exchange.hear", expects=("I8", "I5"), profiles=("unseen", "disks"))
def cursor_past_a_gap(right: Any) -> Any:
    """The cursor moves to the end of what came, whether or not that followed on what is held."""

    async def wrong(self: Any, message: Any) -> None:
        await right(self, replace(message, since=Cursor()))

    return wrong


@planted("agent.exchange.page", expects=("I8", "I5"), profiles=("unseen", "many-small"))
def page_not_in_commit_order(right: Any) -> Any:
    """A message carries the two most urgent records, Vpns first, and the cursor moves to the last of them."""
    urgency = {Kind.VPN: 0, Kind.ANSWER: 1}

    def wrong(records: Iterable[Record]) -> list[Record]:
        found: list[Record] = right(sorted(records, key=lambda r: (urgency.get(r.header.kind, 2), r.cursor)))
        return found[:2]

    return wrong


@planted("agent.exchange.Exchange._back_off", expects=("I18",), profiles=("partitions", "crashes"))
def no_back_off(right: Any) -> Any:
    """A call that failed is made again at once, by everybody."""

    async def wrong(self: Any, peer: str, error: Any) -> None:
        state = self.agent.peer(peer)
        state.failures += 1
        state.problem = error.detail
        await asyncio.sleep(0.05)

    return wrong


# ── Whom to believe ────────────────────────────────────────────────────────────────────────────────────────


@planted("agent.exchange.Exchange._genuine", expects=("I16",), profiles=("liars", "mixed"))
def signature_not_checked(right: Any) -> Any:
    """A record that came over a trusted connection is believed without looking at its signature."""

    def wrong(self: Any, record: Record, peer: str, pinned: IntroductionBody) -> bool:
        keys = self.agent.ports.keys
        self.agent.ports = replace(self.agent.ports, keys=_Credulous(keys))
        try:
            return bool(right(self, record, peer, pinned))
        finally:
            self.agent.ports = replace(self.agent.ports, keys=keys)

    return wrong


class _Credulous:
    """Keys that take every signature for good."""

    def __init__(self, keys: Any) -> None:
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    def verify(self, root: str, record: Record) -> bool:
        return True


@planted("planning.hearing.acceptable", expects=("I16", "rule 2"), profiles=("liars", "mixed"))
def record_of_another_home_accepted(right: Any) -> Any:
    """A trusted peer may bring any site's record, its own or not."""

    def wrong(table: Any, peer: str, record: Record) -> Any:
        return right(table, record.home, record)

    return wrong


@planted("planning.trust.mapped", expects=("I17", "rule 9"), profiles=("mixed", "enrolment"))
def mapping_default_allow(right: Any) -> Any:
    """A peer's project without a mapping stands for ours of the same name: default allow."""

    def wrong(table: Any, peer: str, theirs: str, may: str) -> str:
        return right(table, peer, theirs, may) or theirs

    return wrong


@planted("planning.admit.Situation.network", expects=("I17",), profiles=("enrolment", "mixed"))
def project_of_a_network_from_the_request(right: Any) -> Any:
    """A network is found by its name alone; that it is another project's is not looked at."""

    def wrong(self: Any, project: str, wanted: str) -> Any:
        found = [n for n in self.inventory.networks if wanted in (n.id, n.name)]
        return right(self, project, wanted) or next(iter(found), None)

    return wrong


# ── Forgetting ─────────────────────────────────────────────────────────────────────────────────────────────


@planted("planning.trust.pins", expects=("I16", "rule 17"), profiles=("enrolment", "mixed"))
def forgotten_peer_still_believed(right: Any) -> Any:
    """Forgetting is written down, and changes nothing: the peer's connections, records and segments go on."""

    def wrong(table: Any, site: str | None = None) -> dict[str, IntroductionBody]:
        by = site or table.site
        records = [r for r in table.all_of(Kind.INTRODUCTION) if r.home == by and r.body.site != by]
        return {r.body.site: r.body for r in records}

    return wrong


@planted("planning.trust.forgotten", expects=("I16", "rule 17"), profiles=("enrolment", "mixed"))
def another_s_word_brings_a_forgotten_peer_back(right: Any) -> Any:
    """A forgotten peer is pinned again as soon as somebody else introduces it."""
    return always({})(right)


def _remote(site: str, answer: AnswerBody) -> Any:
    return Remote(site=site, endpoints=answer.endpoints, prefixes=answer.prefixes)


def _has_left_on_record(right: Any) -> Any:
    def wrong(table: Any, id: str, site: str) -> bool:
        vpn = table.get(id)
        return vpn is None or not vpn.live or all(a.site != site for a in vpn.body.attachments)

    return wrong


@planted(
    "planning.compile._remotes",
    expects=("I16", "rule 17"),
    profiles=("enrolment", "mixed"),
    also={"planning.compile._has_left": _has_left_on_record},
)
def forgotten_peer_s_segments_kept(right: Any) -> Any:
    """A forgotten peer is told nothing any more, but packets to and from it go on."""

    def wrong(table: Any, vpn: Record, body: Any, local: Any) -> Any:
        members = {a.site for a in body.attachments}
        answers = {s: a for s, a in table.answers(vpn.id).items() if s in members and s != table.site}
        known = {r.site: r for r in right(table, vpn, body, local)}
        for site, answer in answers.items():
            if site not in known and isinstance(answer, AnswerBody) and answer.endpoints:
                known[site] = _remote(site, answer)
        return known.values()

    return wrong


# ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────


@planted("agent.enrolment._founded", expects=("I1", "I2"), profiles=("enrolment", "mixed"))
def two_founding_grants(right: Any) -> Any:
    """Who is to invite and holds no numbers takes the whole space, though it has joined others that hold it."""

    def wrong(situation: Any) -> Any:
        table = situation.table
        own = [b for r, b in table.bodies(Kind.GRANT, GrantBody) if r.home == b.to == table.site]
        if own:
            return []
        body = numbers.founding(table.site)
        return [Draft(kind=Kind.GRANT, id=grant_id(table.site, body.space, body.to, body.first), body=body)]

    return wrong


@planted("planning.numbers.holding", expects=("I1", "I2"), profiles=("enrolment", "mixed"))
def granted_block_still_held(right: Any) -> Any:
    """What a site granted to others still counts as its own."""

    def wrong(table: Any, site: str) -> Any:
        return ranges.union((b.first, b.last) for _, b in table.bodies(Kind.GRANT, GrantBody) if b.to == site)

    return wrong


def _number_not_judged(right: Any) -> Any:
    def wrong(situation: Any, vpn: Record, body: Any) -> Any:
        reason = right(situation, vpn, body)
        return None if reason is not None and reason.code == "overlap" else reason

    return wrong


@planted(
    "planning.numbers.next_vni",
    expects=("I1",),
    profiles=("many-small", "mixed"),
    also={"planning.admit._cannot_carry": _number_not_judged},
)
def vni_without_looking(right: Any) -> Any:
    """A Vpn takes the first number of the block, without looking at which are taken, and nobody judges it."""

    def wrong(table: Any, site: str, taken: Any) -> Any:
        return right(table, site, ())

    return wrong


@planted("planning.change.taken_vnis", expects=("I1", "I6"), profiles=("unseen", "mixed"))
def vni_of_an_ended_vpn_reused(right: Any) -> Any:
    """A VNI is free again as soon as its Vpn has ended here, though a silent member may still carry it."""

    def wrong(situation: Any) -> set[int]:
        return {body.vni for _, body in situation.table.vpns()}

    return wrong


# ── Restoring ──────────────────────────────────────────────────────────────────────────────────────────────


@planted("store.memory.MemoryStore.open", expects=("I7", "I8", "I3"), profiles=("disks", "mixed"))
def incarnation_kept_after_restore(right: Any) -> Any:
    """A store that is behind its past goes on where it stands: places that were given once are given again."""

    async def wrong(self: Any, incarnation_at_least: int = 0) -> Any:
        held = self.disk.read()
        found = await right(self, incarnation_at_least)
        if found.behind is None:
            return found
        before = held.last if held is not None else Cursor(1, 0)
        self._tables.last = before
        return replace(found, incarnation=before.incarnation)

    return wrong


@planted("store.memory.MemoryStore.open", expects=("I1", "I7", "I8"), profiles=("disks", "mixed"))
def restored_alone_nobody_notices(right: Any) -> Any:
    """The marker lies in the database: a copy put back from a backup looks like the newest state."""

    async def wrong(self: Any, incarnation_at_least: int = 0) -> Any:
        self.disk.marker = None
        return await right(self, incarnation_at_least)

    return wrong


def _orphans_not_counted(right: Any) -> Any:
    def wrong(situation: Any) -> set[int]:
        return {r.body.vni for r in situation.table.all_of(Kind.VPN)}

    return wrong


@planted(
    "agent.agent.Agent.needs_its_past",
    expects=("I1", "rule 18"),
    profiles=("disks", "mixed"),
    also={"planning.change.taken_vnis": _orphans_not_counted},
)
def restored_alone_allocates(right: Any) -> Any:
    """A site that is behind its own past gives out numbers and ranges before it has its past back."""
    return always(None)(right)


@planted("agent.agent.Agent.behind", expects=("rule 18", "I7", "I8"), profiles=("disks", "brief"))
def old_directory_not_noticed(right: Any) -> Any:
    """A site does not compare how far its peers have read it with how far it has come: an old copy goes on."""

    async def wrong(self: Any, *_: Any) -> bool:
        return False

    return wrong


@planted("agent.clones.Lineages.overlap", expects=("rule 18",), profiles=("disks", "brief"))
def clones_not_quarantined(right: Any) -> Any:
    """Two live agents of one key are not told apart: what either writes is taken."""
    return always(False)(right)


@planted("agent.agent.Agent.untold", expects=("rule 18", "I1", "I8"), profiles=("disks", "mixed"))
def recovered_after_the_first_peer(right: Any) -> Any:
    """A site has its past back when the first peer has told what it holds."""

    def wrong(self: Any) -> Any:
        return () if self.told_by else right(self)

    return wrong


@planted("planning.advertise.advertise", expects=("rule 18", "I8", "I5"), profiles=("disks", "mixed"))
def answers_before_recovered(right: Any) -> Any:
    """A site that has lost its store answers Vpns anew before it knows what it had answered."""

    def wrong(situation: Any, ids: Any = None, untold: Any = ()) -> Any:
        return right(situation, ids)

    return wrong


@planted("agent.exchange.Exchange._take_back", expects=("I3", "I8", "rule 18"), profiles=("disks", "mixed"))
def own_records_not_taken_back(right: Any) -> Any:
    """A site that lost its store hears what peers hold of its records, and begins anew without them."""

    async def wrong(self: Any, peer: str, message: Any, *rest: Any) -> None:
        await right(self, peer, replace(message, returned=()), *rest)

    return wrong


def _recovery_not_kept(right: Any) -> Any:
    async def wrong(self: Any, *entries: LocalEntry) -> None:
        kept = [e for e in entries if e.space != RECOVERY]
        if kept:
            await right(self, *kept)

    return wrong


@planted("agent.agent.Agent.remember", expects=("rule 18", "I1", "I8"), profiles=("unseen", "disks"))
def recovery_ends_with_a_restart(right: Any) -> Any:
    """That a store was lost is known until the next restart only: then it looks whole."""
    return _recovery_not_kept(right)

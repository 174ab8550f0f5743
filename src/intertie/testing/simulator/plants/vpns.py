"""Mistakes in how members agree on a Vpn: refusals, silence, closing, proposals, adoption (rules 6, 8–10, 12–14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from intertie.model.bodies import AnswerBody, Share, VpnBody, VpnKind, Word
from intertie.model.errors import Conflict, Reason, Unavailable
from intertie.model.items import Item, Segment
from intertie.model.records import Draft, Record, State
from intertie.planning import ranges
from intertie.planning.compile import may_go
from intertie.planning.diff import diff
from intertie.testing.simulator.plants.plant import always, planted

# ── Yes, no and silence ────────────────────────────────────────────────────────────────────────────────────


@planted("planning.advertise._on_refusal", expects=("rule 9", "I4", "I5"), profiles=("mixed", "many-small"))
def refusal_ends_nothing(right: Any) -> Any:
    """A member's refusal does not end a Vpn that requires all: it goes on without the member."""
    return always(None)(right)


@planted("planning.advertise._on_refusal", expects=("rule 9", "I5", "I8"), profiles=("mixed", "many-small"))
def refusal_ends_require_any_too(right: Any) -> Any:
    """One member's refusal ends a Vpn that was to go on without it."""

    def wrong(situation: Any, vpn: Record, body: VpnBody, answers: Any) -> Any:
        return right(situation, vpn, replace(body, require=type(body.require).ALL), answers)

    return wrong


@planted("planning.advertise._no", expects=("rule 9", "rule 10"), profiles=("unseen", "partitions"))
def silence_taken_for_refusal(right: Any) -> Any:
    """A member that has not answered within ten seconds is taken to have refused."""
    since: dict[tuple[str, str], float] = {}

    def wrong(situation: Any, vpn: Record, body: VpnBody, attachment: Any, answer: Any) -> Any:
        now = asyncio.get_running_loop().time()
        begun = since.setdefault((vpn.id, attachment.site), now)
        if answer is None and not attachment.agreed and not attachment.leaving and now - begun > 10.0:
            return Reason(code="owner-silent", text="no answer")
        return right(situation, vpn, body, attachment, answer)

    return wrong


@planted("planning.table.Table.answers", expects=("rule 9", "I4", "I5"), profiles=("mixed", "many-small"))
def refusal_taken_for_silence(right: Any) -> Any:
    """A refusal is kept like no answer at all: the home waits for it for ever."""

    def wrong(self: Any, id: str) -> dict[str, AnswerBody]:
        found = right(self, id)
        return {s: a for s, a in found.items() if a.word is not Word.REFUSED or ".proposal." in a.vpn}

    return wrong


def _each_version_anew(right: Any) -> Any:
    def wrong(said: AnswerBody, now: AnswerBody, vpn: Record) -> bool:
        return said == now

    return wrong


@planted(
    "planning.compile._remotes",
    expects=("rule 10", "I5"),
    profiles=("partitions", "churn"),
    also={"planning.advertise._same": _each_version_anew},
)
def update_cuts_off_a_silent_member(right: Any) -> Any:
    """An acceptance counts only for the version that it answers: who has not seen the newest one is cut off."""

    def wrong(table: Any, vpn: Record, body: VpnBody, local: Any) -> Any:
        answers = table.answers(vpn.id)
        return [r for r in right(table, vpn, body, local) if answers[r.site].order == vpn.order]

    return wrong


@planted("agent.round.Rounds._plan", expects=("rule 10",), profiles=("partitions", "mixed"))
def silence_is_removal(right: Any) -> Any:
    """A member whose agent has not answered several calls is taken out of the segments until it does."""

    async def wrong(self: Any) -> Any:
        found = await right(self)
        silent = {name for name, peer in self.agent.peers.items() if peer.failures > 4}
        if not silent:
            return found
        wanted = frozenset(_without_remotes(item, silent) for item in found.wanted)
        ports = {n.id: n.ports for n in self.agent.inventory.networks}
        plan = diff(wanted, found.seen, lambda k: may_go(self.agent.table, k), lambda n: ports.get(n, 0))
        return replace(found, wanted=wanted, plan=plan)

    return wrong


def _without_remotes(item: Item, sites: set[str]) -> Item:
    if not isinstance(item, Segment):
        return item
    return replace(item, remotes=tuple(r for r in item.remotes if r.site not in sites))


@planted("agent.round.realised", expects=("rule 9", "I5"), profiles=("clouds", "mixed"))
def driver_failure_taken_for_refusal(right: Any) -> Any:
    """A driver's failure after the acceptance is sent as a refusal."""

    def wrong(situation: Any, segments: Any, failures: Any) -> list[Draft]:
        return [_as_refusal(d) for d in right(situation, segments, failures)]

    return wrong


def _as_refusal(draft: Draft) -> Draft:
    body = draft.body
    if body.failed is None:
        return draft
    return replace(draft, body=replace(body, word=Word.REFUSED, reason=body.failed, realised=False))


# ── Closing ────────────────────────────────────────────────────────────────────────────────────────────────


@planted("planning.advertise._drained", expects=("rule 12", "I5"), profiles=("churn", "mixed"))
def closing_waits_for_nobody(right: Any) -> Any:
    """Closing and removal take effect at once: nobody's `drained` is waited for."""
    return always(True)(right)


@planted("planning.advertise._drained", expects=("rule 12", "rule 10"), profiles=("partitions", "churn"))
def silent_member_counts_as_drained(right: Any) -> Any:
    """A member that has not answered the closing is taken to have let go; only `held` keeps it open."""

    def wrong(answer: Any, vpn: Record) -> bool:
        return answer is None or answer.word is not Word.HELD

    return wrong


@planted("planning.advertise._ports_to_drain", expects=("rule 12",), profiles=("churn", "mixed"))
def held_ports_ignored(right: Any) -> Any:
    """A member says `drained` though hosts still live on the network that was made for the Vpn."""
    return always(0)(right)


@planted("agent.networks._not_leaving", expects=("rule 12",), profiles=("churn", "mixed"))
def new_ports_while_closing(right: Any) -> Any:
    """A member whose Vpn is closing goes on giving addresses to new hosts."""
    return always(None)(right)


@planted("planning.compile._stands_here", expects=("I16", "rule 12", "I8"), profiles=("churn", "mixed"))
def removed_member_left_configured(right: Any) -> Any:
    """A site that a Vpn no longer names keeps its segment for as long as the Vpn lives."""

    def wrong(table: Any, vpn: Record, network: str) -> bool:
        return vpn.live

    return wrong


@planted("planning.compile._has_left", expects=("I16", "rule 12"), profiles=("churn", "mixed"))
def removed_member_stays_a_remote(right: Any) -> Any:
    """A member that the record no longer names stays in the others' segments: only an end of the Vpn ends it."""

    def wrong(table: Any, id: str, site: str) -> bool:
        vpn = table.get(id)
        return vpn is None or not vpn.live

    return wrong


# ── Changes from elsewhere ─────────────────────────────────────────────────────────────────────────────────


@planted("planning.proposals._answered", expects=("rule 13", "I4"), profiles=("partitions", "mixed"))
def withdrawn_proposal_honoured(right: Any) -> Any:
    """A change is applied whenever the proposal comes: withdrawn since, or past its time."""

    def wrong(situation: Any, record: Record, now: Any, moved: set[str]) -> list[Draft]:
        if record.live or situation.table.answer_record(record.id, situation.site) is not None:
            return list(right(situation, record, now, moved))
        alive = replace(record, header=replace(record.header, state=State.LIVE))
        return list(right(situation, alive, record.body.not_after, moved))

    return wrong


@planted("planning.proposals._applied", expects=("rule 13", "I3"), profiles=("partitions", "mixed"))
def proposal_for_another_version_applied(right: Any) -> Any:
    """A proposed change is applied to whatever stands now, not to the version that its user saw."""

    def wrong(situation: Any, record: Record, body: Any, now: Any) -> Any:
        vpn = situation.table.get(body.vpn)
        return right(situation, record, body if vpn is None else replace(body, base=vpn.order), now)

    return wrong


@planted("agent.vpns.Vpns._propose", expects=("rule 13", "I4"), profiles=("partitions", "mixed"))
def given_up_proposal_left_standing(right: Any) -> Any:
    """The user hears that the home is silent, but the proposal stays: the home applies it when it returns."""

    async def wrong(self: Any, vpn: Record, body: Any, wait: float) -> Any:
        outcome = await right(self, vpn, body, 0.0)
        if outcome.pending is None or not wait:
            return outcome
        until = asyncio.get_running_loop().time() + wait
        while (left := until - asyncio.get_running_loop().time()) > 0:
            answer = self.agent.table.answers(outcome.pending.proposal).get(vpn.home)
            if answer is not None and answer.word is Word.ACCEPTED:
                return replace(outcome, pending=None)
            if answer is not None:
                raise Conflict(answer.reason.text if answer.reason else "", code="stale")
            await self.agent.news.wait(min(left, 1.0))
        raise _silent(vpn.home)

    return wrong


def _silent(home: str) -> Unavailable:
    return Unavailable(f"{home} does not answer", code="owner-silent", sites=(home,))


# ── Adoption ───────────────────────────────────────────────────────────────────────────────────────────────


@planted("planning.change.adopted_vpn", expects=("rule 14", "I8"), profiles=("adoption", "mixed"))
def adoption_without_a_new_epoch(right: Any) -> Any:
    """Who adopts a Vpn writes its next version in the old epoch."""

    def wrong(table: Any, vpn: Record) -> Draft:
        draft: Draft = right(table, vpn)
        return replace(draft, epoch=vpn.order.epoch)

    return wrong


def _without_the_first_home(right: Any) -> Any:
    def wrong(table: Any, vpn: Record) -> Any:
        dead = vpn.id.split(".", 1)[0]
        return {s: rs for s, rs in right(table, vpn).items() if s != dead}

    return wrong


@planted(
    "planning.change.adopted_vpn",
    expects=("I1",),
    profiles=("adoption", "mixed"),
    also={"planning.held.claims": _without_the_first_home},
)
def adoption_grants_the_dead_home_s_space(right: Any) -> Any:
    """Who adopts a Vpn takes its dead home's addresses at once: it may live, and its hosts do."""

    def wrong(table: Any, vpn: Record) -> Draft:
        draft: Draft = right(table, vpn)
        body = draft.body
        if body.kind is not VpnKind.L2:
            return draft
        shares = {s.site: s for s in body.shares}
        dead, mine = shares.get(vpn.home), shares.get(table.site)
        if dead is None or mine is None:
            return draft
        shares[table.site] = ranges.absorb(mine, _all_but_gateways(dead, body), body.prefixes)
        shares[vpn.home] = _only_gateways(dead, body)
        return replace(draft, body=replace(body, shares=tuple(shares.values())))

    return wrong


def _only_gateways(share: Share, body: VpnBody) -> Share:
    pieces = [
        r
        for p in body.prefixes
        for g in share.gateways
        if g.version == p.version and g in p
        for r in ranges.ranges_of(((int(g), int(g)),), p)
    ]
    return replace(share, ranges=tuple(pieces))


def _all_but_gateways(share: Share, body: VpnBody) -> Share:
    return ranges.less(share, _only_gateways(share, body), body.prefixes)


@planted("planning.change.adopted_vpn", expects=("rule 14", "I3", "I8"), profiles=("unseen", "adoption"))
def adoption_forgets_closing(right: Any) -> Any:
    """Who adopts a closing Vpn brings it back to life."""

    def wrong(table: Any, vpn: Record) -> Draft:
        draft: Draft = right(table, vpn)
        return replace(draft, state=State.LIVE)

    return wrong


# ── Asking twice ───────────────────────────────────────────────────────────────────────────────────────────


@planted("agent.repeat.Repeat.made", expects=("I3", "I4", "rule 13"), profiles=("unseen", "mixed"))
def idempotency_key_not_kept(right: Any) -> Any:
    """A request that comes again with its key is taken for a new one."""
    return always(None)(right)

"""What a Vpn looks like now: phase and health, derived from records and packets when asked, never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from intertie.model.bodies import AnswerBody, Attachment, VpnBody, Word
from intertie.model.records import Kind, Record, State
from intertie.model.views import Health, MemberView, PairView, Phase, VpnView
from intertie.planning.held import untaken
from intertie.planning.proposals import proposed
from intertie.planning.table import Table

UNPROBED = frozenset({"bgpvpn"})
"""Transports on whose segments nothing of ours is that could send a probe, or answer one. Their health is unknown;
they are ready as soon as every member's cloud has taken them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What packets said of one pair (from here to there): health, RTT in ms, loss 0..1, and when (UTC)."""

    health: Health = Health.UNKNOWN
    rtt_ms: float | None = None
    loss: float | None = None
    probed_at: datetime | None = None
    said_at: datetime | None = None
    """When the site that measures said so; the later word on a pair is taken."""


Sights = Mapping[tuple[str, str, str], Sight]
"""(vpn, from site, to site) → sight: measured here, or told by the site that measured it."""


def in_order(table: Table) -> Sequence[tuple[str, Record]]:
    """(place in the order of creation, record) of every Vpn, ended ones too."""
    places = ((f"{r.body.created_at.timestamp():018.6f} {r.id}", r) for r in table.all_of(Kind.VPN))
    return table.derived("in order", (Kind.VPN,), lambda: sorted(places, key=itemgetter(0)))


def pair_sight(sights: Sights, vpn: str, a: str, b: str) -> Sight:
    """The later word on the pair, from whichever end: a probe is a round trip, so both ends measure the same."""
    both = [s for s in (sights.get((vpn, a, b)), sights.get((vpn, b, a))) if s is not None]
    return max(both, key=lambda s: s.said_at.timestamp() if s.said_at is not None else 0.0, default=Sight())


def view(table: Table, vpn: Record, sights: Sights, project: str | None = None) -> VpnView:
    """`vpn` as seen from this site."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    answers = table.answers(vpn.id)
    pairs = pair_views(vpn, body, sights)
    phase, reason = phase_of(vpn, body, answers, pairs)
    if phase is Phase.READY and (missing := untaken(table, vpn)):
        phase, reason = Phase.WAITING, "; ".join(missing)
    return VpnView(
        id=vpn.id,
        name=body.name,
        kind=body.kind.value,
        project=project or body.project,
        owner=vpn.home,
        epoch=vpn.order.epoch,
        version=(vpn.order.incarnation, vpn.order.seq),
        transport=body.transport,
        vni=body.vni,
        route_target=body.route_target,
        mtu=body.mtu,
        require=body.require.value,
        phase=phase,
        reason=reason,
        hint=body.refusal.hint if body.refusal is not None else "",
        created_at=body.created_at,
        prefixes=tuple(str(p) for p in body.prefixes),
        members=tuple(_member(a, answers.get(a.site), pairs, vpn) for a in body.attachments),
        pairs=pairs,
        proposals=proposed(table, vpn.id) if vpn.home != table.site else (),
    )


def pair_views(vpn: Record, body: VpnBody, sights: Sights) -> tuple[PairView, ...]:
    """Every unordered pair of members, in the order of the member list."""
    sites = [a.site for a in body.attachments]
    found = []
    for i, a in enumerate(sites):
        for b in sites[i + 1 :]:
            s = pair_sight(sights, vpn.id, a, b)
            found.append(
                PairView(from_=a, to=b, health=s.health, rtt_ms=s.rtt_ms, loss=s.loss, probed_at=s.probed_at)
            )
    return tuple(found)


def phase_of(
    vpn: Record, body: VpnBody, answers: Mapping[str, AnswerBody], pairs: tuple[PairView, ...]
) -> tuple[Phase, str]:
    """The phase, and in words what it is waiting for."""
    # Anybody may send an answer; only members' words count.
    answers = {a.site: answers[a.site] for a in body.attachments if a.site in answers}
    if vpn.header.state is State.WITHDRAWN and body.refusal is not None:
        return Phase.REFUSED, body.refusal.text
    if vpn.header.state is not State.LIVE:
        busy = [f"{s} (ports in use: {a.ports})" for s, a in answers.items() if a.word is Word.HELD]
        # A yes to an earlier version is no word on its end.
        silent = [a.site for a in body.attachments if vpn.live and _unheard(answers.get(a.site))]
        return Phase.DELETING, "; ".join([*busy, *(f"{s} has not answered" for s in silent)])
    waiting = [a.site for a in body.attachments if a.site not in answers]
    refused = [f"{s}: {a.reason.text if a.reason else ''}" for s, a in answers.items() if a.word is Word.REFUSED]
    failed = [f"{s}: {a.failed.text}" for s, a in answers.items() if a.failed is not None]
    down = [f"{p.from_}–{p.to} down" for p in pairs if p.health is Health.DOWN]
    unseen = [f"{p.from_}–{p.to}" for p in pairs if p.health is Health.UNKNOWN]
    lost = any(p.health is Health.UNKNOWN and p.probed_at is not None for p in pairs)
    if refused or failed or down:
        return Phase.DEGRADED, "; ".join([*refused, *failed, *down])
    if waiting:
        return Phase.WAITING, f"no answer yet from {', '.join(waiting)}"
    unmade = [a.site for a in body.attachments if not answers[a.site].realised]
    if body.transport in UNPROBED and unmade:
        return Phase.WAITING, f"not made yet at {', '.join(unmade)}"
    if unseen and body.transport not in UNPROBED:
        # Probes crossed once and do not now: something that worked is lost, or cannot be seen.
        return Phase.DEGRADED if lost else Phase.WAITING, f"no probe crossed lately between {', '.join(unseen)}"
    notes = [body.refusal.text] if body.refusal is not None else []
    notes += [f"not measured: no probe crosses {body.transport}"] if body.transport in UNPROBED else []
    notes += [
        f"mtu-reduced at {s}: hosts there may send {a.mtu}, {body.mtu} crosses"
        for s, a in answers.items()
        if a.mtu > body.mtu
    ]
    return Phase.READY, "; ".join(notes)


def _unheard(answer: AnswerBody | None) -> bool:
    return answer is None or answer.word is Word.ACCEPTED


def _member(a: Attachment, answer: AnswerBody | None, pairs: tuple[PairView, ...], vpn: Record) -> MemberView:
    mine = [p for p in pairs if a.site in (p.from_, p.to)]
    rtts = [p.rtt_ms for p in mine if p.rtt_ms is not None]
    losses = [p.loss for p in mine if p.loss is not None]
    times = [p.probed_at for p in mine if p.probed_at is not None]
    why = (answer.failed or answer.reason) if answer is not None else None
    return MemberView(
        site=a.site,
        network=(answer.network_name if answer is not None else "") or a.network,
        answer=answer.word.value if answer is not None else "waiting",
        reason=why.text if why is not None else "",
        hint=why.hint if why is not None else "",
        ranges=answer.ranges if answer is not None else (),
        free=answer.free if answer is not None else (),
        asks=answer.asks if answer is not None else "",
        ports_in_use=answer.ports if answer is not None else 0,
        health=_worst(mine),
        rtt_ms=max(rtts, default=None),
        loss=max(losses, default=None),
        probed_at=min(times, default=None),
        realised=answer.realised if answer is not None else False,
        leaving=a.leaving,
    )


def _worst(pairs: list[PairView]) -> Health:
    seen = {p.health for p in pairs}
    if Health.DOWN in seen:
        return Health.DOWN
    if Health.UNKNOWN in seen or not seen:
        return Health.UNKNOWN
    return Health.READY

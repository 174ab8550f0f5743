"""What a change of a Vpn would do at every member, before it is made: a function of what this site knows.

    foreseen = foresee(situation, vpn, draft)    # vpn: the version that stands; None for a new Vpn
    base_of(vpn, draft, foreseen)                # names the plan: who applies it is refused if it reads otherwise

Each member decides for itself, so what is foreseen of it is what its public records and its earlier answers tell.
What it would refuse as far as that goes is listed apart (`!`), and so is what is worth knowing (`?`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from intertie.model.bodies import Attachment, HostBody, Range, VpnBody, VpnKind, Word
from intertie.model.codec import dumps
from intertie.model.records import Draft, Kind, Order, Record, State
from intertie.planning import ranges, trust
from intertie.planning.admit import Situation, attachment_of, share_of
from intertie.planning.diff import range_text
from intertie.planning.doubts import known_refusals, unknown_mapping
from intertie.planning.gifts import without

NAMES = 6
"""Hosts that a line names before it only counts."""
NEW = "new"
"""The version that a new Vpn starts from."""
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """One thing at one member. `op` is +, ~ or - for a change, ! for a refusal, ? for what is worth knowing."""

    site: str
    op: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Foresight:
    changes: tuple[Line, ...] = ()
    refusals: tuple[Line, ...] = ()
    """What members would refuse, as far as it is known here."""
    notes: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """A change, to be looked at from each member in turn. `end` is the body once everybody who leaves has let go."""

    situation: Situation
    vpn: Record | None
    draft: Draft
    old: VpnBody | None
    new: VpnBody
    end: VpnBody

    @property
    def home(self) -> str:
        return self.vpn.home if self.vpn is not None else self.situation.site

    @property
    def id(self) -> str:
        return self.draft.id

    @property
    def ends(self) -> bool:
        return self.draft.state is not State.LIVE

    @property
    def back(self) -> bool:
        """Whether an end that was asked for is taken back."""
        return self.vpn is not None and self.vpn.header.state is State.CLOSING and not self.ends

    def had(self, site: str) -> Attachment | None:
        return attachment_of(self.old, site) if self.old is not None else None

    def leaves(self, site: str) -> bool:
        a = attachment_of(self.new, site)
        return self.ends or a is None or a.leaving

    def left_before(self, site: str) -> bool:
        """Whether it was leaving already: nothing new happens to it then."""
        had = self.had(site)
        closing = self.vpn is not None and self.vpn.header.state is State.CLOSING
        return self.draft.state is not State.WITHDRAWN and (closing or (had is not None and had.leaving))


def foresee(situation: Situation, vpn: Record | None, draft: Draft) -> Foresight:
    """What `draft`, the next version of `vpn`, would do everywhere."""
    old = vpn.body if vpn is not None else None
    end = draft.body
    for a in draft.body.attachments:
        if a.leaving and len(end.attachments) > 1:
            end = without(end, a.site, situation.site)
    step = _Step(situation=situation, vpn=vpn, draft=draft, old=old, new=draft.body, end=end)
    sites = [a.site for a in step.new.attachments]
    added = [s for s in sites if not step.leaves(s) and step.had(s) is None]
    refusals = tuple(
        Line(s, "!", "refusal", f"! {text}")
        for s in added
        for text in known_refusals(situation, step.home, step.id, step.new, s)
    )
    sure = {r.site for r in refusals}
    unknown = ((s, unknown_mapping(situation, step.home, step.new, s)) for s in added if s not in sure)
    return Foresight(
        changes=tuple(line for s in sites for line in _at(step, s)),
        refusals=refusals,
        notes=(*_mtu_notes(step, sites), *(Line(s, "?", "mapping", f"? {text}") for s, text in unknown if text)),
    )


def base_of(vpn: Record | None, draft: Draft, foreseen: Foresight) -> str:
    """The plan's name: the version that it starts from, and a digest of all that it says. If the same wish would do
    something else by now, at whichever member, that has another name."""
    body = replace(draft.body, created_at=_NO_TIME)
    lines = (*foreseen.changes, *foreseen.refusals, *foreseen.notes)
    told = [dumps(body), draft.state.value.encode(), *(f"{x.site} {x.text}".encode() for x in lines)]
    digest = sha256(b"\n".join(told)).hexdigest()[:12]
    return f"{version_text(vpn.order) if vpn is not None else NEW}+{digest}"


def version_text(order: Order) -> str:
    """A version as ETag and base_version carry it."""
    return f"{order.epoch}.{order.incarnation}.{order.seq}"


def version_in(base: str) -> str:
    """The version that a plan started from."""
    return base.partition("+")[0]


# ── At one member ──────────────────────────────────────────────────────────────────────────────────────────


def _at(step: _Step, site: str) -> Iterator[Line]:
    if step.old is not None and step.new.name != step.old.name:
        yield Line(site, "~", "vpn", f"~ vpn {step.old.name} → {step.new.name}: no packet is touched")
    if not step.leaves(site):
        yield from _staying(step, site)
    elif not step.left_before(site):
        yield from _leaving(step, site)


def _staying(step: _Step, site: str) -> Iterator[Line]:
    body, a, had = step.new, attachment_of(step.new, site), step.had(site)
    assert a is not None
    if body.kind is VpnKind.L2:
        yield from _ranges(step, a)
    others = [o.site for o in body.attachments if o.site != site and not step.leaves(o.site)]
    if had is None:
        remotes = ", ".join(_remote(step, o) for o in others)
        text = f"+ segment {body.name} {body.kind.value} over {body.transport} vni {body.vni} mtu {body.mtu}"
        yield Line(site, "+", "segment", f"{text} remotes {remotes}")
    elif step.back or had.leaving:
        yield Line(site, "~", "segment", f"~ segment {body.name} vni {body.vni} stays: its end is taken back")
    else:
        comes = [f"+{_remote(step, o)}" for o in others if step.had(o) is None]
        goes = [
            f"-{o.site} once it has let go"
            for o in body.attachments
            if o.site != site and o.leaving and not step.left_before(o.site)
        ]
        if comes or goes:
            words = ", ".join([*comes, *goes])
            yield Line(site, "~", "segment", f"~ segment {body.name} vni {body.vni} remotes {words}; edited in place")


def _ranges(step: _Step, a: Attachment) -> Iterator[Line]:
    """What a member of an L2 Vpn holds of its addresses, now and once the leavers have let go."""
    body, name = step.new, a.network or step.new.network
    if step.had(a.site) is None:
        given = _more(body, body, None, a.site)
        # Another home gives of what only it can see to be free.
        told = f"range {given}" if given else f"range of the free addresses of {step.home}"
        told += f", from {step.home}" if given and step.vpn is not None else ""
        if a.network:
            yield Line(a.site, "~", "network", f"~ network {name} {told}")
        else:
            prefixes = ",".join(str(p) for p in body.prefixes)
            yield Line(a.site, "+", "network", f"+ network {name} {prefixes} mtu {body.mtu} {told}")
        return
    if gives := _more(body, step.old, body, a.site):
        to = ", ".join(o.site for o in body.attachments if step.had(o.site) is None)
        yield Line(a.site, "~", "network", f"~ network {name} gives {gives} to {to}")
    leavers = [o.site for o in body.attachments if o.leaving]
    if (gets := _more(body, step.end, body, a.site)) and not all(step.left_before(o) for o in leavers):
        yield Line(a.site, "~", "network", f"~ network {name} gets {gets} once {', '.join(leavers)} has let go")


def _more(body: VpnBody, one: VpnBody | None, other: VpnBody | None, site: str) -> str:
    """The addresses that `site` has in `one` and not in `other`."""
    have, had = (share_of(b, site) if b is not None else None for b in (one, other))
    found: list[Range] = []
    for prefix in body.prefixes:
        spans = [ranges.spans_of(s.ranges, prefix) if s is not None else () for s in (have, had)]
        found += ranges.ranges_of(ranges.subtract(*spans), prefix)
    return ",".join(range_text(r) for r in found)


def _leaving(step: _Step, site: str) -> Iterator[Line]:
    body, a = step.new, attachment_of(step.new, site)
    assert a is not None
    made = body.kind is VpnKind.L2 and not a.network
    ports = _ports(step, site) if made else ""
    at_once = step.draft.state is State.WITHDRAWN
    guarded = "" if at_once or not made else f" once no port is on network {body.network}{ports}"
    yield Line(site, "-", "segment", f"- segment {body.name} vni {body.vni}{guarded}")
    if made:
        when = f"once its ports are gone{ports}" if at_once else "with it"
        yield Line(site, "-", "network", f"- network {body.network} {when}")
    elif body.kind is VpnKind.L2:
        yield Line(site, "~", "network", f"~ network {a.network} stays, and has all of its addresses again")


def _ports(step: _Step, site: str) -> str:
    """` (in use by web, db)`: here by name; elsewhere what the member's answer told, if it did."""
    answer = step.situation.table.answers(step.id).get(site)
    if answer is None:
        return ""
    if site != step.situation.site:
        return f" (ports in use: {answer.ports})" if answer.word is Word.HELD else ""
    hosts = sorted(b.name for _, b in step.situation.table.bodies(Kind.HOST, HostBody) if b.network == answer.network)
    seen = next((n.ports for n in step.situation.inventory.networks if n.id == answer.network), 0)
    names = [*hosts[:NAMES], *([f"{len(hosts) - NAMES} more"] if len(hosts) > NAMES else [])]
    names += [f"{seen - len(hosts)} of others"] if seen > len(hosts) else []
    return f" (in use by {', '.join(names)})" if names else ""


def _remote(step: _Step, site: str) -> str:
    """`lyon 192.0.2.2`: the endpoint that it answered with, or the one that it publishes."""
    answer = step.situation.table.answers(step.id).get(site)
    addresses = [e.address for e in answer.endpoints] if answer is not None else []
    if not addresses and site == step.situation.site:
        addresses = list(step.situation.inventory.underlay)
    if not addresses and (body := trust.site_body(step.situation.table, site)) is not None:
        addresses = list(body.underlay)
    return f"{site} {addresses[0]}" if addresses else site


def _mtu_notes(step: _Step, sites: Iterable[str]) -> Iterator[Line]:
    """Where hosts run that may send larger packets than what crosses."""
    for site in sites:
        if step.leaves(site):
            continue
        name, mtu, hosts = _running(step, site)
        if mtu > step.new.mtu:
            who = f" ({', '.join(hosts[:NAMES])}{', …' if len(hosts) > NAMES else ''})" if hosts else ""
            text = f"? hosts on network {name}{who} may send {mtu} octets, {step.new.mtu} crosses"
            yield Line(site, "?", "mtu", text)


def _running(step: _Step, site: str) -> tuple[str, int, list[str]]:
    """(network, its MTU, its hosts as far as they are known) of a member; MTU 0 where nobody has told."""
    answer = step.situation.table.answers(step.id).get(site)
    if site != step.situation.site:
        return (answer.network_name, answer.mtu, []) if answer is not None else ("", 0, [])
    a = attachment_of(step.new, site)
    wanted = answer.network if answer is not None else a.network if a is not None else ""
    facts = next(
        (
            n
            for n in step.situation.inventory.networks
            if n.id == wanted or (n.name == wanted and n.project == step.new.project)
        ),
        None,
    )
    if facts is None:
        return "", 0, []
    hosts = [b.name for _, b in step.situation.table.bodies(Kind.HOST, HostBody) if b.network == facts.id]
    return facts.name, facts.mtu, sorted(hosts)

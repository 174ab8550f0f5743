"""A user's wish for a Vpn → its next body: pure, and refused here and now when it can be seen not to work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from intertie.model.bodies import Attachment, Prefix, TransportFacts, VpnBody, VpnKind
from intertie.model.codec import check_name
from intertie.model.errors import Conflict, NotFound, Refused
from intertie.model.items import NetworkFacts
from intertie.model.records import Draft, Header, Kind, Order, Record, State
from intertie.model.views import VpnRequest
from intertie.planning import numbers, ranges, trust
from intertie.planning.admit import Situation, attachment_of, judge, project_here, share_of
from intertie.planning.advertise import version_of
from intertie.planning.cells import at_sites
from intertie.planning.held import AGREED, has_left, occupied, takes_part
from intertie.planning.plausible import fits, flaw
from intertie.planning.table import Table

LARGEST_MTU = 9216
"""Of a tenant network: what the bridges of every cloud take."""
PREFERENCE = ("vxlan", "bgpvpn")
"""Transports in the order in which they are chosen when the user names none."""


def check_members(situation: Situation, attachments: Sequence[Attachment], home: str = "") -> None:
    """At least two sites, each once, the home (this site, unless it is told) among them, all pinned here. Refused
    otherwise."""
    sites = [a.site for a in attachments]
    for a in attachments:
        check_name(a.site, "site")
    if len(sites) < 2:
        raise Refused("a Vpn joins at least two sites", hint="give one more attachment: -a SITE[:NETWORK]")
    for site in sites:
        if sites.count(site) > 1:
            raise Refused(f"{site} is named twice", hint="one network a site; make a second Vpn for the other")
    if home and home not in sites:
        raise Refused(
            f"{home} is the Vpn's home and stays a member",
            hint="intertie vpn adopt --force, at another one, moves the home",
        )
    if not home and situation.site not in sites:
        raise Refused(
            f"{situation.site} is not among the members", hint=f"ask at one of them, or add {situation.site}:NETWORK"
        )
    pinned = trust.pins(situation.table)
    strangers = [s for s in sites if s != situation.site and s not in pinned]
    if strangers:
        raise Refused(
            f"{situation.site} has not pinned {', '.join(strangers)}",
            code="unknown-site",
            hint="intertie site list; then site invite, join or approve",
            sites=tuple(strangers),
        )


def facts_of(situation: Situation, site: str, transport: str) -> TransportFacts | None:
    """What `site` says of `transport`; this site's own word comes from its inventory."""
    if site == situation.site:
        return situation.transport(transport)
    body = trust.site_body(situation.table, site)
    return next((t for t in body.transports if t.name == transport), None) if body else None


def choose_transport(situation: Situation, request: VpnRequest) -> str:
    """The transport asked for, or the first that all members advertise. Conflict names who lacks it."""
    sites = [a.site for a in request.attachments]
    missing: dict[str, list[str]] = {}
    for name in (request.transport,) if request.transport else PREFERENCE:
        # A site whose record has not come yet is asked, not judged: its answer will say.
        known = {s: facts_of(situation, s, name) for s in sites if _has_spoken(situation, s)}
        missing[name] = [s for s, f in known.items() if f is None or not _carries(f, request.kind)]
        if not missing[name]:
            return name
    words = "; ".join(f"{name} is missing at {', '.join(sites)}" for name, sites in missing.items())
    lacking = tuple(sorted({s for sites in missing.values() for s in sites}))
    raise Conflict(
        f"no transport carries {request.kind.value} at every member: {words}",
        code="no-common-transport",
        hint="intertie site show SITE gives each transport's reason",
        sites=lacking,
    )


def _has_spoken(situation: Situation, site: str) -> bool:
    return site == situation.site or trust.site_body(situation.table, site) is not None


def _carries(facts: TransportFacts, kind: VpnKind) -> bool:
    return facts.ok and (facts.l2 if kind is VpnKind.L2 else facts.l3)


def common_mtu(situation: Situation, sites: Sequence[str], transport: str) -> int:
    """The largest tenant packet that every member's underlay carries in one piece."""
    found = [f.underlay_mtu - f.overhead for s in sites if (f := facts_of(situation, s, transport)) is not None]
    return min([*found, LARGEST_MTU]) if found else 1450


def new_vpn(situation: Situation, request: VpnRequest, project: str, id: str, now: datetime) -> Draft:
    """The first version of a Vpn of this site's. Refused or Conflict when it is already known that it cannot be."""
    check_name(request.name)
    request = replace(request, attachments=at_sites(situation.table, request.attachments))
    check_members(situation, request.attachments)
    free_name(situation.table, project, request.name)
    transport = choose_transport(situation, request)
    sites = [a.site for a in request.attachments]
    network = _home_network(situation, request, project)
    mtu = common_mtu(situation, sites, transport)
    l2 = request.kind is VpnKind.L2
    prefixes: tuple[Prefix, ...] = network.prefixes if l2 else ()
    vni = numbers.next_vni(situation.table, situation.site, taken_vnis(situation))
    body = VpnBody(
        name=request.name,
        kind=request.kind,
        project=project,
        transport=transport,
        vni=vni,
        route_target=numbers.route_target(vni),
        # Hosts that run with a larger MTU keep it; the condition `mtu-reduced` shows it.
        mtu=min(mtu, network.mtu) if l2 else mtu,
        attachments=tuple(_attachment(situation, a, request.kind, project) for a in request.attachments),
        require=request.require,
        network=network.name if l2 else "",
        prefixes=prefixes,
        shares=ranges.cut(prefixes, sites, occupied(situation.table, network), network.gateways) if l2 else (),
        created_at=now,
    )
    draft = _sound(situation.site, Draft(kind=Kind.VPN, id=id, names=tuple(sorted(sites)), body=body))
    _judged(situation, draft)
    return draft


def _sound(site: str, draft: Draft) -> Draft:
    """`draft` if peers will take it. Refused (invalid, too-large) otherwise: they would only be silent."""
    header = Header(kind=draft.kind, id=draft.id, home=site, order=Order(), state=draft.state, names=draft.names)
    problem = flaw(header, draft.body)
    if problem is not None:
        raise Refused(problem)
    if not fits(site, draft):
        raise Refused("the Vpn would be too large a record", code="too-large", hint="use fewer members or prefixes")
    return draft


def free_name(table: Table, project: str, name: str) -> None:
    """Conflict if a Vpn of that project has the name here already."""
    for record, body in table.vpns():
        if body.name == name and takes_part(table, record) and project_here(table, record) == project:
            raise Conflict(f"there is a Vpn {name} already", code="name-taken", hint=f"intertie vpn show {name}")


def taken_vnis(situation: Situation) -> set[int]:
    """Of every Vpn that is known, ended ones too: what was removed here may still stand elsewhere. And of what this
    machine carries: a site that lost its store may have forgotten whose it is (rule 15)."""
    known = {r.body.vni for r in situation.table.all_of(Kind.VPN) if isinstance(r.body, VpnBody)}
    return known | situation.inventory.vnis


def _home_network(situation: Situation, request: VpnRequest, project: str) -> NetworkFacts:
    """This site's network in the Vpn. For L2 it is the one that is stretched, and stands first."""
    first = request.attachments[0]
    if request.kind is VpnKind.L2 and (first.site != situation.site or not first.network):
        raise Refused(
            "an L2 Vpn stretches a network of the site that is asked: it stands first",
            hint=f"-a {situation.site}:NETWORK first; networks are made where none is named",
        )
    unnamed = [a.site for a in request.attachments if not a.network]
    if request.kind is VpnKind.L3 and unnamed:
        raise Refused(
            f"an L3 Vpn joins networks that exist: none is named for {', '.join(unnamed)}",
            hint="-a SITE:NETWORK for each",
        )
    mine = next(a for a in request.attachments if a.site == situation.site)
    network = situation.network(project, mine.network)
    if network is None:
        raise Refused(
            f"{situation.site} has no network {mine.network} in project {project}",
            code="unknown-network",
            hint="intertie network list",
        )
    return network


def _attachment(situation: Situation, a: Attachment, kind: VpnKind, project: str) -> Attachment:
    """With the prefixes that this site knows: its own network's."""
    network = situation.network(project, a.network) if a.site == situation.site and kind is VpnKind.L3 else None
    return Attachment(site=a.site, cell=a.cell, network=a.network, prefixes=network.prefixes if network else ())


def _judged(situation: Situation, draft: Draft) -> None:
    """Refused with what this site's own judgement says of the draft."""
    header = Header(kind=Kind.VPN, id=draft.id, home=situation.site, order=draft.base or Order(), names=draft.names)
    answer = judge(situation, Record(header, draft.body, b"", b""))
    if answer.reason is not None:
        reason = answer.reason
        raise Refused(reason.text, code=reason.code, hint=reason.hint, sites=(situation.site,))


# ── Change and end ─────────────────────────────────────────────────────────────────────────────────────────


def changed_vpn(situation: Situation, vpn: Record, name: str, wanted: Sequence[Attachment]) -> Draft:
    """The next version with this name and exactly these members: who is new is added, who is missing leaves.

    A Vpn that is closing is taken back by it. Of another home's Vpn: as far as this site can tell, so without the
    addresses that the home would give.
    """
    body = vpn.body
    assert isinstance(body, VpnBody)
    if not vpn.live:
        raise Conflict(f"Vpn {body.name} has ended")
    check_name(name)
    wanted = at_sites(situation.table, wanted)
    check_members(situation, wanted, vpn.home)
    if name != body.name:
        project = project_here(situation.table, vpn)
        free_name(situation.table, project or body.project, name)
    for a in wanted:
        had = attachment_of(body, a.site)
        if had is not None and a.network and a.network != had.network:
            raise Refused(
                f"the network of {a.site} cannot be exchanged ({had.network or 'made for the Vpn'} → {a.network})",
                hint=f"remove {a.site} first, then add it with the other network",
            )
    body = replace(body, name=name, refusal=None)
    stay = {a.site for a in wanted}
    body = replace(body, attachments=tuple(replace(a, leaving=a.site not in stay) for a in body.attachments))
    for a in wanted:
        if attachment_of(body, a.site) is None:
            body = _with_member(situation, vpn, body, a)
    draft = version_of(vpn, body, State.LIVE, situation.table)
    _check_added(situation, vpn, draft)
    return _sound(situation.site, draft) if vpn.home == situation.site else draft


def _check_added(situation: Situation, vpn: Record, draft: Draft) -> None:
    assert isinstance(draft.body, VpnBody)
    old = vpn.body
    assert isinstance(old, VpnBody)
    added = [a.site for a in draft.body.attachments if attachment_of(old, a.site) is None]
    for site in added:
        if _has_spoken(situation, site):
            facts = facts_of(situation, site, draft.body.transport)
            if facts is None or not _carries(facts, draft.body.kind):
                raise Conflict(
                    f"{site} does not carry {draft.body.kind.value} over {draft.body.transport}",
                    code="no-common-transport",
                    sites=(site,),
                )
            if facts.underlay_mtu - facts.overhead < draft.body.mtu:
                raise Refused(
                    f"{site} carries {facts.underlay_mtu - facts.overhead} octets, the Vpn's MTU is {draft.body.mtu}",
                    hint="the MTU of a Vpn never changes: make a new one that has this site from the start",
                )


def _with_member(situation: Situation, vpn: Record, body: VpnBody, a: Attachment) -> VpnBody:
    """Add a member. In an L2 Vpn the home gives it the upper half of its own free space (rule 15)."""
    attachment = Attachment(site=a.site, cell=a.cell, network=a.network)
    if body.kind is VpnKind.L3:
        if not a.network:
            raise Refused(f"an L3 Vpn joins networks that exist: none is named for {a.site}")
        return replace(body, attachments=(*body.attachments, attachment))
    if vpn.home != situation.site:
        return replace(body, attachments=(*body.attachments, attachment))
    giver = share_of(body, situation.site)
    mine = situation.table.answers(vpn.id).get(situation.site)
    facts = [n for n in situation.inventory.networks if mine is not None and n.id == mine.network]
    if giver is None or mine is None or not facts:
        raise Refused(f"{situation.site} holds no addresses of {body.name} that it could give")
    # Of what the record gives it and it holds: what a member left that is still silent is nobody's yet. Several may
    # be added at once, so the giver is what is left in `body`.
    held = replace(giver, ranges=ranges.common(giver.ranges, mine.ranges, body.prefixes))
    _, given = ranges.give(held, a.site, body.prefixes, occupied(situation.table, facts[0]))
    left = ranges.less(giver, given, body.prefixes)
    shares = tuple(left if s.site == giver.site else s for s in body.shares)
    return replace(body, attachments=(*body.attachments, attachment), shares=(*shares, given))


def closed_vpn(vpn: Record) -> Draft:
    """The version that asks the members to let go; it alters no forwarding (rule 12)."""
    assert isinstance(vpn.body, VpnBody)
    if not vpn.live:
        raise Conflict(f"Vpn {vpn.body.name} has ended")
    return version_of(vpn, replace(vpn.body, refusal=None), State.CLOSING)


def adopted_vpn(table: Table, vpn: Record) -> Draft:
    """This site becomes home of a Vpn that it said yes to (rule 14): epoch + 1. Refused if it said no, or nothing
    yet: its own no would end the Vpn at once, and whom the home has added meanwhile would never hear of that."""
    if vpn.home == table.site:
        raise Refused(f"{table.site} is the home already")
    if table.site not in vpn.header.names or has_left(table, vpn):
        raise NotFound("no such Vpn")
    if not vpn.live:
        raise Conflict("the Vpn has ended")
    project = project_here(table, vpn)
    if project is None:
        raise Refused(f"project {vpn.body.project} of {vpn.home} stands for none here", code="forbidden")
    answer = table.answers(vpn.id).get(table.site)
    if answer is None or answer.word not in AGREED:
        said = "has not answered" if answer is None else f"answers {answer.word.value}"
        raise Refused(
            f"{table.site} takes no part in {vpn.body.name} (it {said}) and cannot become its home",
            hint="adopt it at a member that accepted it; intertie vpn show says what is lacking here",
        )
    # A record speaks of its home's project: from now on that is this site's.
    draft = version_of(vpn, replace(vpn.body, project=project, adopted=vpn.order))
    return replace(draft, epoch=vpn.order.epoch + 1, adopter=table.site)

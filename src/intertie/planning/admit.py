"""A member's judgement: may this Vpn attach here? First come, first held (federation rule 11).

`judge` looks at one Vpn that names this site and says accepted or refused, with the facts that the others need.
It knows this site's records and inventory, nothing else, and is the same at the home and at any member.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from intertie.model.bodies import (
    Address,
    AnswerBody,
    Attachment,
    Endpoint,
    NetworkBody,
    Prefix,
    Share,
    TransportFacts,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.errors import Reason
from intertie.model.items import Inventory, NetworkFacts
from intertie.model.records import Kind, Record
from intertie.planning import plausible, ranges, trust
from intertie.planning.crossing import crossed, overlap
from intertie.planning.held import (
    AGREED,
    claims,
    given_back,
    held_here,
    holding,
    holds,
    member_prefixes,
    occupied,
    overlapping,
    ranges_held,
    routes_elsewhere,
    routes_taken,
    too_late,
)
from intertie.planning.identity import bridge_name, made_network, segment_mac
from intertie.planning.table import Table

__all__ = [
    "AGREED",
    "Situation",
    "attachment_of",
    "gateways_of",
    "held_here",
    "judge",
    "l2_answers",
    "member_prefixes",
    "overlapping",
    "project_here",
    "refreshed",
    "refused",
    "share_of",
]


@dataclass(frozen=True, slots=True)
class Situation:
    """What a judgement is made from."""

    table: Table
    inventory: Inventory
    silent: frozenset[str] = frozenset()
    """Peers that were not heard of late. It decides nothing but whom this site asks (rule 10)."""

    @property
    def site(self) -> str:
        return self.table.site

    def transport(self, name: str) -> TransportFacts | None:
        return next((t for t in self.inventory.transports if t.name == name), None)

    def network(self, project: str, wanted: str) -> NetworkFacts | None:
        """The network of `project` with that id or name. Foreign projects' networks do not exist (invariant I17)."""
        found = [n for n in self.inventory.networks if n.project == project and wanted in (n.id, n.name)]
        return found[0] if found else None


def attachment_of(body: VpnBody, site: str) -> Attachment | None:
    return next((a for a in body.attachments if a.site == site), None)


def share_of(body: VpnBody, site: str) -> Share | None:
    return next((s for s in body.shares if s.site == site), None)


ROUTING = frozenset({"bgpvpn"})
"""Transports that have the cloud's own routers do the routing: they need no gateway address for themselves."""


def judge(situation: Situation, vpn: Record) -> AnswerBody:
    """This site's word on `vpn`, a live version that names it."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    project = mapped_project(situation.table, vpn)
    refusal = _not_mapped(vpn, body, situation.site) if project is None else None
    refusal = refusal or _cannot_carry(situation, vpn, body)
    network: NetworkFacts | None = None
    if refusal is None:
        attachment = attachment_of(body, situation.site)
        assert attachment is not None
        assert project is not None
        if body.kind is VpnKind.L2:
            network, refusal = _l2_network(situation, vpn, attachment, project)
        else:
            network, refusal = _l3_network(situation, vpn, attachment, project)
    if refusal is not None:
        # With what it let go of, so that the next version, of the same adopter, is judged the same way.
        return replace(refused(vpn, refusal), ranges=given_back(situation.table, vpn, share_of(body, situation.site)))
    assert network is not None
    return _accepted(situation, vpn, network)


def refused(vpn: Record, reason: Reason) -> AnswerBody:
    return AnswerBody(vpn=vpn.id, order=vpn.order, digest=vpn.digest, word=Word.REFUSED, reason=reason)


def mapped_project(table: Table, vpn: Record) -> str | None:
    """The project here that the home's project stands for; None without a mapping."""
    assert isinstance(vpn.body, VpnBody)
    if vpn.home == table.site:
        return vpn.body.project
    return trust.mapped(table, vpn.home, vpn.body.project, vpn.body.kind.value)


def project_here(table: Table, vpn: Record) -> str | None:
    """The project that the Vpn belongs to at this site: the one for which it was accepted, whatever its home (or
    who adopted it) calls its own project since."""
    said = table.answers(vpn.id).get(table.site)
    if said is not None and said.word in AGREED and said.project and vpn.home != table.site:
        return said.project
    return mapped_project(table, vpn)


def _not_mapped(vpn: Record, body: VpnBody, site: str) -> Reason:
    return Reason(
        code="forbidden",
        text=f"{site} maps project {body.project} of {vpn.home} to none of its own for {body.kind.value} Vpns",
        hint=f"at {site}: intertie site map {vpn.home} {body.project} PROJECT",
    )


def _cannot_carry(situation: Situation, vpn: Record, body: VpnBody) -> Reason | None:
    site = situation.site
    facts = situation.transport(body.transport)
    if facts is None or not facts.ok or not (facts.l2 if body.kind is VpnKind.L2 else facts.l3):
        why = f": {facts.reason}" if facts is not None and facts.reason else ""
        return Reason(
            code="no-common-transport",
            text=f"{site} cannot carry {body.kind.value} over {body.transport}{why}",
            hint="choose a transport that every member's site lists as ok",
        )
    if facts.underlay_mtu - facts.overhead < body.mtu:
        return Reason(
            code="invalid",
            text=f"{site} carries {facts.underlay_mtu - facts.overhead} octets over {body.transport}, "
            f"the Vpn's MTU is {body.mtu}",
            hint=f"raise the MTU of the underlay of {site}, or make the Vpn from a network with a smaller one",
        )
    pinned = trust.pins(situation.table)
    strangers = [a.site for a in body.attachments if a.site != site and a.site not in pinned and not a.leaving]
    if strangers:
        return Reason(
            code="unknown-site",
            text=f"{site} and {strangers[0]} have not pinned each other",
            hint=f"at {site}: intertie site approve {strangers[0]}",
        )
    for other, theirs in situation.table.numbered(body.vni, body.route_target):
        if other.id != vpn.id and holds(situation.table, other, theirs):
            return Reason(
                code="overlap",
                text=f"{site} uses VNI {body.vni} for Vpn {theirs.name} already",
                hint="make the Vpn again: it will take another number",
            )
    return None


def l2_answers(table: Table, network: str) -> Iterable[AnswerBody]:
    """This site's word on the L2 Vpn (at most one stands) that stretches its network."""
    for record, body in held_here(table, network):
        answer = table.own_answer(record.id)
        if body.kind is VpnKind.L2 and answer is not None:
            yield answer


def gateways_of(
    table: Table, network: str, prefixes: Iterable[Prefix], told: Collection[Address] = ()
) -> tuple[Address, ...]:
    """The gateway addresses of a network here: of its share of the L2 Vpn, else those that the cloud told, else the
    first usable of each prefix."""
    for answer in l2_answers(table, network):
        if answer.gateways:
            return answer.gateways
    return tuple(ranges.gateway_among(p, told) for p in prefixes)


def _l2_network(
    situation: Situation, vpn: Record, attachment: Attachment, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    body = vpn.body
    assert isinstance(body, VpnBody)
    if reason := _held_by_others(situation, vpn, body):
        return None, reason
    if not attachment.network:
        return _to_be_made(situation, vpn, body, project)
    network = situation.network(project, attachment.network)
    if network is None or not network.attachable:
        return None, _no_network(situation.site, attachment.network, project, network)
    if set(network.prefixes) != set(body.prefixes):
        return None, Reason(
            code="overlap",
            text=f"network {network.name} at {situation.site} has {_words(network.prefixes)}, "
            f"the Vpn stretches {_words(body.prefixes)}",
            hint="name a network with the same prefixes, or none: one is made",
        )
    if network.mtu < body.mtu:
        return None, Reason(
            code="invalid",
            text=f"network {network.name} at {situation.site} has MTU {network.mtu}, the Vpn's is {body.mtu}",
            hint="make the Vpn from this site's network: the smallest MTU must be there from the start",
        )
    if reason := _in_use_elsewhere(situation, vpn, body, network):
        return None, reason
    return _alone_in_l2(situation, vpn, network)


def _in_use_elsewhere(situation: Situation, vpn: Record, body: VpnBody, network: NetworkFacts) -> Reason | None:
    """Why the network cannot be in the Vpn: an address in use on it would be another member's."""
    share = share_of(body, situation.site)
    held = ranges_held(situation.table, vpn, share) if share is not None else ()
    for address in occupied(situation.table, network):
        if not ranges.within(address, held):
            return Reason(
                code="overlap",
                text=f"{address} is in use on {network.name} at {situation.site}, outside the range it would hold",
                hint="free that address, or make the Vpn from this site's network",
            )
    return None


def _alone_in_l2(
    situation: Situation, vpn: Record, network: NetworkFacts
) -> tuple[NetworkFacts | None, Reason | None]:
    for other, theirs in held_here(situation.table, network.id):
        if other.id != vpn.id and theirs.kind is VpnKind.L2:
            return None, Reason(
                code="in-use",
                text=f"network {network.name} at {situation.site} is in L2 Vpn {theirs.name} already",
                hint=f"a network joins one L2 Vpn: delete {theirs.name} or add the sites to it",
            )
    return network, None


def _held_by_others(situation: Situation, vpn: Record, body: VpnBody) -> Reason | None:
    """Whether the share that this site would get is another's still."""
    share = share_of(body, situation.site)
    if share is None:
        return Reason(code="invalid", text=f"the Vpn gives {situation.site} no addresses")
    if reason := too_late(situation.table, vpn, share):
        return reason
    held = ranges_held(situation.table, vpn, share)
    if all(ranges.within(g, held) for g in share.gateways):
        return None
    holders = [
        s for s, rs in claims(situation.table, vpn).items() if any(ranges.within(g, rs) for g in share.gateways)
    ]
    return Reason(
        code="overlap",
        text=f"addresses meant for {situation.site} are held by {', '.join(holders)}",
        hint=f"wait until {', '.join(holders)} has drained, or forget it",
    )


def _to_be_made(
    situation: Situation, vpn: Record, body: VpnBody, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    id = made_network(situation.site, vpn.id)
    table = situation.table
    taken = {n.id for n in situation.inventory.networks if (n.project, n.name) == (project, body.network)}
    taken |= {
        r.id for r, b in table.bodies(Kind.NETWORK, NetworkBody) if (b.project, b.name) == (project, body.network)
    }
    for other, _ in held_here(table):
        answer = table.answers(other.id)[table.site]
        if (answer.project, answer.network_name) == (project, body.network):
            taken.add(answer.network)
    if taken - {id}:
        return None, Reason(
            code="name-taken",
            text=f"{situation.site} has a network {body.network} in project {project} already",
            hint=f"attach that one (-a {situation.site}:{body.network}) or rename it",
        )
    if any(n.bridge == bridge_name(id) and n.id != id for n in situation.inventory.networks):
        return None, Reason(code="in-use", text=f"{situation.site} has a bridge {bridge_name(id)} already")
    made = NetworkFacts(id=id, name=body.network, project=project, prefixes=body.prefixes, mtu=body.mtu, bridge="")
    # It may have been made before, and be there for its hosts: the site was in the Vpn, and is to be again.
    standing = next((n for n in situation.inventory.networks if n.id == id), made)
    reason = _in_use_elsewhere(situation, vpn, body, standing)
    return (None, reason) if reason else (made, None)


def _l3_network(
    situation: Situation, vpn: Record, attachment: Attachment, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    network = situation.network(project, attachment.network)
    if network is None or not network.attachable or len(network.prefixes) > plausible.MAX_PREFIXES:
        return None, _no_network(situation.site, attachment.network, project, network)
    if network.routed_by and vpn.body.transport not in ROUTING:
        return None, Reason(
            code="in-use",
            text=f"network {network.name} at {situation.site} is routed by {network.routed_by} already",
            hint="attach a network whose gateway address is free, or take that router's interface off it",
        )
    clash = _l3_clash(situation, vpn, network.id, network.prefixes)
    return (None, clash) if clash else (network, None)


def _no_network(site: str, wanted: str, project: str, network: NetworkFacts | None) -> Reason:
    if network is not None:
        why = network.reason or f"it has more than {plausible.MAX_PREFIXES} prefixes"
        return Reason(code="unknown-network", text=f"network {wanted} at {site} cannot be attached: {why}")
    return Reason(
        code="unknown-network",
        text=f"{site} has no network {wanted or '(none named)'} in project {project}",
        hint=f"at {site}: intertie network create {wanted or 'NAME'} PREFIX",
    )


def _l3_clash(situation: Situation, vpn: Record, network: str, mine: tuple[Prefix, ...]) -> Reason | None:
    """Overlaps within this Vpn, and in the routing context of the network: all L3 Vpns that touch it."""
    if reason := crossed(situation.table, vpn, mine):
        return reason
    others = member_prefixes(situation.table, vpn)
    new = [p for s, ps in others.items() if s != situation.site for p in ps]
    for name, routes in routes_elsewhere(situation.table, vpn.id, network):
        if found := overlapping(new, routes):
            return overlap(f"{found[0]} of this Vpn", f"{found[1]} in Vpn {name}")
    return None


def _words(prefixes: Iterable[Prefix]) -> str:
    return ", ".join(str(p) for p in prefixes)


def _accepted(situation: Situation, vpn: Record, network: NetworkFacts) -> AnswerBody:
    answer = AnswerBody(
        vpn=vpn.id,
        order=vpn.order,
        digest=vpn.digest,
        word=Word.ACCEPTED,
        network=network.id,
        network_name=network.name,
        project=network.project,
        prefixes=tuple(network.prefixes),
        mtu=network.mtu,
    )
    return refreshed(situation, vpn, answer)


def refreshed(situation: Situation, vpn: Record, answer: AnswerBody) -> AnswerBody:
    """A standing acceptance with today's facts: promises (network, prefixes, gateways, addresses held) stay;
    endpoints, what was added to the range, and the others' prefixes follow."""
    body, table = vpn.body, situation.table
    assert isinstance(body, VpnBody)
    share = share_of(body, situation.site)
    told = [g for n in situation.inventory.networks if n.id == answer.network for g in n.gateways]
    gateways = share.gateways if share else gateways_of(table, answer.network, answer.prefixes, told)
    mac = segment_mac(situation.site, vpn.id)
    underlay = situation.inventory.underlay[:1]
    return replace(
        answer,
        ranges=holding(table, vpn, share, answer.ranges, answer.ledger) if share else answer.ranges,
        gateways=(answer.gateways or gateways) if share else gateways,
        routes=routes_taken(table, vpn, answer) if body.kind is VpnKind.L3 else (),
        endpoints=tuple(Endpoint(address=a, mac=mac) for a in underlay) or answer.endpoints,
    )

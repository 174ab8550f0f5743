"""A member's judgement: may this Vpn attach here? First come, first held (federation rule 11).

`judge` looks at one Vpn that names this site and says accepted or refused, with the facts that the others need.
It knows this site's records and inventory, nothing else, and is the same at the home and at any member.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from intertie.model.bodies import (
    Address,
    AnswerBody,
    Attachment,
    Endpoint,
    Prefix,
    Share,
    TransportFacts,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.errors import Reason
from intertie.model.items import Inventory, NetworkFacts
from intertie.model.records import Record
from intertie.planning import ranges, trust
from intertie.planning.identity import made_network, segment_mac
from intertie.planning.table import Table

AGREED = frozenset({Word.ACCEPTED, Word.HELD, Word.DRAINED})


@dataclass(frozen=True, slots=True)
class Situation:
    """What a judgement is made from."""

    table: Table
    inventory: Inventory

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


def judge(situation: Situation, vpn: Record) -> AnswerBody:
    """This site's word on `vpn`, a live version that names it."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    project = project_here(situation.table, vpn)
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
        return AnswerBody(vpn=vpn.id, order=vpn.order, digest=vpn.digest, word=Word.REFUSED, reason=refusal)
    assert network is not None
    return _accepted(situation, vpn, network)


def project_here(table: Table, vpn: Record) -> str | None:
    """The project that the Vpn belongs to at this site; None without a mapping."""
    assert isinstance(vpn.body, VpnBody)
    if vpn.home == table.site:
        return vpn.body.project
    return trust.mapped(table, vpn.home, vpn.body.project, vpn.body.kind.value)


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
    pinned = trust.pins(situation.table)
    strangers = [a.site for a in body.attachments if a.site != site and a.site not in pinned and not a.leaving]
    if strangers:
        return Reason(
            code="unknown-site",
            text=f"{site} and {strangers[0]} have not pinned each other",
            hint=f"at {site}: intertie site approve {strangers[0]}",
        )
    for other, theirs in held_here(situation.table):
        if other.id != vpn.id and theirs.vni == body.vni:
            return Reason(
                code="overlap",
                text=f"{site} uses VNI {body.vni} for Vpn {theirs.name} already",
                hint="make the Vpn again: it will take another number",
            )
    return None


def held_here(table: Table) -> Iterable[tuple[Record, VpnBody]]:
    """The Vpns that this site has said yes to and that still stand."""
    for record, body in table.vpns():
        answer = table.answers(record.id).get(table.site)
        if answer is not None and answer.word in AGREED and attachment_of(body, table.site) is not None:
            yield record, body


def l2_answers(table: Table, network: str) -> Iterable[AnswerBody]:
    """This site's word on the L2 Vpn (at most one stands) that stretches its network."""
    for record, body in held_here(table):
        answer = table.answers(record.id)[table.site]
        if body.kind is VpnKind.L2 and answer.network == network:
            yield answer


def gateways_of(table: Table, network: str, prefixes: Iterable[Prefix]) -> tuple[Address, ...]:
    """The gateway addresses of a network here: of its share of the L2 Vpn, else the first usable of each prefix."""
    for answer in l2_answers(table, network):
        if answer.gateways:
            return answer.gateways
    return tuple(ranges.gateway(p) for p in prefixes)


def _l2_network(
    situation: Situation, vpn: Record, attachment: Attachment, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    body = vpn.body
    assert isinstance(body, VpnBody)
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
    share = share_of(body, situation.site)
    for address in network.addresses_in_use:
        if share is not None and not ranges.within(address, share.ranges):
            return None, Reason(
                code="overlap",
                text=f"{address} is in use on {network.name} at {situation.site}, outside the range it would hold",
                hint="free that address, or make the Vpn from this site's network",
            )
    for other, theirs in held_here(situation.table):
        answer = situation.table.answers(other.id)[situation.site]
        if other.id != vpn.id and theirs.kind is VpnKind.L2 and answer.network == network.id:
            return None, Reason(
                code="in-use",
                text=f"network {network.name} at {situation.site} is in L2 Vpn {theirs.name} already",
                hint=f"a network joins one L2 Vpn: delete {theirs.name} or add the sites to it",
            )
    return network, None


def _to_be_made(
    situation: Situation, vpn: Record, body: VpnBody, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    id = made_network(situation.site, vpn.id)
    same = situation.network(project, body.network)
    if same is not None and same.id != id:
        return None, Reason(
            code="name-taken",
            text=f"{situation.site} has a network {body.network} in project {project} already",
            hint=f"attach that one (-a {situation.site}:{body.network}) or rename it",
        )
    return (
        NetworkFacts(id=id, name=body.network, project=project, prefixes=body.prefixes, mtu=body.mtu, bridge=""),
        None,
    )


def _l3_network(
    situation: Situation, vpn: Record, attachment: Attachment, project: str
) -> tuple[NetworkFacts | None, Reason | None]:
    network = situation.network(project, attachment.network)
    if network is None or not network.attachable:
        return None, _no_network(situation.site, attachment.network, project, network)
    clash = _l3_overlap(situation, vpn, attachment, network)
    return (None, clash) if clash else (network, None)


def _no_network(site: str, wanted: str, project: str, network: NetworkFacts | None) -> Reason:
    if network is not None:
        return Reason(code="unknown-network", text=f"network {wanted} at {site} cannot be attached: {network.reason}")
    return Reason(
        code="unknown-network",
        text=f"{site} has no network {wanted or '(none named)'} in project {project}",
        hint=f"at {site}: intertie network create {wanted or 'NAME'} PREFIX",
    )


def _l3_overlap(situation: Situation, vpn: Record, attachment: Attachment, network: NetworkFacts) -> Reason | None:
    """Overlaps within this Vpn, and in the routing context of the network: all L3 Vpns that touch it."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    site = situation.site
    mine = network.prefixes
    position = [a.site for a in body.attachments].index(site)
    others = member_prefixes(situation.table, vpn)
    for index, other in enumerate(body.attachments):
        # Crossing answers: both sites apply the same rule, so the one that stands earlier in the list stays.
        if other.site == site or other.leaving or index > position:
            continue
        if pair := overlapping(mine, others.get(other.site, ())):
            return _overlap(f"{pair[0]} of {network.name} at {site}", f"{pair[1]} at {other.site}")
    for record, theirs in held_here(situation.table):
        answer = situation.table.answers(record.id)[site]
        if record.id == vpn.id or theirs.kind is not VpnKind.L3 or answer.network != network.id:
            continue
        for there, prefixes in member_prefixes(situation.table, record).items():
            for new in (p for s, ps in others.items() if s != site and s != there for p in ps):
                if pair := overlapping((new,), prefixes):
                    return _overlap(f"{pair[0]} of this Vpn", f"{pair[1]} at {there} in Vpn {theirs.name}")
    return None


def member_prefixes(table: Table, vpn: Record) -> dict[str, tuple[Prefix, ...]]:
    """site → prefixes of an L3 Vpn's members: as frozen into the record, else as the member's answer states them."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    answers = table.answers(vpn.id)
    found: dict[str, tuple[Prefix, ...]] = {}
    for a in body.attachments:
        answer = answers.get(a.site)
        stated = answer.prefixes if answer is not None and answer.word in AGREED else ()
        found[a.site] = a.prefixes or stated
    return found


def overlapping(some: Iterable[Prefix], others: Iterable[Prefix]) -> tuple[Prefix, Prefix] | None:
    others = tuple(others)
    for a in some:
        for b in others:
            if a.version == b.version and a.overlaps(b):
                return a, b
    return None


def _overlap(one: str, other: str) -> Reason:
    return Reason(code="overlap", text=f"{one} overlaps {other}", hint="route between networks whose prefixes differ")


def _words(prefixes: Iterable[Prefix]) -> str:
    return ", ".join(str(p) for p in prefixes)


def _accepted(situation: Situation, vpn: Record, network: NetworkFacts) -> AnswerBody:
    body = vpn.body
    assert isinstance(body, VpnBody)
    site = situation.site
    share = share_of(body, site)
    mac = segment_mac(site, vpn.id)
    return AnswerBody(
        vpn=vpn.id,
        order=vpn.order,
        digest=vpn.digest,
        word=Word.ACCEPTED,
        network=network.id,
        network_name=network.name,
        project=network.project,
        prefixes=tuple(network.prefixes),
        ranges=share.ranges if share else (),
        gateways=share.gateways if share else gateways_of(situation.table, network.id, network.prefixes),
        endpoints=tuple(Endpoint(address=a, mac=mac) for a in situation.inventory.underlay[:1]),
        mtu=network.mtu,
    )


def refreshed(situation: Situation, vpn: Record, answer: AnswerBody) -> AnswerBody:
    """A standing acceptance with today's facts: promises (network, prefixes) stay, endpoints and range follow."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    share = share_of(body, situation.site)
    mac = segment_mac(situation.site, vpn.id)
    underlay = situation.inventory.underlay[:1]
    return replace(
        answer,
        ranges=share.ranges if share else answer.ranges,
        gateways=share.gateways if share else gateways_of(situation.table, answer.network, answer.prefixes),
        endpoints=tuple(Endpoint(address=a, mac=mac) for a in underlay) or answer.endpoints,
    )

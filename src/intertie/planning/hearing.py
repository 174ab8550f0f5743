"""What of a peer's word is taken, and what a peer is told (federation rules 4, 7; invariant I16)."""

from __future__ import annotations

from intertie.model.bodies import (
    AnswerBody,
    ForgottenBody,
    GrantBody,
    IntroductionBody,
    ProposalBody,
    SiteBody,
    VpnBody,
)
from intertie.model.records import Cursor, Kind, Record
from intertie.planning import trust
from intertie.planning.held import AGREED
from intertie.planning.identity import answer_id, forgotten_id, grant_id, introduction_id, segment_mac, site_id
from intertie.planning.plausible import flaw
from intertie.planning.table import Table

FEDERATED = frozenset(
    {
        Kind.SITE,
        Kind.INTRODUCTION,
        Kind.FORGOTTEN,
        Kind.GRANT,
        Kind.VPN,
        Kind.ANSWER,
        Kind.PROPOSAL,
    }
)


SPOKEN = FEDERATED - {Kind.FORGOTTEN}
"""What a site does not say while another agent says it, too (rule 18); whom it forgets is nobody else's business."""
STRANGER = "is not among its members"
"""Why an adoption is not taken yet: the adopter may have become a member out of this site's hearing."""
QUOTA = {
    Kind.SITE: 1,
    Kind.INTRODUCTION: 1024,
    Kind.FORGOTTEN: 4096,
    Kind.GRANT: 1024,
    Kind.VPN: 16384,
    Kind.ANSWER: 32768,
    Kind.PROPOSAL: 1024,
}
"""Records of a kind that are kept of one peer, ended ones too: it cannot fill this site's memory."""


def acceptable(table: Table, peer: str, record: Record) -> str | None:
    """Why `record`, which came from `peer`, is not taken; None if it is. The signature is checked elsewhere."""
    kind = record.header.kind
    if kind not in FEDERATED:
        return f"a peer does not send {kind.value} records"
    if record.home != peer:
        return f"{peer} speaks only for itself, not for {record.home}"
    if record.order.incarnation <= trust.forgotten(table).get(peer, -1):
        return f"incarnation {record.order.incarnation} of {peer} was forgotten here"
    if not record.concerns(table.site):
        return f"it does not name {table.site}"
    standing = table.get(record.id)
    if standing is not None and standing.header.kind is not kind:
        return "its id is another kind's"
    if standing is None and table.count(peer, kind) >= QUOTA[kind]:
        return f"{peer} has {QUOTA[kind]} {kind.value} records here already"
    return (
        _adoption(table, standing, record)
        or flaw(record.header, record.body)
        or _consistent(record)
        or _kept(standing, record)
    )


def _adoption(table: Table, standing: Record | None, record: Record) -> str | None:
    """A record that another site began: only a Vpn, and only by one of its members (rule 14)."""
    if record.order.epoch == 0:
        return None
    if record.header.kind is not Kind.VPN:
        return f"a {record.header.kind.value} cannot be adopted"
    if record.home not in record.header.names:
        return f"{record.home} {STRANGER}"
    if standing is None or record.home in {standing.home, *standing.header.names} or _yields(table, standing, record):
        return None
    return f"{record.home} {STRANGER}"


def _yields(table: Table, standing: Record, record: Record) -> bool:
    """Whether the home that stands here, or a member, has said yes to the adoption. One of them may have made the
    adopter a member in a version that never came here, and will not come any more; each could adopt it, and do so."""
    by = (record.order.epoch, record.order.adopter)
    return any(
        word.word in AGREED and (word.order.epoch, word.order.adopter) == by
        for site, word in table.answers(record.id).items()
        if site in {standing.home, *standing.header.names} - {table.site}
    )


def _consistent(record: Record) -> str | None:
    """Whether the body fits the header: ids that are derived must be the derived ones."""
    peer, id = record.home, record.id
    match record.body:
        case SiteBody(name=name) if name != peer or id != site_id(peer):
            return "a site speaks of itself only"
        case IntroductionBody(site=site) if id != introduction_id(peer, site):
            return "an introduction has its subject in its id"
        case ForgottenBody(site=site, incarnation=incarnation) if id != forgotten_id(peer, site, incarnation):
            return "a forgetting has its subject in its id"
        case GrantBody(space=space, to=to, first=first) if id != grant_id(peer, space, to, first):
            return "a grant has its block in its id"
        case AnswerBody(vpn=vpn) if id != answer_id(peer, vpn):
            return "an answer has what it answers in its id"
        case AnswerBody(vpn=vpn, endpoints=endpoints) if {e.mac for e in endpoints} - {"", segment_mac(peer, vpn)}:
            return "a segment's MAC is derived from its site and Vpn"
        case ProposalBody() if not id.startswith(f"{peer}.proposal."):
            return "a proposal says so in its id"
    return None


def _kept(standing: Record | None, record: Record) -> str | None:
    """What a home may not do to a Vpn that it published: change its nature (rule 5), or bring it back (I6)."""
    if standing is None or not isinstance(standing.body, VpnBody) or record.order <= standing.order:
        return None
    old, new = standing.body, record.body
    assert isinstance(new, VpnBody)
    adopted = record.order.epoch > standing.order.epoch
    if not standing.live and record.live and not adopted:
        return "it has ended"
    fixed = ("kind", "vni", "route_target", "prefixes", "mtu", "transport", "network")
    # A project is its home's: who adopts the Vpn calls it by its own.
    for name in fixed if adopted else (*fixed, "project"):
        if getattr(old, name) != getattr(new, name):
            return f"the {name.replace('_', ' ')} of a Vpn does not change"
    now = {a.site: a for a in new.attachments}
    for a in old.attachments:
        then = now.get(a.site)
        # With another network it left, and came back, in versions that never came here.
        stays = then is not None and a.agreed and then.agreed and then.network == a.network
        if then is not None and stays and then.prefixes != a.prefixes:
            return f"the prefixes of {a.site} are settled"
    return None


def concerning(table: Table, peer: str, since: Cursor) -> list[Record]:
    """This site's standing records after `since` that `peer` is to have, in commit order."""
    return [r for r in table.mine_since(since) if r.header.kind in FEDERATED and r.concerns(peer)]


def returned_to(table: Table, peer: str, after: Cursor) -> list[Record]:
    """What this site holds of a peer that lost its store, in its order, after what it has back (rule 18)."""
    held = (r for kind in FEDERATED for r in table.all_of(kind) if r.home == peer and r.cursor > after)
    return sorted(held, key=lambda r: r.cursor)

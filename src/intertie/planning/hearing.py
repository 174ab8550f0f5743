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
from intertie.planning.identity import answer_id, introduction_id, site_id
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


def acceptable(table: Table, peer: str, record: Record) -> str | None:
    """Why `record`, which came from `peer`, is not taken; None if it is. The signature is checked elsewhere."""
    if record.header.kind not in FEDERATED:
        return f"a peer does not send {record.header.kind.value} records"
    if record.home != peer:
        return f"{peer} speaks only for itself, not for {record.home}"
    if record.order.incarnation <= trust.forgotten(table).get(peer, -1):
        return f"incarnation {record.order.incarnation} of {peer} was forgotten here"
    if not record.concerns(table.site):
        return f"it does not name {table.site}"
    standing = table.get(record.id)
    if standing is not None and standing.header.kind is not record.header.kind:
        return "its id is another kind's"
    return _consistent(record, peer)


def _consistent(record: Record, peer: str) -> str | None:
    """Whether the body fits the header: ids that are derived must be the derived ones."""
    match record.body:
        case SiteBody(name=name) if name != peer or record.id != site_id(peer):
            return "a site speaks of itself only"
        case IntroductionBody(site=site) if record.id != introduction_id(peer, site):
            return "an introduction has its subject in its id"
        case AnswerBody(vpn=vpn) if record.id != answer_id(peer, vpn):
            return "an answer has what it answers in its id"
        case VpnBody(attachments=attachments) if len({a.site for a in attachments}) != len(attachments):
            return "a member is named twice"
        case GrantBody() | ForgottenBody() | ProposalBody():
            return None
    return None


def concerning(table: Table, peer: str, since: Cursor) -> list[Record]:
    """This site's standing records after `since` that `peer` is to have, in commit order."""
    return [r for r in table.mine_since(since) if r.header.kind in FEDERATED and r.concerns(peer)]


def returned_to(table: Table, peer: str) -> tuple[Record, ...]:
    """What this site holds of a peer that lost its store (rule 18)."""
    return tuple(r for kind in sorted(FEDERATED) for r in table.all_of(kind) if r.home == peer)

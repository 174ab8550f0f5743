"""What follows from introductions: a site that a pinned peer vouches for is pinned, asked about, or left alone."""

from __future__ import annotations

from intertie.model.bodies import ForgottenBody, IntroductionBody, SiteBody
from intertie.model.errors import NotFound, Refused
from intertie.model.records import Draft, Kind, State
from intertie.planning import trust
from intertie.planning.identity import forgotten_id, introduction_id, site_id
from intertie.planning.table import Table


def enrolment(table: Table, policy: str) -> list[Draft]:
    """Pins that the policy (`accept`, `ask`, `never`) makes by itself."""
    # Nobody's word alone brings back a site that was forgotten here, or decides between two roots.
    unclear = {*trust.forgotten(table), *trust.disputed(table)}
    found = {site: body for site, (_, body) in trust.introduced(table).items() if site not in unclear}
    drafts = [pin(table, body) for body in found.values()] if policy == "accept" else []
    return [*drafts, *_moved(table), *_left(table)]


def _left(table: Table) -> list[Draft]:
    """Peers that said goodbye, by withdrawing their word on themselves, are forgotten."""
    said = ((peer, trust.site_record(table, peer)) for peer in trust.pins(table))
    return [
        draft for peer, record in said if record is not None and not record.live for draft in forgetting(table, peer)
    ]


def goodbye(table: Table) -> list[Draft]:
    """This site leaves: it withdraws its word on itself. Nothing to do if it has, or never said any."""
    standing = table.get(site_id(table.site))
    if standing is None or not standing.live:
        return []
    return [Draft(kind=Kind.SITE, id=standing.id, state=State.WITHDRAWN, body=standing.body, base=standing.order)]


def _moved(table: Table) -> list[Draft]:
    """Introductions of this site whose subject now says that it is called elsewhere: the address follows its word."""
    drafts = []
    for peer, body in trust.pins(table).items():
        said = trust.site_body(table, peer)
        if said is not None and said.root == body.root and said.address != body.address:
            drafts.append(
                pin(
                    table,
                    IntroductionBody(site=peer, root=body.root, address=said.address, incarnation=body.incarnation),
                )
            )
    return drafts


def pin(table: Table, body: IntroductionBody) -> Draft:
    """This site's own Introduction of a peer: it trusts that root from now on, and says so to the others."""
    id = introduction_id(table.site, body.site)
    standing = table.get(id)
    return Draft(kind=Kind.INTRODUCTION, id=id, body=body, base=standing.order if standing else None)


def approval(table: Table, peer: str) -> Draft:
    """Pin a site that a peer introduced. NotFound if nobody did."""
    found = trust.introduced(table).get(peer)
    if found is None:
        if peer in trust.pins(table):
            raise Refused(f"{peer} is a peer already")
        raise NotFound(f"nobody introduced {peer}", hint="intertie site list shows who waits for approval")
    if peer in trust.disputed(table):
        raise Refused(f"peers vouch for different roots of {peer}", hint=f"join it directly: site invite {peer}")
    return pin(table, found[1])


def forgetting(table: Table, peer: str) -> list[Draft]:
    """Take nothing from this incarnation of `peer` any more (rule 17)."""
    pinned = trust.pins(table).get(peer)
    if pinned is None:
        raise NotFound(f"{peer} is no peer of {table.site}")
    record = trust.site_record(table, peer)
    incarnation = max(pinned.incarnation, record.order.incarnation if record else 0)
    id = forgotten_id(table.site, peer, incarnation)
    standing = table.get(id)
    intro = table.get(introduction_id(table.site, peer))
    drafts = [
        Draft(
            kind=Kind.FORGOTTEN,
            id=id,
            body=ForgottenBody(site=peer, incarnation=incarnation),
            base=standing.order if standing else None,
        )
    ]
    if intro is not None and intro.live:
        drafts.append(
            Draft(kind=Kind.INTRODUCTION, id=intro.id, state=State.WITHDRAWN, body=intro.body, base=intro.order)
        )
    return drafts


def site_draft(table: Table, body: SiteBody) -> list[Draft]:
    """This site's public word on itself, if it changed. One that leaves speaks of itself again when it is alone."""
    standing = table.get(site_id(table.site))
    if standing is not None and not standing.live and trust.pins(table):
        return []
    if standing is not None and standing.live and standing.body == body:
        return []
    return [
        Draft(
            kind=Kind.SITE, id=site_id(table.site), body=body, base=standing.order if standing is not None else None
        )
    ]

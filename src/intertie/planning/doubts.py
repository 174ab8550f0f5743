"""What another site would say to a Vpn, as far as its public records and its answers to other Vpns tell.

Only a member itself knows its mappings and its networks. But whom it has pinned is public, and what it answered
before shows the networks that it has, the projects that it maps, and what it will not route twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from intertie.model.bodies import AnswerBody, Prefix, VpnBody, VpnKind, Word
from intertie.model.records import Cursor, Kind, Record
from intertie.planning import trust
from intertie.planning.admit import Situation, attachment_of, member_prefixes
from intertie.planning.held import AGREED, overlapping
from intertie.planning.table import Table


def known_refusals(situation: Situation, home: str, id: str, body: VpnBody, site: str) -> Iterator[str]:
    """In words, why `site` would refuse to become a member of the Vpn `id` of `home`, whose body is to be `body`."""
    if site in (situation.site, home):
        return  # what this site says itself is no guess: it was judged when the draft was made
    table = situation.table
    yield from _strangers(table, body, site)
    if _mapping(table, home, body, site) is Word.REFUSED:
        yield (
            f"{site} maps project {body.project} of {home} to none of its own, as it answered before; "
            f"at {site}: intertie site map {home} {body.project} PROJECT"
        )
    if body.kind is VpnKind.L2:
        yield from _l2(table, id, body, site)
    else:
        yield from _l3(table, id, body, site)


def unknown_mapping(situation: Situation, home: str, body: VpnBody, site: str) -> str:
    """What only `site` knows of its mapping for the Vpn's project, in words; "" if its answers have shown it."""
    if site in (situation.site, home) or _mapping(situation.table, home, body, site) is not None:
        return ""
    return (
        f"whether it lets project {body.project} of {home} in, only it knows; "
        f"if not, there: intertie site map {home} {body.project} PROJECT"
    )


def _strangers(table: Table, body: VpnBody, site: str) -> Iterator[str]:
    if trust.site_body(table, site) is None:
        return  # nothing of it has come yet
    pinned = trust.pins(table, site)
    for other in (a.site for a in body.attachments if a.site != site and not a.leaving):
        if other not in pinned:
            yield f"{site} has not pinned {other}; at {site}: intertie site approve {other}"


def _said(table: Table, site: str, id: str) -> Iterator[tuple[Record, VpnBody, AnswerBody]]:
    """What `site` has answered to other Vpns that stand."""
    for vpn, body in table.vpns():
        answer = table.answers(vpn.id).get(site)
        if vpn.id != id and answer is not None and attachment_of(body, site) is not None:
            yield vpn, body, answer


def _mapping(table: Table, home: str, body: VpnBody, site: str) -> Word | None:
    """Whether `site` lets the project in: its newest word on a Vpn of that home, project and kind; None without."""
    found: list[tuple[Cursor, Word]] = []
    for vpn in table.all_of(Kind.VPN):
        other = vpn.body
        record = table.answer_record(vpn.id, site)
        same = vpn.home == home and (other.project, other.kind) == (body.project, body.kind)
        if not same or record is None or not isinstance(record.body, AnswerBody):
            continue
        said = record.body
        if said.reason is not None and said.reason.code == "forbidden":
            found.append((record.cursor, Word.REFUSED))
        elif said.network:
            found.append((record.cursor, Word.ACCEPTED))
    return max(found)[1] if found else None


def _l2(table: Table, id: str, body: VpnBody, site: str) -> Iterator[str]:
    a = attachment_of(body, site)
    assert a is not None
    for _, other, answer in _said(table, site, id):
        if answer.word not in AGREED:
            continue
        if not a.network and answer.network_name == body.network:
            yield f"{site} has a network {body.network} already, in Vpn {other.name}; rename it, or attach it"
        if not a.network or a.network not in (answer.network, answer.network_name):
            continue
        if other.kind is VpnKind.L2:
            yield f"network {a.network} at {site} is in L2 Vpn {other.name} already; a network joins one"
        if set(answer.prefixes) != set(body.prefixes):
            have, want = (", ".join(str(p) for p in ps) for ps in (answer.prefixes, body.prefixes))
            yield f"network {a.network} at {site} has {have}, the Vpn stretches {want}"


def _l3(table: Table, id: str, body: VpnBody, site: str) -> Iterator[str]:
    a = attachment_of(body, site)
    assert a is not None
    mine: tuple[Prefix, ...] = ()
    routes: list[tuple[str, Prefix]] = []
    for _, other, answer in _said(table, site, id):
        if answer.word in AGREED and a.network in (answer.network, answer.network_name):
            mine = answer.prefixes
            routes += [(other.name, p) for p in answer.routes]
    for other_site, theirs in _stated(table, id, body).items():
        if other_site == site:
            break  # of two that overlap the one that stands earlier in the list stays
        if pair := overlapping(mine, theirs):
            yield f"{pair[0]} ({a.network}) at {site} overlaps {pair[1]} at {other_site}"
        for name, route in routes:
            if route not in theirs and overlapping((route,), theirs):
                yield f"{site} routes {route} in Vpn {name} already; it overlaps {other_site}'s"


def _stated(table: Table, id: str, body: VpnBody) -> dict[str, tuple[Prefix, ...]]:
    """site → the prefixes that it brings to the Vpn, as far as they are known."""
    vpn = table.get(id)
    told = member_prefixes(table, vpn) if vpn is not None and isinstance(vpn.body, VpnBody) else {}
    return {
        a.site: told.get(a.site) or a.prefixes or _elsewhere(table, id, a.site, a.network)
        for a in body.attachments
        if not a.leaving
    }


def _elsewhere(table: Table, id: str, site: str, network: str) -> tuple[Prefix, ...]:
    for _, _, answer in _said(table, site, id):
        if answer.word in AGREED and network in (answer.network, answer.network_name):
            return answer.prefixes
    return ()

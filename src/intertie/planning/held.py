"""First come, first held (federation rule 11): the addresses that this site holds of an L2 Vpn, and the prefixes of
others that it has taken in an L3 Vpn. Both stand in its own Answer, and what stands there is what goes into force:
whatever a home or a member says later, what was held before it is not lost to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from intertie.model.bodies import Address, AnswerBody, HostBody, Ledger, Prefix, Range, Share, VpnBody, VpnKind, Word
from intertie.model.errors import Reason
from intertie.model.items import NetworkFacts
from intertie.model.records import Kind, Record
from intertie.planning import ranges, trust
from intertie.planning.table import Table

AGREED = frozenset({Word.ACCEPTED, Word.HELD, Word.DRAINED})


def held_here(table: Table, network: str | None = None) -> Iterator[tuple[Record, VpnBody]]:
    """The Vpns that this site has said yes to and that still stand: all, or those on one network of its own."""
    for record, body in table.vpns() if network is None else table.on(network):
        if holds(table, record, body):
            yield record, body


def has_left(table: Table, vpn: Record) -> bool:
    """Whether this site's answer ended with a version that is newer than `vpn`, which names it still: the answer came
    back from a peer, to a store that is an old one (rule 18). What was held then may be others' by now."""
    answer = table.answer_record(vpn.id, table.site)
    if answer is None or answer.live or vpn.home == table.site:
        return False
    return isinstance(answer.body, AnswerBody) and answer.body.order > vpn.order


def takes_part(table: Table, vpn: Record) -> bool:
    """Whether this site is the Vpn's home or a member. Who has left keeps it as it was, and hears no more of it."""
    assert isinstance(vpn.body, VpnBody)
    named = vpn.home == table.site or any(a.site == table.site for a in vpn.body.attachments)
    return named and not has_left(table, vpn)


def holds(table: Table, vpn: Record, body: VpnBody) -> bool:
    """Whether this site's yes to the Vpn stands."""
    answer = table.own_answer(vpn.id)
    return answer is not None and answer.word in AGREED and any(a.site == table.site for a in body.attachments)


def occupied(table: Table, network: NetworkFacts) -> tuple[Address, ...]:
    """Addresses in use on a network here: seen on it, or promised to a host that is yet to be made."""
    more = promised(table, network.id) - {*network.addresses_in_use}
    return (*network.addresses_in_use, *sorted(more, key=_rank))


def promised(table: Table, network: str) -> set[Address]:
    """Addresses of hosts of ours on a network, made or yet to be made."""
    return {a for _, b in table.bodies(Kind.HOST, HostBody) if b.network == network for a in b.addresses}


def _rank(address: Address) -> tuple[int, int]:
    return address.version, int(address)


# ── Ranges ─────────────────────────────────────────────────────────────────────────────────────────────────


def ranges_held(table: Table, vpn: Record, share: Share, had: Iterable[Range] = ()) -> tuple[Range, ...]:
    """The share that the record gives to this site, less what others still say they hold (rule 16: it is free
    when its holder has drained or is forgotten), and at least what was held before: only a home gives, of its own."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    had = tuple(had)
    claimed = [r for rs in claims(table, vpn).values() for r in rs]
    found: list[Range] = []
    for prefix in body.prefixes:
        given, kept = ranges.spans_of(share.ranges, prefix), ranges.spans_of(had, prefix)
        if vpn.home == table.site:
            kept = ranges.subtract(kept, ranges.subtract(kept, given))
        if had and yielded(table, vpn):
            given = ()
        free = ranges.subtract(given, ranges.spans_of(claimed, prefix))
        found += ranges.ranges_of(ranges.union([*free, *kept]), prefix)
    return tuple(found)


def holding(table: Table, vpn: Record, share: Share, had: Iterable[Range], ledger: Ledger) -> tuple[Range, ...]:
    """`ranges_held`, without what was given away since, with what was got."""
    own = ranges_held(table, vpn, share, had)
    if ledger == Ledger():
        return own
    prefixes = vpn.body.prefixes
    away = [*ledger.given, *(r for a in ledger.awaited for r in a.ranges)]
    return ranges.plus(ranges.minus(own, away, prefixes), ledger.got, prefixes)


def yielded(table: Table, vpn: Record) -> bool:
    """Whether this site was the home before somebody adopted the Vpn. What it does not hold it may have given away,
    out of the adopter's hearing, to somebody who has yet to say so: that is not its own again (rule 14)."""
    return vpn.home != table.site and vpn.id.startswith(f"{table.site}.")


def claims(table: Table, vpn: Record) -> dict[str, tuple[Range, ...]]:
    """site → what it says that it holds. The home is left out: what it holds, it says in the record itself. So are
    those that are neither named nor owed any more: they let go, though perhaps not within this site's hearing. But
    who answered another home may be unknown to the one that adopted the Vpn, and holds what it was given."""
    pinned, there = trust.pins(table), {*vpn.header.names, *vpn.header.owes}
    by = (vpn.order.epoch, vpn.order.adopter)
    return {
        site: answer.ranges
        for site, answer in table.answers(vpn.id).items()
        if site in pinned
        and (site in there or (answer.order.epoch, answer.order.adopter) != by)
        and site != vpn.home
        and answer.word in (Word.ACCEPTED, Word.HELD)
    }


def given_back(table: Table, vpn: Record, share: Share | None) -> tuple[Range, ...]:
    """The addresses that this site let go of before somebody adopted the Vpn who had not heard of it (rule 14). The
    home of then may have given them to another member: an adopter gives what it holds, not what it remembers."""
    record = table.answer_record(vpn.id, table.site)
    if record is None or not isinstance(record.body, AnswerBody) or share is None:
        return ()
    word = record.body
    before = word.word is Word.REFUSED if record.live else word.order.epoch < vpn.order.epoch
    meets = any(
        r.first.version == s.first.version and int(r.first) <= int(s.last) and int(s.first) <= int(r.last)
        for r in (*word.ranges, *word.ledger.given)
        for s in share.ranges
    )
    return (*word.ranges, *word.ledger.given) if before and meets else ()


def too_late(table: Table, vpn: Record, share: Share) -> Reason | None:
    """Why the share that an adopter remembers is not this site's any more."""
    if not given_back(table, vpn, share):
        return None
    return Reason(
        code="overlap",
        text=f"{table.site} let go of its addresses before {vpn.home} adopted the Vpn",
        hint=f"at {vpn.home}: remove {table.site} from the Vpn, then add it again",
    )


# ── Routes ─────────────────────────────────────────────────────────────────────────────────────────────────


def member_prefixes(table: Table, vpn: Record) -> dict[str, tuple[Prefix, ...]]:
    """site → prefixes of an L3 Vpn's members. A member may say less than is frozen into the record, and the home may
    freeze less than a member said; nobody may say more for another."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    answers = table.answers(vpn.id)
    found: dict[str, tuple[Prefix, ...]] = {}
    for a in body.attachments:
        answer = answers.get(a.site)
        stated = answer.prefixes if answer is not None and answer.word in AGREED else None
        frozen = a.prefixes or stated or ()
        found[a.site] = frozen if stated is None else tuple(p for p in frozen if p in stated)
    return found


def overlapping(some: Iterable[Prefix], others: Iterable[Prefix]) -> tuple[Prefix, Prefix] | None:
    others = tuple(others)
    for a in some:
        for b in others:
            if a.version == b.version and a.overlaps(b):
                return a, b
    return None


def routes_elsewhere(table: Table, vpn: str, network: str) -> Iterator[tuple[str, tuple[Prefix, ...]]]:
    """(name, prefixes taken) of the other L3 Vpns that touch a network here: one routing context."""
    for record, body in held_here(table, network):
        answer = table.own_answer(record.id)
        if record.id != vpn and body.kind is VpnKind.L3 and answer is not None:
            yield body.name, answer.routes


def routes_taken(table: Table, vpn: Record, answer: AnswerBody) -> tuple[Prefix, ...]:
    """The others' prefixes that this site routes, given its standing `answer`: those it has taken already, then what
    is new in the order of the members; nothing that overlaps its own, or one that is taken."""
    pinned = trust.pins(table)
    stated = [p for s, ps in member_prefixes(table, vpn).items() if s in pinned for p in ps]
    taken = [*answer.prefixes, *(p for _, ps in routes_elsewhere(table, vpn.id, answer.network) for p in ps)]
    routes: list[Prefix] = []
    for prefix in [*(p for p in answer.routes if p in stated), *stated]:
        if prefix not in routes and not overlapping((prefix,), (*taken, *routes)):
            routes.append(prefix)
    return tuple(sorted(routes, key=lambda p: (p.version, p)))


def routed(table: Table, vpn: Record) -> dict[str, tuple[Prefix, ...]]:
    """site → the prefixes that are routed to it: of what it states, what this site has taken, each to one member."""
    mine = table.own_answer(vpn.id)
    left = set(mine.routes) if mine is not None else set()
    found: dict[str, tuple[Prefix, ...]] = {}
    for site, prefixes in member_prefixes(table, vpn).items():
        found[site] = tuple(p for p in prefixes if p in left)
        left -= set(prefixes)
    return found


def untaken(table: Table, vpn: Record) -> list[str]:
    """In words: prefixes that a member does not route, since it routes something else there."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    if body.kind is not VpnKind.L3 or not all(a.agreed for a in body.attachments):
        return []
    stated = member_prefixes(table, vpn)
    said = [(s, a.routes) for s, a in table.answers(vpn.id).items() if s in stated and a.word in AGREED]
    return [
        f"{site} has not taken {prefix} of {other}"
        for site, routes in said
        for other, prefixes in stated.items()
        for prefix in prefixes
        if other != site and prefix not in routes
    ]

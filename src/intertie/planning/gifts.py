"""Addresses of an L2 Vpn that move from holder to holder, without the home (federation rules 15 and 16).

A member that runs low asks one of the others, in its Answer. That one lets go of some that it has free and offers
them, in one record, its own Answer: what is offered is given up already. The other takes them into its Answer, where
it notes the gift's number too, so that it never takes one twice. The giver repeats the offer until it sees that
number.

Each step is one record of one site. Lost, late or repeated messages, and a crash between two steps, leave the
addresses with one holder or on their way to one; who cannot know whose they are leaves them alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from intertie.model.bodies import (
    AnswerBody,
    Attachment,
    Awaited,
    Gift,
    Ledger,
    Prefix,
    Range,
    Share,
    Taken,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.records import Draft, Kind, Record
from intertie.planning import ranges, trust
from intertie.planning.admit import Situation, attachment_of, share_of
from intertie.planning.held import AGREED, claims, occupied, promised
from intertie.planning.identity import answer_id
from intertie.planning.table import Table

LOW = 4
"""Who has fewer free addresses asks for more: some, so that they arrive before the last one is used."""
EXACT = 2 * LOW
PLENTY = 1024
"""Beyond this, what a member has free is not told more exactly."""
PIECES = 4
"""Stretches of a gift in one prefix; how many an Answer may list in all is `MOST`."""
MOST = 256


# ── Entering and leaving ───────────────────────────────────────────────────────────────────────────────────


def ledger_of(answer: Record | None) -> Ledger:
    """Of a site's last word on a Vpn, ended or not."""
    return answer.body.ledger if answer is not None and isinstance(answer.body, AnswerBody) else Ledger()


def anew(ledger: Ledger) -> Ledger:
    """Of a site that is made a member again: it holds its share, and nothing that it had by gifts."""
    return Ledger(taken=ledger.taken, number=ledger.number, stay=ledger.stay + 1)


def heir_s(situation: Situation, vpn: Record, answer: Draft | None, version: Draft) -> Draft | None:
    """This site's Answer that goes with a version of its own: with what it takes over of the members that leave.

    In the same commit: nobody else may learn that a member is out while nobody has what that held.
    """
    standing = situation.table.answer_record(vpn.id, situation.site)
    body = answer.body if answer is not None else standing.body if standing is not None and standing.live else None
    left = [a.site for a in vpn.body.attachments if attachment_of(version.body, a.site) is None]
    if not left or not vpn.body.shares or not isinstance(body, AnswerBody) or body.word not in AGREED:
        return answer
    draft = answer or Draft(
        kind=Kind.ANSWER,
        id=answer_id(situation.site, vpn.id),
        names=standing.header.names if standing is not None else (),
        body=body,
        base=standing.order if standing is not None else None,
        epoch=0,
    )
    return replace(draft, body=inherited(situation, vpn, body, left))


def inherited(situation: Situation, vpn: Record, mine: AnswerBody, left: Iterable[str]) -> AnswerBody:
    """The home's Answer as it drops the members `left` from the record, whose shares become its own.

    It takes over what their last words say that they hold, and their gifts that are still on their way. What they had
    given away before is in the share too, and is somebody else's.
    """
    body = vpn.body
    assert isinstance(body, VpnBody)
    left = tuple(left)
    for site in left:
        share = share_of(body, site)
        if share is not None:
            stay = [a.site for a in body.attachments if a.site not in left]
            ledger = _inherited(situation.table, vpn, mine, share, stay)
            mine = replace(mine, ledger=ledger, ranges=ranges.plus(mine.ranges, ledger.got, body.prefixes))
    return _told_apart(mine, [s for s in body.shares if s.site in (situation.site, *left)], body.prefixes)


def _told_apart(mine: AnswerBody, shares: Iterable[Share], prefixes: tuple[Prefix, ...]) -> AnswerBody:
    """A home gives on in its record what its record gives it: that is not noted as got, so that it is not held longer
    than the record says. The rest it can only pass on as a gift."""
    own = [r for share in shares for r in share.ranges]
    return replace(mine, ledger=replace(mine.ledger, got=ranges.minus(mine.ledger.got, own, prefixes)))


def _inherited(table: Table, vpn: Record, mine: AnswerBody, share: Share, stay: list[str]) -> Ledger:
    prefixes, ledger = vpn.body.prefixes, mine.ledger
    # Of the share, this site may have got some itself.
    theirs = ranges.minus(share.ranges, mine.ranges, prefixes)
    said = table.answers(vpn.id).get(share.site)
    if said is None or said.word is not Word.DRAINED or not _to_this_home(said, vpn):
        if said is not None and said.word is Word.REFUSED:
            return _past(ledger, said, theirs, prefixes)
        held = ranges.minus(said.ranges if said is not None else (), mine.ranges, prefixes)
        heirs = tuple(sorted(s for s in stay if s != table.site and s in trust.pins(table)))
        all_of_it = ranges.plus(theirs, held, prefixes)
        return replace(ledger, awaited=(*ledger.awaited, Awaited(site=share.site, ranges=all_of_it, members=heirs)))
    if not said.network:
        return _past(ledger, said, theirs, prefixes)
    moved = ranges.minus(theirs, said.ranges, prefixes)
    return replace(
        ledger,
        got=ranges.plus(ledger.got, said.ranges, prefixes),
        given=ranges.plus(ranges.minus(ledger.given, said.ranges, prefixes), moved, prefixes),
        gifts=(*ledger.gifts, *said.ledger.gifts),
    )


def _past(ledger: Ledger, said: AnswerBody, share: Iterable[Range], prefixes: tuple[Prefix, ...]) -> Ledger:
    """Of a site that holds nothing. If it had let go of its share before, an earlier home knows whose that is."""
    gone = tuple(share) if said.ranges else ()
    return replace(ledger, given=ranges.plus(ledger.given, gone, prefixes))


def _to_this_home(said: AnswerBody, vpn: Record) -> bool:
    by = (said.order.epoch, said.order.adopter)
    return said.order >= vpn.order and by == (vpn.order.epoch, vpn.order.adopter)


# ── Each member's moves ────────────────────────────────────────────────────────────────────────────────────


def settled(situation: Situation, vpn: Record, mine: AnswerBody, ending: bool) -> AnswerBody:
    """This site's Answer to an L2 Vpn, with the next steps of all gifts that concern it.

    Who is `ending` gives and takes nothing more: its home goes by its last word.
    """
    body = vpn.body
    assert isinstance(body, VpnBody)
    mine = _acknowledged(situation.table, vpn, mine, ending)
    if ending:
        return replace(mine, free=(), asks="")
    mine = _freed(situation.table, vpn, mine)
    mine = _accepted(situation.table, vpn, mine)
    mine = _offered(situation, vpn, mine)
    if vpn.home == situation.site:
        mine = _told_apart(mine, [s for s in body.shares if s.site == situation.site], body.prefixes)
    left = tuple(_level(ranges.count(free)) for free in vacant(situation, mine, body.prefixes))
    return replace(mine, free=left, asks=whom_to_ask(situation, vpn, left))


def vacant(situation: Situation, mine: AnswerBody, prefixes: tuple[Prefix, ...]) -> tuple[tuple[Range, ...], ...]:
    """For each prefix, what this site holds and nobody here has, neither host nor gateway."""
    taken = set(mine.gateways)
    seen = next((n for n in situation.inventory.networks if n.id == mine.network), None)
    if seen is not None:
        taken |= set(occupied(situation.table, seen))
    else:
        taken |= promised(situation.table, mine.network)
    return ranges.vacant(mine.ranges, taken, prefixes)


def _level(free: int) -> int:
    """Rounded down to a power of two, so that an Answer is not said anew for every host; but exact where somebody may
    be low: two that each took the other for richer would give the same addresses to and fro."""
    return free if free < EXACT else min(1 << (free.bit_length() - 1), PLENTY)


def _acknowledged(table: Table, vpn: Record, mine: AnswerBody, ending: bool) -> AnswerBody:
    """Without the gifts that were taken. What can no longer be taken comes back, unless it is another's gift."""
    kept: list[Gift] = []
    back: tuple[Range, ...] = ()
    for gift in mine.ledger.gifts:
        record = table.answer_record(vpn.id, gift.to)
        theirs = ledger_of(record)
        if taken(theirs, gift.by) >= gift.number:
            continue
        # Evidence, never time: it has let go of the Vpn since, and says that without having taken it (rule 16).
        missed = record is not None and (theirs.stay, not record.live) > (gift.stay, False)
        if not missed or (ending and gift.by == table.site):
            kept.append(gift)
        elif gift.by == table.site:
            back = (*back, *gift.ranges)
    if len(kept) == len(mine.ledger.gifts):
        return mine
    return _gained(replace(mine, ledger=replace(mine.ledger, gifts=tuple(kept))), back, vpn.body.prefixes)


def _gained(mine: AnswerBody, more: Iterable[Range], prefixes: tuple[Prefix, ...]) -> AnswerBody:
    more, ledger = tuple(more), mine.ledger
    ledger = replace(
        ledger, got=ranges.plus(ledger.got, more, prefixes), given=ranges.minus(ledger.given, more, prefixes)
    )
    return replace(mine, ranges=ranges.plus(mine.ranges, more, prefixes), ledger=ledger)


def taken(ledger: Ledger, by: str) -> int:
    """The number of the last gift of `by` that this is known to have taken."""
    return next((t.number for t in ledger.taken if t.by == by), 0)


def _freed(table: Table, vpn: Record, mine: AnswerBody) -> AnswerBody:
    """With what forgotten sites held, once everybody has forgotten them who could have got some of it (rule 17), and
    none of those says that it did."""
    for a in mine.ledger.awaited:
        if not all(a.site in trust.forgotten(table, m) for m in a.members):
            continue
        others = [r for s, said in _words(table, vpn) if s != a.site for r in known_of(said)]
        free = ranges.minus(a.ranges, others, vpn.body.prefixes)
        ledger = replace(
            mine.ledger,
            awaited=tuple(other for other in mine.ledger.awaited if other != a),
            given=ranges.plus(mine.ledger.given, a.ranges, vpn.body.prefixes),
        )
        mine = _gained(replace(mine, ledger=ledger), free, vpn.body.prefixes)
    return mine


def _words(table: Table, vpn: Record) -> Iterator[tuple[str, AnswerBody]]:
    """The other sites' Answers to a Vpn, those of members that have left as well."""
    for site in table.answering(vpn.id):
        record = table.answer_record(vpn.id, site)
        if site != table.site and record is not None and isinstance(record.body, AnswerBody):
            yield site, record.body


def known_of(said: AnswerBody) -> Iterator[Range]:
    """All that a site says that it holds or has held."""
    yield from said.ranges
    yield from said.ledger.given
    for gift in said.ledger.gifts:
        yield from gift.ranges


# ── Taking ─────────────────────────────────────────────────────────────────────────────────────────────────


def _accepted(table: Table, vpn: Record, mine: AnswerBody) -> AnswerBody:
    """With the gifts that are for this site and that it has not taken yet."""
    for gift in sorted(_for_me(table, vpn, mine.ledger), key=lambda g: (g.by, g.number)):
        if gift.number <= taken(mine.ledger, gift.by):
            continue
        if not _may_be_given(table, vpn, gift, mine):
            continue
        others = [t for t in mine.ledger.taken if t.by != gift.by]
        noted = tuple(sorted((*others, Taken(by=gift.by, number=gift.number)), key=lambda t: t.by))
        mine = _gained(replace(mine, ledger=replace(mine.ledger, taken=noted)), gift.ranges, vpn.body.prefixes)
    return mine


def _for_me(table: Table, vpn: Record, ledger: Ledger) -> Iterator[Gift]:
    """Gifts of members that this site trusts; the home repeats those of members that have left."""
    named = {a.site for a in vpn.body.attachments}
    for site, said in partners(table, vpn):
        for gift in said.ledger.gifts:
            own = gift.by == site or (site == vpn.home and gift.by not in named)
            if own and (gift.to, gift.stay) == (table.site, ledger.stay):
                yield gift


def partners(table: Table, vpn: Record) -> Iterator[tuple[str, AnswerBody]]:
    """The other members that take part and are trusted, with their Answers."""
    pinned = trust.pins(table)
    for site, said in table.answers(vpn.id).items():
        named = attachment_of(vpn.body, site)
        if site != table.site and site in pinned and named is not None and said.word in (Word.ACCEPTED, Word.HELD):
            yield site, said


def _may_be_given(table: Table, vpn: Record, gift: Gift, mine: AnswerBody) -> bool:
    """Whether all that can be seen here lets the giver have held it (I16): it is in its share, or whoever has it in
    theirs says that they gave it away; and nobody holds it."""
    prefixes = vpn.body.prefixes
    home = table.answers(vpn.id).get(vpn.home)
    claimed = [mine.ranges, *claims(table, vpn).values(), *([home.ranges] if home is not None else [])]
    held = [r for rs in claimed for r in rs]
    if ranges.count(ranges.plus(gift.ranges, (), prefixes)) != ranges.count(gift.ranges):
        return False  # outside the Vpn's prefixes, or one address twice
    if ranges.common(gift.ranges, held, prefixes):
        return False
    unexplained = gift.ranges
    for share in vpn.body.shares:
        passed = share.ranges if share.site == gift.by else _given_away(table, vpn, share)
        unexplained = ranges.minus(unexplained, passed, prefixes)
    return not unexplained


def _given_away(table: Table, vpn: Record, share: Share) -> tuple[Range, ...]:
    """What of a member's share it holds no more, by its own word."""
    record = table.answer_record(vpn.id, share.site)
    if record is None or not isinstance(record.body, AnswerBody):
        return ()
    if record.live and not (share.site != vpn.home and vpn.id.startswith(f"{share.site}.")):
        return record.body.ledger.given
    # Who has let go holds nothing; nor does a former home what it gave to somebody in the record of then.
    return ranges.minus(share.ranges, record.body.ranges if record.live else (), vpn.body.prefixes)


# ── Giving ─────────────────────────────────────────────────────────────────────────────────────────────────


def _offered(situation: Situation, vpn: Record, mine: AnswerBody) -> AnswerBody:
    """With a gift for each member that asks this site, has less, and has none on its way."""
    if not any(n.id == mine.network for n in situation.inventory.networks):
        return mine  # what is in use is not seen
    for site, said in partners(situation.table, vpn):
        waiting = any(g.to == site for g in mine.ledger.gifts)
        leaving = attachment_of(vpn.body, site)
        if said.asks == situation.site and not waiting and leaving is not None and not leaving.leaving:
            mine = _gift(situation, vpn, mine, site, said)
    return mine


def _gift(situation: Situation, vpn: Record, mine: AnswerBody, to: str, said: AnswerBody) -> AnswerBody:
    """Half of what this site has free beyond what `to` has: afterwards both have about the same."""
    prefixes = vpn.body.prefixes
    given: list[Range] = []
    free = vacant(situation, mine, prefixes)
    for prefix, here, there in zip(prefixes, free, said.free, strict=False):
        spare = (ranges.count(here) - there) // 2
        if there < LOW and spare > 0:
            given += ranges.upper(here, spare, prefix, PIECES)
    ledger = mine.ledger
    if not given or len(mine.ranges) + len(ledger.given) + len(ledger.got) > MOST:
        return mine
    number = max([ledger.number, *(taken(s.ledger, situation.site) for _, s in _words(situation.table, vpn))]) + 1
    gift = Gift(by=situation.site, number=number, to=to, stay=said.ledger.stay, ranges=tuple(given))
    ledger = replace(
        ledger,
        number=number,
        gifts=(*ledger.gifts, gift),
        given=ranges.plus(ledger.given, given, prefixes),
        got=ranges.minus(ledger.got, given, prefixes),
    )
    return replace(mine, ranges=ranges.minus(mine.ranges, given, prefixes), ledger=ledger)


# ── Asking ─────────────────────────────────────────────────────────────────────────────────────────────────


def whom_to_ask(situation: Situation, vpn: Record, left: tuple[int, ...]) -> str:
    """The member with most free, of those that were heard of late; "" if this site has enough or nobody has more."""
    low = min(left, default=LOW)
    if low >= LOW:
        return ""
    which = left.index(low)
    found = [
        (said.free[which], site)
        for site, said in partners(situation.table, vpn)
        if len(said.free) == len(left) and site not in situation.silent and said.word is Word.ACCEPTED
    ]
    most, site = max(found, default=(0, ""))
    return site if most - low >= 2 else ""


def others_words(situation: Situation, network: str, prefix: Prefix) -> list[str]:
    """In words, why none of the other members of the L2 Vpn that stretches a network here has given this site more of
    `prefix` yet; nothing if the network is in none."""
    table = situation.table
    for vpn, body in table.on(network):
        if body.kind is VpnKind.L2 and prefix in body.prefixes:
            words = dict(partners(table, vpn))
            others = [a for a in body.attachments if a.site != situation.site]
            return [f"{a.site} {_why_not(situation, body, words.get(a.site), a, prefix)}" for a in others]
    return []


def _why_not(situation: Situation, body: VpnBody, said: AnswerBody | None, a: Attachment, prefix: Prefix) -> str:
    if said is None:
        return "has not accepted the Vpn"
    if a.leaving or said.word is not Word.ACCEPTED or len(said.free) != len(body.prefixes):
        return "gives none"
    if a.site in situation.silent:
        return "was not heard of lately"
    left = said.free[body.prefixes.index(prefix)]
    if left > 1:
        return f"has {left} or more free and is asked"
    return "keeps its last one" if left else "has none free"


def without(body: VpnBody, site: str, heir: str) -> VpnBody:
    """The body without a member; in an L2 Vpn its range goes to `heir`: who writes this, and alone knows more."""
    kept = tuple(a for a in body.attachments if a.site != site)
    leaver = share_of(body, site)
    shares = tuple(s for s in body.shares if s.site != site)
    if leaver is not None and shares:
        chosen = next((s for s in shares if s.site == heir), shares[0])
        shares = tuple(ranges.absorb(s, leaver, body.prefixes) if s is chosen else s for s in shares)
    return replace(body, attachments=kept, shares=shares)

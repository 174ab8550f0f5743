"""What this site says next: its answers, and the next versions of the Vpns that it is home to.

`advertise` is the whole of it. It returns drafts; an empty list means that nothing is to be said. It is called for
the Vpns that something touched, and now and then for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from intertie.model.bodies import AnswerBody, Attachment, HostBody, Ledger, Require, VpnBody, VpnKind, Word
from intertie.model.errors import Reason
from intertie.model.records import Draft, Header, Kind, Order, Record, State
from intertie.planning import gifts, trust
from intertie.planning.admit import (
    AGREED,
    Situation,
    attachment_of,
    judge,
    member_prefixes,
    refreshed,
    refused,
    share_of,
)
from intertie.planning.crossing import crossed, crossing, overlap
from intertie.planning.faults import apart
from intertie.planning.held import given_back, has_left
from intertie.planning.identity import answer_id, made_network
from intertie.planning.plausible import fits
from intertie.planning.table import Table

LONGEST_REASON = 500
"""Characters of a member's reason that go into the home's own record."""


def advertise(situation: Situation, ids: Collection[str] | None = None, untold: Collection[str] = ()) -> list[Draft]:
    """Drafts for the Vpns `ids` (None: all). At most one draft a record.

    `untold`, while this site recovers from the loss of its store, are the peers that have not yet told it what it
    said before (rule 18). On their Vpns it says nothing, nor where the record speaks of a yes that it does not have
    back: it might take back a promise that it no longer knows of.
    """
    table = situation.table
    records = table.all_of(Kind.VPN) if ids is None else (r for i in sorted(ids) if (r := table.get(i)) is not None)
    drafts: list[Draft] = []
    before: list[tuple[str, Record | None]] = []
    try:
        for vpn in sorted(records, key=lambda r: r.order):
            if vpn.header.kind is not Kind.VPN:
                continue
            with apart(table.faults, vpn.id):
                if untold and unsure(table, vpn, untold):
                    continue
                draft = next_answer(situation, vpn)
                if draft is not None:
                    # What is promised to one Vpn, the next must not be promised again, though nothing is written yet.
                    before.append((vpn.id, table.suppose(vpn.id, _unsigned(table.site, draft))))
                version = next_version(situation, vpn) if vpn.home == table.site else None
                if version is not None:
                    draft = gifts.heir_s(situation, vpn, draft, version)
                drafts += [d for d in (draft, version) if d is not None]
    finally:
        for id, answer in reversed(before):
            table.suppose(id, answer)
    return drafts


def unsure(table: Table, vpn: Record, untold: Collection[str]) -> bool:
    """Whether this site may have said something on `vpn` that it has not back yet."""
    if vpn.home == table.site or vpn.home in untold:
        return True
    if any(site in untold for site in vpn.header.names) and vpn.body.shares:
        # It may have given addresses to that one.
        return True
    # The home may have lost its store as well, and with it the yes of which its record still speaks.
    here = attachment_of(vpn.body, table.site)
    return here is not None and here.agreed and table.answer_record(vpn.id, table.site) is None


def _unsigned(site: str, draft: Draft) -> Record:
    header = Header(
        kind=draft.kind, id=draft.id, home=site, order=draft.base or Order(), state=draft.state, names=draft.names
    )
    return Record(header, draft.body, b"", b"")


# ── Answers ────────────────────────────────────────────────────────────────────────────────────────────────


def next_answer(situation: Situation, vpn: Record) -> Draft | None:
    """This site's answer to `vpn` if it differs from the one that stands."""
    table, site = situation.table, situation.site
    body = vpn.body
    assert isinstance(body, VpnBody)
    standing = table.answer_record(vpn.id, site)
    said = standing.body if standing is not None and standing.live else None
    assert said is None or isinstance(said, AnswerBody)
    # Who has left hears no more of the others, until all ends. But an adopter may be a stranger to it, so that the
    # yes of those whom it knows must tell that the adoption is one.
    owed = () if vpn.live and not vpn.order.epoch else vpn.header.owes
    names = tuple(sorted({*vpn.header.names, *owed, vpn.home} - {site}))
    if vpn.header.state is State.WITHDRAWN or attachment_of(body, site) is None:
        return _last_word(site, vpn, standing, said, names)
    if vpn.home != site and vpn.home not in trust.pins(table):
        # A forgotten home: what it left stands until somebody deletes it here, but it gets no new promise.
        return None
    if has_left(table, vpn):
        return None
    said_now = _word(situation, vpn, said, gifts.ledger_of(standing))
    if said is not None and _same(said, said_now, vpn) and standing is not None and standing.header.names == names:
        return None
    return Draft(
        kind=Kind.ANSWER,
        id=answer_id(site, vpn.id),
        names=names,
        body=said_now,
        base=standing.order if standing is not None else None,
        epoch=0,
    )


def _last_word(
    site: str, vpn: Record, standing: Record | None, said: AnswerBody | None, names: tuple[str, ...]
) -> Draft | None:
    if said is not None:
        body = replace(said, word=Word.DRAINED, ports=0, order=vpn.order, digest=vpn.digest)
    elif vpn.live and site in vpn.header.owes and not _answered_since(standing, vpn):
        # Nothing is held here: the home may stop telling. Who was told of a yes hears of its end, however late.
        names = tuple(sorted({vpn.home, *(standing.header.names if standing is not None else ())} - {site}))
        kept = standing.body.ranges if standing is not None and isinstance(standing.body, AnswerBody) else ()
        body = AnswerBody(vpn=vpn.id, order=vpn.order, digest=vpn.digest, word=Word.DRAINED, ranges=kept)
        body = replace(body, ledger=gifts.ledger_of(standing))
    else:
        return None
    base = standing.order if standing is not None else None
    id = answer_id(site, vpn.id)
    return Draft(kind=Kind.ANSWER, id=id, state=State.WITHDRAWN, names=names, body=body, base=base)


def _answered_since(answer: Record | None, vpn: Record) -> bool:
    return answer is not None and isinstance(answer.body, AnswerBody) and answer.body.order >= vpn.order


def _word(situation: Situation, vpn: Record, said: AnswerBody | None, ledger: Ledger) -> AnswerBody:
    """What is to be said after `said`; `ledger` is of the last word, which may have ended."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    attachment = attachment_of(body, situation.site)
    assert attachment is not None
    ending = vpn.header.state is State.CLOSING or attachment.leaving
    # Who had let go, and is added again before it heard that it was out, may find its addresses given to others.
    anew = said is not None and said.word is Word.DRAINED and not ending and not attachment.agreed
    if said is None or said.word is Word.REFUSED or not said.network or anew:
        first = _first_word(situation, vpn, said, ledger, attachment, ending)
        if first.word is not Word.ACCEPTED:
            return first
        said = first
    elif body.kind is VpnKind.L3 and not attachment.agreed and not ending:
        # Not settled: what an earlier member answered meanwhile may overlap. Only that ends a yes, since the first of
        # the list never yields; were other Vpns' routes a reason too, two sites could refuse and accept by turns.
        clash = crossed(situation.table, vpn, said.prefixes)
        if clash is not None:
            return refused(vpn, clash)
    if said.word is Word.DRAINED and said.ledger.leaves and (not ending or said.order.epoch < vpn.order.epoch):
        # It had let go. In versions that never came here, others may have got what it held: the share of now counts.
        again = replace(gifts.anew(said.ledger), given=said.ledger.given, leaves=ending)
        said = replace(said, ranges=(), gateways=(), ledger=again)
    held, said = said.ranges, refreshed(situation, vpn, said)
    if ending:
        said = replace(said, ranges=held, ledger=replace(said.ledger, leaves=attachment.leaving))
    if body.shares:
        said = gifts.settled(situation, vpn, said, ending)
    if not ending:
        said = replace(said, ledger=replace(said.ledger, leaves=False))
        if said.order.epoch < vpn.order.epoch:
            said = replace(said, order=vpn.order, digest=vpn.digest)
        return replace(said, word=Word.ACCEPTED, ports=0)
    ports = _ports_to_drain(situation, vpn, said)
    return replace(said, word=Word.HELD if ports else Word.DRAINED, ports=ports, order=vpn.order, digest=vpn.digest)


def _first_word(
    situation: Situation, vpn: Record, said: AnswerBody | None, ledger: Ledger, here: Attachment, ending: bool
) -> AnswerBody:
    """The word of a site that holds nothing, or nothing that can be relied on."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    if ending:
        # Closing alters no forwarding: nothing is made here on the way out.
        none = AnswerBody(vpn=vpn.id, order=vpn.order, digest=vpn.digest, word=Word.DRAINED, ledger=ledger)
        # With what it let go of before this home adopted the Vpn: that is another's now.
        back = given_back(situation.table, vpn, share_of(body, situation.site))
        return replace(none, ranges=said.ranges if said is not None else back)
    if said is not None and said.order == vpn.order and body.require is Require.ALL and not here.agreed:
        # The home acts on a no at once (rule 9), and takes back what it gave: for this version it stands.
        return said
    word = judge(situation, vpn)
    if word.word is Word.ACCEPTED and (body.shares or ledger != Ledger()):
        # Who has not ended its answer may have given some of its share away during this stay.
        drained = said is not None and said.word is Word.DRAINED
        ledger = replace(gifts.anew(ledger), given=ledger.given if drained else ())
    return replace(word, ledger=ledger)


def _ports_to_drain(situation: Situation, vpn: Record, said: AnswerBody) -> int:
    """Only ports of a network that was made for the Vpn keep it: the others lose nothing but the Vpn."""
    if said.network != made_network(situation.site, vpn.id):
        return 0
    # Hosts that are promised and not made yet, or of a cloud that was last looked at before, are ports as well.
    promised = sum(b.network == said.network for _, b in situation.table.bodies(Kind.HOST, HostBody))
    seen = next((n.ports for n in situation.inventory.networks if n.id == said.network), 0)
    return max(promised, seen)


def _same(said: AnswerBody, now: AnswerBody, vpn: Record) -> bool:
    if said.word is not Word.ACCEPTED or now.word is not Word.ACCEPTED:
        # A refusal or a drain is the word on one version: the home must see which.
        return said == now
    # An acceptance holds for later versions (rule 6): a new version alone is no reason to say it again, but its
    # adoption is (rule 14).
    return said.order.epoch == now.order.epoch and replace(said, order=now.order, digest=now.digest) == now


# ── The home's moves ───────────────────────────────────────────────────────────────────────────────────────


def next_version(situation: Situation, vpn: Record) -> Draft | None:
    """The next version of a Vpn of this site's, if what the members answered calls for one."""
    if vpn.header.state is State.WITHDRAWN:
        return None
    body = vpn.body
    assert isinstance(body, VpnBody)
    answers = situation.table.answers(vpn.id)
    if unheard := _unheard(situation, vpn, answers):
        draft = version_of(vpn, body, table=situation.table)
        return replace(draft, owes=tuple(sorted({*draft.owes, *unheard})))
    if vpn.header.state is State.CLOSING:
        gone = forgotten_sites(situation)
        waiting = [a.site for a in body.attachments if a.site not in gone and not _drained(answers.get(a.site), vpn)]
        return None if waiting else withdrawal(vpn, body)
    return (
        _on_refusal(situation, vpn, body, answers)
        or _without_drained(situation, vpn, body, answers)
        or _frozen(situation, vpn, body, answers)
    )


def _unheard(situation: Situation, vpn: Record, answers: dict[str, AnswerBody]) -> Collection[str]:
    """Sites that a home named before the adoption, out of the adopter's hearing: their answers are to versions that
    it never had. Whoever was ever named is owed the news that it is not (rule 12)."""
    if not vpn.order.epoch:
        return ()
    by = (vpn.order.epoch, vpn.order.adopter)
    others = trust.pins(situation.table).keys() - {*vpn.header.names, *vpn.header.owes}
    # Who has let go was told by the home of then, and may take no word of a site that it never knew as a member.
    held = {s for s, a in answers.items() if s in others and a.word is not Word.DRAINED}
    return {s for s in held if (answers[s].order.epoch, answers[s].order.adopter) != by}


def _drained(answer: AnswerBody | None, vpn: Record) -> bool:
    """Whether a member has let go: drained, on this version or a later look at it; a refusal held nothing. What it
    says to somebody who adopted the Vpn is not for the home of before: the adopter may take its closing back."""
    if answer is None:
        return False
    to = (answer.order.epoch, answer.order.adopter) == (vpn.order.epoch, vpn.order.adopter)
    return answer.word is Word.REFUSED or (answer.word is Word.DRAINED and to and answer.order >= vpn.order)


def withdrawal(vpn: Record, body: VpnBody, refusal: Reason | None = None) -> Draft:
    """The tombstone: everybody who was ever named hears of it."""
    owes = tuple(sorted({*vpn.header.names, *vpn.header.owes}))
    return Draft(
        kind=Kind.VPN,
        id=vpn.id,
        state=State.WITHDRAWN,
        names=vpn.header.names,
        owes=owes,
        body=replace(body, refusal=refusal),
        base=vpn.order,
        epoch=vpn.order.epoch,
        adopter=vpn.order.adopter,
    )


def version_of(vpn: Record, body: VpnBody, state: State | None = None, table: Table | None = None) -> Draft:
    """A new version with `body`; who is no longer named stays owed until it has drained, as `table` tells."""
    names = tuple(sorted({a.site for a in body.attachments}))
    owed = {*vpn.header.owes, *vpn.header.names} - set(names)
    if table is not None:
        pinned = trust.pins(table)
        owed = {s for s in owed if s in pinned and not _let_go(table.answer_record(vpn.id, s), vpn)}
    return Draft(
        kind=Kind.VPN,
        id=vpn.id,
        state=state or vpn.header.state,
        names=names,
        owes=tuple(sorted(owed)),
        body=body,
        base=vpn.order,
        epoch=vpn.order.epoch,
        adopter=vpn.order.adopter,
    )


def _let_go(answer: Record | None, vpn: Record) -> bool:
    """Whether a site that `vpn` no longer names has ended its answer, having seen that."""
    return (
        answer is not None
        and not answer.live
        and _answered_since(answer, vpn)
        and answer.home not in vpn.header.names
    )


def _on_refusal(situation: Situation, vpn: Record, body: VpnBody, answers: dict[str, AnswerBody]) -> Draft | None:
    if body.require is Require.ANY:
        return None
    site = situation.site
    for attachment in body.attachments:
        why = _no(situation, vpn, body, attachment, answers.get(attachment.site))
        if why is None:
            continue
        text = f"{attachment.site}: {why.text}"[:LONGEST_REASON]
        refusal = Reason(code="refused-by-member", text=text, hint=why.hint[:LONGEST_REASON])
        if any(a.agreed for a in body.attachments):
            # It was added to a Vpn that runs: only the addition is taken back.
            rest = replace(gifts.without(body, attachment.site, site), refusal=refusal)
            return version_of(vpn, rest, table=situation.table)
        return withdrawal(vpn, body, refusal)
    return None


def _no(
    situation: Situation, vpn: Record, body: VpnBody, attachment: Attachment, answer: AnswerBody | None
) -> Reason | None:
    """Why a member is not to be in: by its own word, or because its answer crossed with an earlier member's."""
    # Who had said yes once all had: the others rely on the Vpn; a no is shown, and ends nothing.
    if answer is None or attachment.leaving or attachment.agreed:
        return None
    if answer.word is Word.REFUSED:
        why = answer.reason or Reason(code="invalid", text="no reason given")
        return None if answer.order < vpn.order else why
    if body.kind is VpnKind.L3:
        found = crossing(body, member_prefixes(situation.table, vpn), attachment.site)
        if found is not None:
            return overlap(f"{found[0]} at {attachment.site}", f"{found[1]} at {found[2]}")
    return None


def _without_drained(
    situation: Situation, vpn: Record, body: VpnBody, answers: dict[str, AnswerBody]
) -> Draft | None:
    gone = forgotten_sites(situation)
    leavers = [
        a.site for a in body.attachments if a.leaving and (a.site in gone or _drained(answers.get(a.site), vpn))
    ]
    if not leavers:
        return None
    for site in leavers:
        body = gifts.without(body, site, situation.site)
    return version_of(vpn, body, table=situation.table)


def forgotten_sites(situation: Situation) -> Collection[str]:
    pinned = trust.pins(situation.table)
    return {site for site in trust.forgotten(situation.table) if site not in pinned}


def _frozen(situation: Situation, vpn: Record, body: VpnBody, answers: dict[str, AnswerBody]) -> Draft | None:
    """Once all have said yes, that goes into the record, with the prefixes that only the members knew; these never
    change again."""
    if all(a.agreed for a in body.attachments) or not _all_agreed(body.attachments, answers):
        return None
    stated = member_prefixes(situation.table, vpn) if body.kind is VpnKind.L3 else {}
    attachments = tuple(
        a if a.agreed else replace(a, agreed=True, prefixes=stated.get(a.site, a.prefixes)) for a in body.attachments
    )
    body = replace(body, attachments=attachments)
    if stated and any(crossing(body, stated, a.site) or not a.prefixes for a in attachments):
        return None
    draft = version_of(vpn, body, table=situation.table)
    return draft if fits(situation.site, draft) else None


def _all_agreed(attachments: Iterable[Attachment], answers: dict[str, AnswerBody]) -> bool:
    """Who had let go of what it was named for before has not said yes to being named again."""
    yes = {site for site, answer in answers.items() if answer.word in AGREED}
    left = {site for site in yes if answers[site].word is Word.DRAINED}
    return all(a.site in yes and (a.agreed or a.leaving or a.site not in left) for a in attachments)

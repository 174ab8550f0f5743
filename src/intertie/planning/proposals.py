"""Changes asked for at a site that is not the home (federation rule 13): the home's word on each."""

from __future__ import annotations

from datetime import datetime

from intertie.model.bodies import AnswerBody, ProposalBody, VpnBody, Word
from intertie.model.errors import IntertieError, Reason
from intertie.model.records import Draft, Kind, Record, State
from intertie.model.views import ProposalView
from intertie.planning import trust
from intertie.planning.admit import Situation
from intertie.planning.advertise import withdrawal
from intertie.planning.change import changed_vpn, closed_vpn
from intertie.planning.faults import apart
from intertie.planning.identity import answer_id
from intertie.planning.table import Table


def proposal_id(site: str, ulid: str) -> str:
    return f"{site}.proposal.{ulid}"


def proposed(table: Table, vpn: str) -> tuple[ProposalView, ...]:
    """Changes of a Vpn that were asked for here and that nobody has applied or withdrawn, oldest first."""
    found: list[ProposalView] = []
    for record, body in table.bodies(Kind.PROPOSAL, ProposalBody):
        if record.home != table.site or body.vpn != vpn:
            continue
        answer = next(iter(table.answers(record.id).values()), None)
        if answer is not None and answer.word is Word.ACCEPTED:
            continue
        why = answer.reason if answer is not None else None
        found.append(
            ProposalView(
                proposal=record.id,
                change=body.change,
                name=body.name,
                members=tuple(a.site for a in body.attachments),
                force=body.force,
                waiting_for=record.header.names[0],
                not_after=body.not_after,
                answer="waiting" if answer is None else answer.word.value,
                reason=why.text if why is not None else "",
                hint=why.hint if why is not None else "",
            )
        )
    return tuple(sorted(found, key=lambda p: p.proposal))


def gone(table: Table, id: str) -> Draft:
    """The proposal withdrawn: its home applies it no more, unless it has."""
    record = table.get(id)
    assert record is not None
    return Draft(
        kind=Kind.PROPOSAL,
        id=id,
        state=State.WITHDRAWN,
        names=record.header.names,
        body=record.body,
        base=record.order,
    )


def decide(situation: Situation, now: datetime) -> list[Draft]:
    """The home's answers to proposals, each with the change it applies; and the end of what has been heard."""
    drafts: list[Draft] = []
    moved: set[str] = set()
    pinned = trust.pins(situation.table)
    for record in situation.table.all_of(Kind.PROPOSAL):
        with apart(situation.table.faults, record.id):
            if record.home == situation.site:
                drafts += _past(situation.table, record, now)
            elif situation.site in record.header.names and record.home in pinned:
                drafts += _answered(situation, record, now, moved)
    return drafts


def _past(table: Table, record: Record, now: datetime) -> list[Draft]:
    body = record.body
    assert isinstance(body, ProposalBody)
    if not record.live or body.not_after > now:
        return []
    return [gone(table, record.id)]


def _answered(situation: Situation, record: Record, now: datetime, moved: set[str]) -> list[Draft]:
    body = record.body
    assert isinstance(body, ProposalBody)
    standing = situation.table.answer_record(record.id, situation.site)
    if not record.live:
        if standing is None or not standing.live:
            return []
        return [
            Draft(
                kind=Kind.ANSWER,
                id=standing.id,
                state=State.WITHDRAWN,
                names=(record.home,),
                body=standing.body,
                base=standing.order,
            )
        ]
    if standing is not None or body.vpn in moved:
        return []
    try:
        change = _applied(situation, record, body, now)
        word, reason = Word.ACCEPTED, None
        moved.add(body.vpn)
    except IntertieError as error:
        change = []
        word, reason = Word.REFUSED, Reason(code=error.code, text=error.detail, hint=error.hint)
    answer = AnswerBody(vpn=record.id, order=record.order, digest=record.digest, word=word, reason=reason)
    said = Draft(kind=Kind.ANSWER, id=answer_id(situation.site, record.id), names=(record.home,), body=answer)
    return [*change, said]


def _applied(situation: Situation, record: Record, body: ProposalBody, now: datetime) -> list[Draft]:
    vpn = situation.table.get(body.vpn)
    known = vpn is not None and isinstance(vpn.body, VpnBody) and vpn.home == situation.site
    if vpn is None or not known or record.home not in vpn.header.names or not vpn.live:
        raise IntertieError("no such Vpn", code="not-found")
    assert isinstance(vpn.body, VpnBody)
    # The proposer's project must be the one that stands for the Vpn's: a member's tenant changes only its own.
    if trust.mapped(situation.table, record.home, body.project, vpn.body.kind.value) != vpn.body.project:
        raise IntertieError(
            f"project {body.project} of {record.home} may not change it",
            code="forbidden",
            hint=f"at {situation.site}: intertie site map {record.home} {body.project} {vpn.body.project}",
        )
    if body.base != vpn.order:
        raise IntertieError("the Vpn was changed meanwhile", code="stale", hint="look again, then ask again")
    if body.not_after < now:
        raise IntertieError(
            f"it came too late: it was good until {body.not_after:%F %T}, and at {situation.site} it is {now:%F %T}",
            code="stale",
            hint=f"ask again; if that was no delay, the clock of {record.home} or of {situation.site} is wrong",
        )
    if body.change == "update":
        return [changed_vpn(situation, vpn, body.name, body.attachments)]
    if body.change == "delete":
        return [withdrawal(vpn, vpn.body) if body.force else closed_vpn(vpn)]
    raise IntertieError(f"{body.change!r} is no change that is known here", code="invalid")

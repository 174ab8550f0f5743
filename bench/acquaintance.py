"""What enrolment leaves behind at a site, without its N² words: whom it knows, and what they may do."""

from __future__ import annotations

from collections.abc import Iterable

from intertie.model.bodies import IntroductionBody, MappingBody
from intertie.model.records import Draft, Kind
from intertie.planning import numbers
from intertie.planning.admit import Situation
from intertie.planning.enrol import pin
from intertie.planning.identity import grant_id


def acquainted(situation: Situation, others: Iterable[IntroductionBody]) -> list[Draft]:
    """Drafts of a site that pins these and maps their project `demo` onto its own."""
    here, drafts = situation.site, []
    for other in others:
        drafts.append(pin(situation.table, other))
        mapping = MappingBody(peer=other.site, theirs="demo", ours="demo", may=("l2", "l3", "read"))
        drafts.append(Draft(kind=Kind.MAPPING, id=f"{here}.mapping.{other.site}.demo", body=mapping))
    return drafts


def founder(site: str) -> Draft:
    """The grant of all numbers with which a federation begins."""
    body = numbers.founding(site)
    return Draft(kind=Kind.GRANT, id=grant_id(site, body.space, body.to, body.first), body=body)

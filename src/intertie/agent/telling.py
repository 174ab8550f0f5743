"""A change, told: an event for whoever watches, a line of the log, and one more of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from intertie.agent.causes import current
from intertie.model.bodies import AnswerBody
from intertie.model.records import Record
from intertie.model.views import Event

if TYPE_CHECKING:
    from intertie.agent.memory import Memory

EVENTS = 1024
"""Events that are kept."""


def note(agent: Memory, line: Callable[..., None], kind: str, about: tuple[str, str], what: str) -> None:
    """`line` is the log's, of the level that it deserves; `about` an id ("" for none) and a site."""
    id, site = about
    cause = agent.causes.lately(id) or current()
    seq = agent.events[-1].seq + 1 if agent.events else 1
    told = Event(seq=seq, at=agent.now(), kind=kind, id=id, site=site, what=what, request=cause.request)
    agent.events.append(told)
    del agent.events[:-EVENTS]
    agent.figures.events[kind] += 1
    line(kind, id=id, site=site, what=what, **cause.facts())


def said(record: Record) -> str:
    """What an event says of a record."""
    if isinstance(record.body, AnswerBody):
        return f"{record.body.word.value} {record.body.vpn}"
    return record.header.state.value

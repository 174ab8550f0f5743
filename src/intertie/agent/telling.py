"""A change, told: an event for whoever watches, a line of the log, and one more of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from intertie.agent.causes import current
from intertie.agent.state import Event

if TYPE_CHECKING:
    from intertie.agent.agent import Agent

EVENTS = 1024
"""Events that are kept."""


def note(agent: Agent, line: Callable[..., None], kind: str, about: tuple[str, str], what: str) -> None:
    """`line` is the log's, of the level that it deserves; `about` an id ("" for none) and a site."""
    id, site = about
    cause = agent.causes.lately(id) or current()
    seq = agent.events[-1].seq + 1 if agent.events else 1
    told = Event(seq=seq, at=agent.now(), kind=kind, id=id, site=site, what=what, request=cause.request)
    agent.events.append(told)
    del agent.events[:-EVENTS]
    agent.figures.events[kind] += 1
    line(kind, id=id, site=site, what=what, **cause.facts())

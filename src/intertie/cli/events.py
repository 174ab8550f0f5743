"""Following /v1/events: a line for each, until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from intertie.cli.session import Session
from intertie.cli.shown import moment
from intertie.model.errors import IntertieError

if TYPE_CHECKING:
    from intertie.client import Message
    from intertie.model.views import Event

AFTER = Annotated[str, typer.Option("--after", metavar="SEQ", help="Begin after this one.")]
OF_VPNS = ("vpn", "answer", "proposal", "health", "loop")
"""Kinds of events that are about Vpns; changes and failures are if they are of a segment, whose id has a slash."""

Wanted = Callable[["Event"], bool]


def everything(event: Event) -> bool:
    return True


def of_vpns(event: Event) -> bool:
    """`gap`, the word that something was missed, is for everybody."""
    return event.kind in (*OF_VPNS, "gap") or (event.kind in ("change", "failed") and "/" in event.id)


def of_vpn(id: str) -> Wanted:
    """About this one: its record, its segments, and answers, which name it."""
    return lambda event: event.kind == "gap" or id in f"{event.id} {event.what}"


def follow(session: Session, after: str, wanted: Wanted = everything) -> None:
    """Print events as they come, those that are `wanted`."""
    try:
        for message in session.client.events(after):
            if wanted(message.event):
                _print(session, message)
    except KeyboardInterrupt:
        return
    raise IntertieError("the agent ended the stream of events", code="broken", hint="intertie status")


def _print(session: Session, message: Message) -> None:
    """One line each, and out at once: who follows wants them now. With -o json, JSON lines."""
    if session.screen.is_json:
        print(json.dumps(message.told, ensure_ascii=False), flush=True)
        return
    event = message.event
    words = (event.kind, event.id, event.site, event.what)
    print(f"{event.seq:>5}  {moment(event.at)}  {'  '.join(w for w in words if w)}", flush=True)

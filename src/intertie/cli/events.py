"""Following /v1/events: a line for each, until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated

import typer

from intertie.cli.body import Body
from intertie.cli.problem import Problem
from intertie.cli.session import Session
from intertie.cli.shown import moment

AFTER = Annotated[str, typer.Option("--after", metavar="SEQ", help="Begin after this one.")]
OF_VPNS = ("vpn", "answer", "proposal", "health", "loop")
"""Kinds of events that are about Vpns; changes and failures are if they are of a segment, whose id has a slash."""

Wanted = Callable[[Body], bool]


def everything(event: Body) -> bool:
    return True


def of_vpns(event: Body) -> bool:
    """`gap`, the word that something was missed, is for everybody."""
    kind = event.text("kind")
    return kind in OF_VPNS or kind == "gap" or (kind in ("change", "failed") and "/" in event.text("id"))


def of_vpn(id: str) -> Wanted:
    """About this one: its record, its segments, and answers, which name it."""
    return lambda event: event.text("kind") == "gap" or id in f"{event.text('id')} {event.text('what')}"


def follow(session: Session, after: str, wanted: Wanted = everything) -> None:
    """Print events as they come, those that are `wanted`."""
    try:
        for event in session.client.events(after):
            if wanted(event.body):
                _print(session, event.body)
    except KeyboardInterrupt:
        return
    raise Problem("broken", "the agent ended the stream of events", "intertie status")


def _print(session: Session, event: Body) -> None:
    """One line each, and out at once: who follows wants them now. With -o json, JSON lines."""
    if session.screen.is_json:
        print(json.dumps(event.told, ensure_ascii=False), flush=True)
        return
    words = (event.text("kind"), event.text("id"), event.text("site"), event.text("what"))
    print(f"{event.text('seq'):>5}  {moment(event.text('at'))}  {'  '.join(w for w in words if w)}", flush=True)

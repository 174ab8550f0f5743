"""Following /v1/events: a line for each, until Ctrl-C."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from intertie.cli.body import Body
from intertie.cli.problem import Problem
from intertie.cli.session import Session
from intertie.cli.shown import moment

AFTER = Annotated[str, typer.Option("--after", metavar="SEQ", help="Begin after this event.")]
OF_VPNS = ("vpn", "answer", "proposal")
"""Kinds of events that are about Vpns."""


def follow(session: Session, after: str, about: str = "", kinds: tuple[str, ...] = ()) -> None:
    """Print events as they come. `about`: only those with this id in them; `kinds`: only these (() for all)."""
    try:
        for event in session.client.events(after):
            body = event.body
            if kinds and body.text("kind") not in kinds:
                continue
            if about and about not in f"{body.text('id')} {body.text('what')}":
                continue
            _print(session, body)
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

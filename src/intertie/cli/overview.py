"""`intertie status`, `intertie events`: the whole site at a glance, and as it changes."""

from __future__ import annotations

import typer

from intertie.cli import events
from intertie.cli.body import Body, Json
from intertie.cli.problem import Problem
from intertie.cli.session import Session, command
from intertie.cli.sites import peers
from intertie.cli.vpn_shown import plan_lines, vpn_list

app = typer.Typer()


@command(app, "status")
def status(session: Session) -> None:
    """This site, its peers and Vpns, and what is to be done."""
    client, screen = session.client, session.screen
    site = client.get("/v1/site").body
    known = client.items("/v1/peers")
    found = client.items("/v1/vpns")
    plan = _plan(session)
    if screen.is_json:
        parts: dict[str, Json] = {"site": site.told, "peers": known.told, "vpns": found.told, "plan": plan.told}
        screen.json(Body(parts))
        return
    ok = [name for name, each in site.named("transports") if each.flag("ok")]
    screen.line(f"{site.text('name')}  version {site.text('version')}, carries {', '.join(ok) or 'no transport'}")
    screen.line()
    screen.table(peers(known.parts("items")))
    screen.line()
    screen.table(vpn_list(found.parts("items")))
    _told("to be done in the next round", session, plan_lines(plan))
    _told("to be removed when no port is on them", session, plan_lines(plan, "kept"))
    _told("explained by no record, so it is kept", session, plan_lines(plan, "orphans"))


def _plan(session: Session) -> Body:
    """The next round, which not every role may see."""
    try:
        return session.client.get("/v1/plan").body
    except Problem as problem:
        if problem.code in ("forbidden", "not-found"):
            return Body(None)
        raise


def _told(title: str, session: Session, lines: list[str]) -> None:
    if lines:
        session.screen.line()
        session.screen.line(f"{title}:")
        for line in lines:
            session.screen.mark(line)


@command(app, "events")
def events_(session: Session, after: events.AFTER = "") -> None:
    """Follow what happens at this site, until Ctrl-C."""
    events.follow(session, after)

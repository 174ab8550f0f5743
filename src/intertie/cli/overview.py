"""`intertie status`, `intertie events`: the whole site at a glance, and as it changes."""

from __future__ import annotations

from typing import Annotated

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
    for warning in site.texts("warnings"):
        screen.mark(f"! {warning}")
    screen.line()
    screen.table(peers(known.parts("items")))
    screen.line()
    screen.table(vpn_list(found.parts("items")))
    _told("to be done in the next round", session, plan_lines(plan))
    _told("to be removed when no port is on them", session, plan_lines(plan, "kept"))
    if orphans := plan_lines(plan, "orphans"):
        _told("explained by no record, so it is kept", session, orphans)
        screen.line("  hint: intertie gc --plan")


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


@command(app, "gc")
def gc(
    session: Session,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would go; remove nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Hosts, too, and what they use; never what others' ports are on.")
    ] = False,
    base: Annotated[
        str, typer.Option("--base", metavar="VERSION", help="Only if the orphans are those of this plan.")
    ] = "",
) -> None:
    """Remove what no record explains.

    As after the loss of a database; what is in use stays. A network that is to stay: intertie network create, with
    its name and prefix, takes it up again.
    """
    query = {"force": "true"} if force else {}
    match = {"If-Match": f'"{base}"'} if base else {}
    more = {"plan": "true"} if plan else {}
    found = session.client.call("POST", "/v1/gc", query={**query, **more}, headers=match).body
    if session.screen.is_json:
        session.screen.json(found)
        return
    for line in (*plan_lines(found), *plan_lines(found, "kept")):
        session.screen.mark(line)
    if not found.parts("changes"):
        session.screen.note("nothing to remove" if not found.parts("kept") else "nothing was removed")
    elif plan:
        words = ["intertie", "gc", *(["--force"] if force else []), "--base", found.text("base_version")]
        session.screen.note("this is a plan: nothing was changed")
        session.screen.line()
        session.screen.line("apply exactly this:")
        session.screen.line(f"  {' '.join(words)}")
    else:
        session.screen.note("removed")


@command(app, "events")
def events_(session: Session, after: events.AFTER = "") -> None:
    """Follow what happens at this site, until Ctrl-C."""
    events.follow(session, after)

"""`intertie status`, `intertie events`: the whole site at a glance, and as it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from intertie.cli import events
from intertie.cli.session import Session, command
from intertie.cli.sites import peers
from intertie.cli.vpn_shown import plan_lines, vpn_list
from intertie.model.errors import Forbidden, NotFound

if TYPE_CHECKING:
    from intertie.client import Answer
    from intertie.model.views import SitePlan

app = typer.Typer()


@command(app, "status")
def status(session: Session) -> None:
    """This site, its peers and Vpns, and what is to be done."""
    client, screen = session.client, session.screen
    site = client.site()
    known = client.peers.list().all()
    found = client.vpns.list().all()
    plan = _plan(session)
    if screen.is_json:
        told = plan.told if plan is not None else None
        screen.document({"site": site.told, "peers": known.told, "vpns": found.told, "plan": told})
        return
    ok = [name for name, each in site.value.transports.items() if each.ok]
    screen.line(f"{site.value.name}  version {site.value.version}, carries {', '.join(ok) or 'no transport'}")
    for warning in site.value.warnings:
        screen.mark(f"! {warning}")
    screen.line()
    screen.table(peers(known.value))
    screen.line()
    screen.table(vpn_list(found.value))
    if plan is None:
        return
    _told("to be done in the next round", session, plan_lines(plan.value.changes))
    _told("to be removed when no port is on them", session, plan_lines(plan.value.kept))
    if orphans := plan_lines(plan.value.orphans):
        _told("explained by no record, so it is kept", session, orphans)
        screen.line("  hint: intertie gc --plan")


def _plan(session: Session) -> Answer[SitePlan] | None:
    """The next round, which not every role may see."""
    try:
        return session.client.plan()
    except (Forbidden, NotFound):
        return None


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
    from intertie.client import Terms

    answer = session.client.collect(force=force, plan=plan, terms=Terms(match=base))
    if session.screen.is_json:
        session.screen.document(answer.told)
        return
    found = answer.value
    for line in (*plan_lines(found.changes), *plan_lines(found.kept)):
        session.screen.mark(line)
    if not found.changes:
        session.screen.note("nothing to remove" if not found.kept else "nothing was removed")
    elif plan:
        words = ["intertie", "gc", *(["--force"] if force else []), "--base", found.base_version]
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

"""`intertie vpn …`"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Annotated

import typer

from intertie.cli import complete, events, lookup
from intertie.cli.attachments import attachments
from intertie.cli.body import Body, Json
from intertie.cli.client import Reply, segment
from intertie.cli.problem import Exit, Problem
from intertie.cli.session import Session, command
from intertie.cli.vpn_shown import show_plan, show_vpn, verified, vpn_list
from intertie.cli.wait import HOLD, Deadline, Verdict, Wish, until_gone, until_ready

app = typer.Typer(help="Networks joined across sites.", no_args_is_help=True)

VERIFY_SECONDS = 120.0


class Kind(StrEnum):
    L2 = "l2"
    L3 = "l3"


class Require(StrEnum):
    ALL = "all"
    ANY = "any"


NAME = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=complete.vpns)]
ATTACH = Annotated[
    list[str],
    typer.Option(
        "-a",
        "--attach",
        metavar="SITE[/CELL][:NETWORK]",
        help="A member; once for each.",
        autocompletion=complete.attachments,
    ),
]
WAIT = Annotated[
    float, typer.Option("--wait", metavar="S", min=0, help="Up to S seconds, until it is so; tells progress.")
]
PLAN = Annotated[bool, typer.Option("--plan", help="Show what would change at each member; change nothing.")]
BASE = Annotated[
    str, typer.Option("--base", metavar="VERSION", help="Only if it still does what the plan of that name says.")
]


@command(app, "list")
def list_(session: Session) -> None:
    """The Vpns that this site is a member of."""
    body = session.client.items("/v1/vpns")
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(vpn_list(body.parts("items")))


@command(app, "show")
def show(session: Session, name: NAME) -> None:
    """Members, their answers, what packets say, and why."""
    _shown(session, lookup.vpn(session.client, name).body)


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    kind: Annotated[Kind, typer.Option(help="l2 stretches one network; l3 routes between networks.")],
    attach: ATTACH,
    transport: Annotated[str, typer.Option(metavar="T", help="What carries it; else the first that all have.")] = "",
    require: Annotated[Require, typer.Option(help="Whether one refusal ends it.")] = Require.ALL,
    wait: WAIT = 0.0,
    plan: PLAN = False,
    base: BASE = "",
) -> None:
    """Join networks. For l2 the first attachment names the network that is stretched."""
    members = attachments(attach)
    wish: dict[str, Json] = {"name": name, "kind": kind.value, "attachments": members, "require": require.value}
    if transport:
        wish["transport"] = transport
    if plan:
        planned = session.client.call("POST", "/v1/vpns", wish, query={"plan": "true"}).body
        show_plan(session.screen, planned, _create_words(wish, attach))
        return
    match = {"If-Match": f'"{base}"'} if base else {}
    if not wait:
        _shown(session, session.client.call("POST", "/v1/vpns", wish, headers=match).body)
        return
    with session.screen.waiting(f"asking {_names(members)}") as progress:
        deadline = Deadline(wait)
        made = session.client.call("POST", "/v1/vpns", wish, headers=match, wait=min(wait, HOLD)).body
        target = Wish(frozenset(str(each["site"]) for each in members))
        reply, verdict = until_ready(session.client, made.text("id"), target, deadline, progress)
    if reply.body.text("phase") == "refused":
        # As when the agent itself waits: who hears the refusal has nothing left to clean up.
        with suppress(Problem):
            session.client.call("DELETE", _path(reply.body), headers={"If-Match": reply.etag or "*"})
    _settled(session, reply, verdict)


@command(app, "update")
def update(
    session: Session,
    name: NAME,
    attach: ATTACH,
    rename: Annotated[str, typer.Option("--name", metavar="NEW", help="A new name.")] = "",
    wait: WAIT = 0.0,
    plan: PLAN = False,
    base: BASE = "",
) -> None:
    """Give a Vpn exactly these members.

    -a for every one that stays or comes: who is not named leaves.
    """
    members = attachments(attach)
    found = lookup.vpn(session.client, name)
    body: Json = {"name": rename or found.body.text("name"), "attachments": members}
    match = {"If-Match": f'"{base}"' if base else found.etag}
    if plan:
        planned = session.client.call("PUT", _path(found.body), body, query={"plan": "true"}, headers=match)
        words = ["update", name, *_attached(attach), *(["--name", rename] if rename else [])]
        show_plan(session.screen, planned.body, words)
        return
    if not wait:
        _shown(session, session.client.call("PUT", _path(found.body), body, headers=match).body)
        return
    with session.screen.waiting(f"asking {_names(members)}") as progress:
        deadline = Deadline(wait)
        session.client.call("PUT", _path(found.body), body, headers=match, wait=_hold(session, found.body, wait))
        target = Wish(frozenset(str(each["site"]) for each in members), ".".join(found.body.texts("version")))
        reply, verdict = until_ready(session.client, found.body.text("id"), target, deadline, progress)
    _settled(session, reply, verdict)


@command(app, "delete")
def delete(
    session: Session,
    name: NAME,
    force: Annotated[
        bool, typer.Option("--force", help="Though ports are in use; they stay where they are.")
    ] = False,
    wait: WAIT = 0.0,
    plan: PLAN = False,
    base: BASE = "",
) -> None:
    """End a Vpn. It is gone when every member has let go."""
    found = lookup.vpn(session.client, name)
    query = {"force": "true"} if force else {}
    match = {"If-Match": f'"{base}"' if base else found.etag or "*"}
    if plan:
        planned = session.client.call("DELETE", _path(found.body), query={**query, "plan": "true"}, headers=match)
        show_plan(session.screen, planned.body, ["delete", name, *(["--force"] if force else [])])
        return
    if not wait:
        _ended(session, session.client.call("DELETE", _path(found.body), query=query, headers=match))
        return
    problem = None
    with session.screen.waiting(f"ending {found.body.text('name')}") as progress:
        deadline = Deadline(wait)
        hold = wait if _foreign(session, found.body) else 0.0
        reply = session.client.call("DELETE", _path(found.body), query=query, headers=match, wait=hold)
        if reply.status != 204:
            problem = until_gone(session.client, found.body.text("id"), deadline, progress)
    if problem is not None:
        raise problem
    session.screen.note(f"{found.body.text('name')} is gone")


@command(app, "plan")
def plan_(session: Session, name: NAME) -> None:
    """What this site's next round would do for a Vpn."""
    vpn = lookup.vpn(session.client, name).body
    told = session.client.get("/v1/plan").body
    # Segments are told by the Vpn's id, the networks that it makes by their names.
    marks = {vpn.text("id"), vpn.text("name"), *(each.text("network") for each in vpn.parts("members"))} - {""}
    changes: list[Json] = [
        each.told for each in told.parts("changes") if marks & set(f"{each.text('what')} {each.text('text')}".split())
    ]
    show_plan(session.screen, Body({"base_version": told.text("base_version"), "changes": changes}))


@command(app, "verify")
def verify(session: Session, name: NAME) -> None:
    """Send packets between all pairs now, full-size ones too. Exit 1 if one does not cross."""
    vpn = lookup.vpn(session.client, name).body
    with session.screen.waiting(f"sending packets between {_names(vpn.parts('members'))}"):
        body = session.client.call("POST", f"{_path(vpn)}/verify", patience=VERIFY_SECONDS).body
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(verified(body))
    if not body.flag("ok"):
        raise typer.Exit(Exit.FAILED)


@command(app, "withdraw")
def withdraw(session: Session, name: NAME) -> None:
    """Ask no more for changes that wait for the Vpn's home, another site."""
    vpn = lookup.vpn(session.client, name).body
    waiting = [each.text("proposal") for each in vpn.parts("proposals")]
    for each in waiting:
        session.client.call("DELETE", f"{_path(vpn)}/proposals/{segment(each)}")
    session.screen.note(f"withdrawn: {len(waiting)}" if waiting else f"no change of {name} waits for its home")


@command(app, "adopt")
def adopt(
    session: Session,
    name: NAME,
    force: Annotated[bool, typer.Option("--force", help="Though its home answers.")] = False,
) -> None:
    """Become the home of a Vpn whose home is lost for good."""
    vpn = lookup.vpn(session.client, name)
    query = {"force": "true"} if force else {}
    path = f"{_path(vpn.body)}/adopt"
    _shown(session, session.client.call("POST", path, query=query, headers={"If-Match": vpn.etag}).body)


@command(app, "events")
def events_(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this one.", autocompletion=complete.vpns)] = "",
    after: events.AFTER = "",
) -> None:
    """Follow what happens to Vpns, until Ctrl-C."""
    wanted = events.of_vpn(lookup.vpn(session.client, name).body.text("id")) if name else events.of_vpns
    events.follow(session, after, wanted)


def _path(vpn: Body) -> str:
    return f"/v1/vpns/{segment(vpn.text('id'))}"


def _attached(attach: list[str]) -> list[str]:
    return [word for each in attach for word in ("-a", each)]


def _create_words(wish: dict[str, Json], attach: list[str]) -> list[str]:
    """The command again, after `intertie vpn`."""
    more = ["--transport", str(wish["transport"])] if "transport" in wish else []
    more += ["--require", str(wish["require"])] if wish["require"] != Require.ALL.value else []
    return ["create", str(wish["name"]), "--kind", str(wish["kind"]), *_attached(attach), *more]


def _names(members: list[dict[str, Json]] | list[Body]) -> str:
    return ", ".join(str(each["site"]) if isinstance(each, dict) else each.text("site") for each in members)


def _foreign(session: Session, vpn: Body) -> bool:
    """Whether another site is the Vpn's home, so that this one can only ask it."""
    return vpn.text("owner") != session.client.get("/v1/site").body.text("name")


def _hold(session: Session, vpn: Body, wait: float) -> float:
    """How long the agent shall hold its answer. Another home's word is heard only while the agent holds it."""
    return wait if _foreign(session, vpn) else min(wait, HOLD)


def _shown(session: Session, vpn: Body) -> None:
    if session.screen.is_json:
        session.screen.json(vpn)
    else:
        show_vpn(session.screen, vpn)


def _settled(session: Session, reply: Reply, verdict: Verdict) -> None:
    """The Vpn as it is after the wait, unless it was refused; then what is wrong with it."""
    problem = verdict.problem
    if problem is None or problem.exit is not Exit.REFUSED:
        _shown(session, reply.body)
    if problem is not None:
        raise problem


def _ended(session: Session, reply: Reply) -> None:
    """After a deletion that nobody waits for."""
    if reply.status == 204:
        session.screen.note("gone")
        return
    if session.screen.is_json:
        session.screen.json(reply.body)
    waiting = reply.body.part("pending").text("waiting_for")
    session.screen.note(
        f"asked {waiting}, the home; it has not spoken yet"
        if waiting
        else "it goes once every member has let go: intertie vpn list"
    )

"""`intertie vpn …`"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from intertie.cli import complete, events
from intertie.cli.problem import Exit, exit_of
from intertie.cli.session import Session, command
from intertie.cli.vpn_shown import show_plan, show_vpn, verified, vpn_list, waiting_for

if TYPE_CHECKING:
    from intertie.client import Answer, Attachment, Settled, VpnRequest
    from intertie.model.views import MemberView, PlanView, SitePlan, VpnView

app = typer.Typer(help="Networks joined across sites.", no_args_is_help=True)


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
    found = session.client.vpns.list().all()
    if session.screen.is_json:
        session.screen.document(found.told)
    else:
        session.screen.table(vpn_list(found.value))


@command(app, "show")
def show(session: Session, name: NAME) -> None:
    """Members, their answers, what packets say, and why."""
    _shown(session, session.client.vpns.find(name))


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
    from intertie import client

    wish = client.VpnRequest(
        name=name,
        kind=client.VpnKind(kind.value),
        attachments=client.attachments(attach),
        transport=transport,
        require=client.Require(require.value),
    )
    terms = client.Terms(wait=wait, match=base)
    if plan:
        show_plan(session.screen, session.client.vpns.plan_create(wish), _create_words(wish, attach))
    elif not wait:
        _shown(session, session.client.vpns.create(wish, terms))
    else:
        with session.screen.waiting(f"asking {_names(wish.attachments)}") as progress:
            settled = client.created(session.client, wish, terms, progress.say)
        _settled(session, settled)


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
    from intertie import client

    members = client.attachments(attach)
    vpns = session.client.vpns
    seen = vpns.find(name)
    terms = client.Terms(wait=wait, match=base)
    if plan:
        words = ["update", name, *_attached(attach), *(["--name", rename] if rename else [])]
        show_plan(session.screen, vpns.plan_update(seen, members, name=rename, terms=terms), words)
    elif not wait:
        _shown(session, vpns.update(seen, members, name=rename, terms=terms))
    else:
        with session.screen.waiting(f"asking {_names(members)}") as progress:
            settled = client.updated(session.client, seen, members, rename, terms, progress.say)
        _settled(session, settled)


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
    from intertie import client

    vpns = session.client.vpns
    seen = vpns.find(name)
    terms = client.Terms(wait=wait, match=base)
    if plan:
        words = ["delete", name, *(["--force"] if force else [])]
        show_plan(session.screen, vpns.plan_delete(seen, force=force, terms=terms), words)
    elif not wait:
        _ended(session, vpns.delete(seen, force=force, terms=terms))
    else:
        with session.screen.waiting(f"ending {seen.value.name}") as progress:
            client.deleted(session.client, seen, force, terms, progress.say)
        session.screen.note(f"{seen.value.name} is gone")


@command(app, "plan")
def plan_(session: Session, name: NAME) -> None:
    """What this site's next round would do for a Vpn."""
    vpn = session.client.vpns.find(name).value
    round = session.client.plan()
    # Segments are told by the Vpn's id, the networks that it makes by their names.
    marks = {vpn.id, vpn.name, *(each.network for each in vpn.members)} - {""}
    show_plan(session.screen, _only(round, marks))


def _only(round: Answer[SitePlan], marks: set[str]) -> Answer[PlanView]:
    """Of a round, the changes that have one of these words in them."""
    from intertie.client import Answer
    from intertie.model.views import PlanView

    base = round.value.base_version
    changes = tuple(each for each in round.value.changes if marks & set(f"{each.what} {each.text}".split()))
    found = PlanView(base_version=base, changes=changes)
    return Answer(found, {"base_version": base, "changes": [asdict(each) for each in changes]})


@command(app, "verify")
def verify(session: Session, name: NAME) -> None:
    """Send packets between all pairs now, full-size ones too. Exit 1 if one does not cross."""
    vpn = session.client.vpns.find(name).value
    with session.screen.waiting(f"sending packets between {_names(vpn.members)}"):
        found = session.client.vpns.verify(vpn.id)
    if session.screen.is_json:
        session.screen.document(found.told)
    else:
        session.screen.table(verified(found.value))
    if not found.value.ok:
        raise typer.Exit(Exit.FAILED)


@command(app, "withdraw")
def withdraw(session: Session, name: NAME) -> None:
    """Ask no more for changes that wait for the Vpn's home, another site."""
    vpn = session.client.vpns.find(name).value
    for each in vpn.proposals:
        session.client.vpns.withdraw(vpn.id, each.proposal)
    waiting = len(vpn.proposals)
    session.screen.note(f"withdrawn: {waiting}" if waiting else f"no change of {name} waits for its home")


@command(app, "adopt")
def adopt(
    session: Session,
    name: NAME,
    force: Annotated[bool, typer.Option("--force", help="Though its home answers.")] = False,
) -> None:
    """Become the home of a Vpn whose home is lost for good."""
    vpns = session.client.vpns
    _shown(session, vpns.adopt(vpns.find(name), force=force))


@command(app, "events")
def events_(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Only this one.", autocompletion=complete.vpns)] = "",
    after: events.AFTER = "",
) -> None:
    """Follow what happens to Vpns, until Ctrl-C."""
    wanted = events.of_vpn(session.client.vpns.find(name).value.id) if name else events.of_vpns
    events.follow(session, after, wanted)


def _attached(attach: list[str]) -> list[str]:
    return [word for each in attach for word in ("-a", each)]


def _create_words(wish: VpnRequest, attach: list[str]) -> list[str]:
    """The command again, after `intertie vpn`."""
    more = ["--transport", wish.transport] if wish.transport else []
    more += ["--require", wish.require.value] if wish.require.value != Require.ALL.value else []
    return ["create", wish.name, "--kind", wish.kind.value, *_attached(attach), *more]


def _names(members: Iterable[Attachment | MemberView]) -> str:
    return ", ".join(each.site for each in members)


def _shown(session: Session, vpn: Answer[VpnView]) -> None:
    if session.screen.is_json:
        session.screen.document(vpn.told)
    else:
        show_vpn(session.screen, vpn.value)


def _settled(session: Session, settled: Settled) -> None:
    """The Vpn as it is after the wait, unless it was refused; then what is wrong with it."""
    if settled.problem is None or exit_of(settled.problem) is not Exit.REFUSED:
        _shown(session, settled.seen)
    settled.checked()


def _ended(session: Session, answer: Answer[VpnView | None]) -> None:
    """After a deletion that nobody waits for."""
    if answer.value is None:
        session.screen.note("gone")
        return
    if session.screen.is_json:
        session.screen.document(answer.told)
    home = waiting_for(answer.value)
    session.screen.note(
        f"asked {home}, the home; it has not spoken yet"
        if home
        else "it goes once every member has let go: intertie vpn list"
    )

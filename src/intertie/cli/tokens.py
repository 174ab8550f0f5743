"""`intertie token …`: who may call this site's API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from intertie.cli.session import Session, command
from intertie.cli.shown import moment
from intertie.cli.table import Table, columns

app = typer.Typer(help="Tokens for this site's API.", no_args_is_help=True)

TOKENS = columns("ID", "PROJECT", "ROLE", "CREATED")


class Role(StrEnum):
    READER = "reader"
    MEMBER = "member"
    ADMIN = "admin"


@command(app, "create")
def create(session: Session, role: Annotated[Role, typer.Option(help="What it may.")] = Role.MEMBER) -> None:
    """Make a token for the project of --project; its text is shown once."""
    made = session.client.tokens.create(session.project, role.value)
    if session.screen.is_json:
        session.screen.document(made.told)
        return
    session.screen.line(made.value.token)
    session.screen.note(f"{role.value} of {made.value.project}, id {made.value.id}; it is not shown again")


@command(app, "list")
def list_(session: Session) -> None:
    """Tokens, without their secrets."""
    found = session.client.tokens.list().all()
    if session.screen.is_json:
        session.screen.document(found.told)
        return
    rows = [(each.id, each.project, each.role, moment(each.created_at)) for each in found.value]
    session.screen.table(Table(TOKENS, rows, "no tokens; make one: intertie token create --project P"))


@command(app, "revoke")
def revoke(session: Session, id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Refuse a token from the next request on."""
    session.client.tokens.revoke(id)
    session.screen.note(f"{id} is revoked")

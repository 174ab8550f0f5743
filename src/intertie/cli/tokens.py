"""`intertie token …`: who may call this site's API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from intertie.cli.body import Json
from intertie.cli.client import segment
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
    wish: Json = {"project": session.project, "role": role.value}
    body = session.client.call("POST", "/v1/tokens", wish).body
    if session.screen.is_json:
        session.screen.json(body)
        return
    session.screen.line(body.text("token"))
    session.screen.note(f"{role.value} of {body.text('project')}, id {body.text('id')}; it is not shown again")


@command(app, "list")
def list_(session: Session) -> None:
    """Tokens, without their secrets."""
    body = session.client.items("/v1/tokens")
    if session.screen.is_json:
        session.screen.json(body)
        return
    rows = [
        (each.text("id"), each.text("project"), each.text("role"), moment(each.text("created_at")))
        for each in body.parts("items")
    ]
    session.screen.table(Table(TOKENS, rows, "no tokens; make one: intertie token create --project P"))


@command(app, "revoke")
def revoke(session: Session, id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Refuse a token from the next request on."""
    session.client.call("DELETE", f"/v1/tokens/{segment(id)}")
    session.screen.note(f"{id} is revoked")

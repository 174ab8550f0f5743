"""`intertie network …` and `intertie host …`: this site's own networks, and the machines on them."""

from __future__ import annotations

from typing import Annotated

import typer

from intertie.cli import complete, lookup
from intertie.cli.body import Body, Json
from intertie.cli.client import segment
from intertie.cli.session import Session, command
from intertie.cli.shown import number, yes
from intertie.cli.table import Table, columns

app = typer.Typer(help="Networks of this site.", no_args_is_help=True)
host_app = typer.Typer(help="Hosts of this site.", no_args_is_help=True)

NETWORK = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=complete.networks)]
HOST = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=complete.hosts)]
NETWORKS = columns("NAME", "PREFIXES", ">MTU", ">IN USE", "PROJECT", "ATTACHABLE", "REASON…")
HOSTS = columns("NAME", "NETWORK", "ADDRESSES", ">MTU")


@command(app, "list")
def list_(session: Session) -> None:
    """Networks, and whether they may be attached to a Vpn."""
    body = session.client.items("/v1/networks")
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(_networks(body.parts("items")))


def _networks(items: list[Body]) -> Table:
    rows = [
        (
            each.text("name"),
            ",".join(each.texts("prefixes")),
            number(each.count("mtu")),
            str(len(each.texts("addresses_in_use"))),
            each.text("project"),
            yes(each.flag("attachable")),
            each.text("reason"),
        )
        for each in items
    ]
    return Table(NETWORKS, rows, "no networks; make one: intertie network create NAME PREFIX")


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    prefix: Annotated[str, typer.Argument(metavar="PREFIX[,PREFIX6]", help="Like 10.20.0.0/24,2001:db8:20::/64.")],
    bridge: Annotated[str, typer.Option(metavar="BR", help="Use this bridge, which exists already.")] = "",
    mtu: Annotated[
        int | None, typer.Option(metavar="N", help="Octets; else the most that all transports carry.")
    ] = None,
) -> None:
    """Make a network."""
    wish: dict[str, Json] = {"name": name, "prefix": prefix}
    if bridge:
        wish["bridge"] = bridge
    if mtu is not None:
        wish["mtu"] = mtu
    body = session.client.call("POST", "/v1/networks", wish).body
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(_networks([body]))


@command(app, "delete")
def delete(session: Session, name: NETWORK) -> None:
    """Delete a network that nobody uses."""
    found = lookup.item(session.client, "/v1/networks", "network", name)
    session.client.call("DELETE", f"/v1/networks/{segment(found.text('id'))}")
    session.screen.note(f"{found.text('name')} is gone")


@command(host_app, "list")
def host_list(session: Session) -> None:
    """Hosts and their addresses."""
    body = session.client.items("/v1/hosts")
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(_hosts(body.parts("items")))


def _hosts(items: list[Body]) -> Table:
    rows = [
        (
            each.text("name"),
            each.text("network"),
            ",".join(each.texts("addresses")) or each.text("address"),
            number(each.count("mtu")),
        )
        for each in items
    ]
    return Table(HOSTS, rows, "no hosts; make one: intertie host create NAME --network N")


@command(host_app, "create")
def host_create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    network: Annotated[str, typer.Option(metavar="N", help="Name or id.", autocompletion=complete.networks)],
    address: Annotated[list[str] | None, typer.Option(metavar="A", help="Else the next free one.")] = None,
) -> None:
    """Make a host on a network."""
    wish: dict[str, Json] = {"name": name, "network": network}
    if address:
        wish["addresses"] = address
    body = session.client.call("POST", "/v1/hosts", wish).body
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(_hosts([body]))


@command(host_app, "delete")
def host_delete(session: Session, name: HOST) -> None:
    """Delete a host."""
    found = lookup.item(session.client, "/v1/hosts", "host", name)
    session.client.call("DELETE", f"/v1/hosts/{segment(found.text('id') or found.text('name'))}")
    session.screen.note(f"{found.text('name')} is gone")

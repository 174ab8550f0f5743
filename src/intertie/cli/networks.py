"""`intertie network …` and `intertie host …`: this site's own networks, and the machines on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from intertie.cli import complete
from intertie.cli.session import Session, command
from intertie.cli.shown import number, yes
from intertie.cli.table import Table, columns

if TYPE_CHECKING:
    from intertie.model.views import HostView, NetworkView

app = typer.Typer(help="Networks of this site.", no_args_is_help=True)
host_app = typer.Typer(help="Hosts of this site.", no_args_is_help=True)

NETWORK = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=complete.networks)]
HOST = Annotated[str, typer.Argument(metavar="NAME", help="Name or id.", autocompletion=complete.hosts)]
NETWORKS = columns("NAME", "PREFIXES", ">MTU", ">IN USE", "PROJECT", "ATTACHABLE", "REASON…")
HOSTS = columns("NAME", "NETWORK", "ADDRESSES", ">MTU")


@command(app, "list")
def list_(session: Session) -> None:
    """Networks, and whether they may be attached to a Vpn."""
    found = session.client.networks.list().all()
    if session.screen.is_json:
        session.screen.document(found.told)
    else:
        session.screen.table(_networks(found.value))


def _networks(items: Sequence[NetworkView]) -> Table:
    rows = [
        (
            each.name,
            ",".join(map(str, each.prefixes)),
            number(each.mtu),
            str(len(each.addresses_in_use)),
            each.project,
            yes(each.attachable),
            each.reason,
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
    made = session.client.networks.create(name, prefix, bridge=bridge, mtu=mtu)
    if session.screen.is_json:
        session.screen.document(made.told)
    else:
        session.screen.table(_networks([made.value]))


@command(app, "delete")
def delete(session: Session, name: NETWORK) -> None:
    """Delete a network that nobody uses."""
    found = session.client.networks.find(name)
    session.client.networks.delete(found.id)
    session.screen.note(f"{found.name} is gone")


@command(host_app, "list")
def host_list(session: Session) -> None:
    """Hosts and their addresses."""
    found = session.client.hosts.list().all()
    if session.screen.is_json:
        session.screen.document(found.told)
    else:
        session.screen.table(_hosts(found.value))


def _hosts(items: Sequence[HostView]) -> Table:
    rows = [(each.name, each.network, ",".join(map(str, each.addresses)), number(each.mtu)) for each in items]
    return Table(HOSTS, rows, "no hosts; make one: intertie host create NAME --network N")


@command(host_app, "create")
def host_create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    network: Annotated[str, typer.Option(metavar="N", help="Name or id.", autocompletion=complete.networks)],
    address: Annotated[list[str] | None, typer.Option(metavar="A", help="Else the next free one.")] = None,
) -> None:
    """Make a host on a network."""
    made = session.client.hosts.create(name, network, address or ())
    if session.screen.is_json:
        session.screen.document(made.told)
    else:
        session.screen.table(_hosts([made.value]))


@command(host_app, "delete")
def host_delete(session: Session, name: HOST) -> None:
    """Delete a host."""
    found = session.client.hosts.find(name)
    session.client.hosts.delete(found.id)
    session.screen.note(f"{found.name} is gone")

"""`intertie site …`: how sites come to know each other, and what they allow each other."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from intertie.cli import complete
from intertie.cli.body import Body, Json
from intertie.cli.client import segment
from intertie.cli.problem import usage
from intertie.cli.screen import Screen
from intertie.cli.session import Session, command
from intertie.cli.shown import age, milliseconds, moment, yes
from intertie.cli.table import Table, columns

app = typer.Typer(help="Sites: invite, join, approve, map projects, forget.", no_args_is_help=True)

PEER = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.peers)]
PEERS = columns("NAME", "STATE", "ADDRESS", ">RTT", "LAST SEEN", "NOTE…")
MAPPINGS = columns("PEER", "THEIRS", "OURS", "MAY")
TRANSPORTS = columns("TRANSPORT", "OK", "L2", "L3", "ENCRYPTED", ">OVERHEAD", "REASON…")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@command(app, "list")
def list_(session: Session) -> None:
    """The peers of this site."""
    body = session.client.items("/v1/peers")
    if session.screen.is_json:
        session.screen.json(body)
    else:
        session.screen.table(peers(body.parts("items")))


def peers(items: list[Body]) -> Table:
    rows = [
        (
            each.text("name"),
            each.text("state"),
            each.text("address"),
            milliseconds(each.number("rtt_ms")),
            age(each.text("last_seen")),
            _note(each),
        )
        for each in items
    ]
    return Table(PEERS, rows, "no peers; make an invitation: intertie site invite NAME")


def _note(peer: Body) -> str:
    by = peer.text("introduced_by")
    if at := peer.texts("cloned_at"):
        return f"{', '.join(at)}: two agents write as this site; end one of them"
    return f"introduced by {by}; intertie site approve {peer.text('name')}" if by else peer.text("problem")


@command(app, "show")
def show(session: Session, name: PEER) -> None:
    """This site or a peer: state, address, key, and what it can carry."""
    body = session.client.get("/v1/site").body
    if body.text("name") != name:
        body = session.client.get(f"/v1/peers/{segment(name)}").body
    if session.screen.is_json:
        session.screen.json(body)
        return
    show_site(session.screen, body)


def show_site(screen: Screen, site: Body) -> None:
    """Name and state, the facts, the transports with what each lacks."""
    screen.styled(f"{site.text('name')}  ", site.text("state") or "this site")
    at = site.part("location")
    facts = [
        ("address", site.text("address")),
        ("location", f"{at.text('lat')},{at.text('lon')}" if at.text("lat") else ""),
        ("cell", f"{site.text('cloud')}/{site.text('cell')}" if site.text("cell") else ""),
        ("version", site.text("version")),
        ("incarnation", site.text("incarnation")),
        ("key", site.text("root_fingerprint") or site.text("fingerprint")),
        ("seen", age(site.text("last_seen"))),
        ("rtt", milliseconds(site.number("rtt_ms"))),
        ("note", _note(site)),
    ]
    for name, value in facts:
        if value:
            screen.line(f"  {name:<11} {value}")
    transports = [
        (
            name,
            *(yes(each.flag(field)) for field in ("ok", "l2", "l3", "encrypted")),
            each.text("overhead"),
            each.text("reason"),
        )
        for name, each in site.named("transports") or [(each.text("name"), each) for each in site.parts("transports")]
    ]
    if transports:
        screen.line()
        screen.table(Table(TRANSPORTS, transports))


@command(app, "invite")
def invite(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the site that shall join is called.")],
    expires: Annotated[str, typer.Option(metavar="TIME", help="Like 30m or 24h, the most.")] = "24h",
) -> None:
    """Make an invitation for a site; its token goes to that site's operator, once."""
    wish: Json = {"name": name, "expires_in": seconds(expires)}
    body = session.client.call("POST", "/v1/invitations", wish).body
    if session.screen.is_json:
        session.screen.json(body)
        return
    session.screen.line(body.text("token"))
    session.screen.note(f"until {moment(body.text('expires_at'))}; at {name}: intertie site join TOKEN")


def seconds(text: str) -> int:
    """`90`, `90s`, `30m`, `24h`, `1d` as seconds. Problem `usage` otherwise."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    if found is None:
        raise usage(f"{text!r} is no time", "a number and s, m, h or d: 30m")
    return int(found[1]) * UNITS[found[2] or "s"]


@command(app, "join")
def join(
    session: Session,
    invitation: Annotated[str, typer.Argument(metavar="TOKEN", help="An invitation; - reads it from stdin.")],
) -> None:
    """Join the site that made the invitation."""
    secret = sys.stdin.readline().strip() if invitation == "-" else invitation
    body = session.client.call("POST", "/v1/peers", {"token": secret}).body
    if session.screen.is_json:
        session.screen.json(body)
        return
    session.screen.note(f"joined {body.text('name')}; its projects may do nothing here yet: intertie site map")


@command(app, "approve")
def approve(session: Session, name: PEER) -> None:
    """Trust a site that a peer introduced."""
    body = session.client.call("POST", f"/v1/peers/{segment(name)}/approve").body
    if session.screen.is_json:
        session.screen.json(body)
        return
    session.screen.note(f"{name} is a peer now")


@command(app, "map")
def map_(
    session: Session,
    peer: Annotated[str, typer.Argument(metavar="PEER", autocompletion=complete.peers)],
    theirs: Annotated[str, typer.Argument(metavar="THEIRS", help="A project of the peer's.")],
    ours: Annotated[str, typer.Argument(metavar="OURS", help="The project that it stands for here.")],
    may: Annotated[
        str, typer.Option(metavar="WHAT", help="Of l2,l3,read,reserve; none takes it back.")
    ] = "l2,l3,read",
) -> None:
    """Let a peer's project act as one of ours, for these things."""
    wish: Json = {"theirs": theirs, "ours": ours, "may": [] if may == "none" else [m for m in may.split(",") if m]}
    body = session.client.call("POST", f"/v1/peers/{segment(peer)}/mappings", wish).body
    if session.screen.is_json:
        session.screen.json(body)
        return
    can = ", ".join(body.texts("may"))
    session.screen.note(f"{theirs} of {peer} is {ours} here; it may {can or 'do nothing'}")


@command(app, "mappings")
def mappings(
    session: Session,
    peer: Annotated[str, typer.Argument(metavar="[PEER]", autocompletion=complete.peers)] = "",
) -> None:
    """Which projects of peers stand for which of ours."""
    body = session.client.items(f"/v1/peers/{segment(peer)}/mappings" if peer else "/v1/mappings")
    if session.screen.is_json:
        session.screen.json(body)
        return
    rows = [
        (each.text("peer"), each.text("theirs"), each.text("ours"), ",".join(each.texts("may")))
        for each in body.parts("items")
    ]
    session.screen.table(Table(MAPPINGS, rows, "no mappings; intertie site map PEER THEIRS OURS"))


@command(app, "forget")
def forget(session: Session, name: PEER) -> None:
    """From now on take nothing from a site, and cut its connections."""
    session.client.call("DELETE", f"/v1/peers/{segment(name)}")
    session.screen.note(f"{name} is forgotten")


@command(app, "leave")
def leave(session: Session) -> None:
    """Leave the federation. Refused while Vpns bind this site to others."""
    session.client.call("POST", "/v1/site/leave")
    session.screen.note("left: this site stands alone")

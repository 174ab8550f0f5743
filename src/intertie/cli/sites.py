"""`intertie site …`: how sites come to know each other, and what they allow each other."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from intertie.cli import complete
from intertie.cli.problem import usage
from intertie.cli.screen import Screen
from intertie.cli.session import Session, command
from intertie.cli.shown import age, milliseconds, moment, yes
from intertie.cli.table import Table, columns

if TYPE_CHECKING:
    from intertie.model.bodies import Location, TransportFacts
    from intertie.model.views import PeerView, SiteView

app = typer.Typer(help="Sites: invite, join, approve, map projects, forget.", no_args_is_help=True)

PEER = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.peers)]
PEERS = columns("NAME", "STATE", "ADDRESS", ">RTT", "LAST SEEN", "NOTE…")
MAPPINGS = columns("PEER", "THEIRS", "OURS", "MAY")
TRANSPORTS = columns("TRANSPORT", "OK", "L2", "L3", "ENCRYPTED", ">OVERHEAD", "REASON…")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@command(app, "list")
def list_(session: Session) -> None:
    """The peers of this site."""
    found = session.client.peers.list().all()
    if session.screen.is_json:
        session.screen.document(found.told)
    else:
        session.screen.table(peers(found.value))


def peers(items: Sequence[PeerView]) -> Table:
    rows = [
        (each.name, each.state, each.address, milliseconds(each.rtt_ms), age(each.last_seen), _note(each))
        for each in items
    ]
    return Table(PEERS, rows, "no peers; make an invitation: intertie site invite NAME")


def _note(peer: PeerView) -> str:
    by = peer.introduced_by
    return f"introduced by {by}; intertie site approve {peer.name}" if by else peer.problem


@command(app, "show")
def show(session: Session, name: PEER) -> None:
    """This site or a peer: state, address, key, and what it can carry."""
    here = session.client.site()
    if here.value.name == name:
        if session.screen.is_json:
            session.screen.document(here.told)
        else:
            _show_own(session.screen, here.value)
        return
    peer = session.client.peers.get(name)
    if session.screen.is_json:
        session.screen.document(peer.told)
    else:
        _show_peer(session.screen, peer.value)


def _show_own(screen: Screen, site: SiteView) -> None:
    clones = f"{', '.join(site.cloned_at)}: two agents write as this site; end one of them" if site.cloned_at else ""
    screen.styled(f"{site.name}  ", "this site")
    _facts(
        screen,
        ("address", site.address),
        ("location", _location(site.location)),
        ("cell", _cell(site)),
        ("version", site.version),
        ("incarnation", str(site.incarnation)),
        ("key", site.root_fingerprint),
        ("note", clones),
    )
    _transports(screen, site.transports.items())


def _show_peer(screen: Screen, peer: PeerView) -> None:
    screen.styled(f"{peer.name}  ", peer.state)
    _facts(
        screen,
        ("address", peer.address),
        ("location", _location(peer.location)),
        ("cell", _cell(peer)),
        ("key", peer.fingerprint),
        ("seen", age(peer.last_seen)),
        ("rtt", milliseconds(peer.rtt_ms)),
        ("note", _note(peer)),
    )
    _transports(screen, [(each.name, each) for each in peer.transports])


def _facts(screen: Screen, *facts: tuple[str, str]) -> None:
    """What is known, a line each."""
    for name, value in facts:
        if value:
            screen.line(f"  {name:<11} {value}")


def _location(at: Location | None) -> str:
    return f"{at.lat},{at.lon}" if at is not None else ""


def _cell(site: SiteView | PeerView) -> str:
    return f"{site.cloud}/{site.cell}" if site.cell else ""


def _transports(screen: Screen, found: Iterable[tuple[str, TransportFacts]]) -> None:
    """What it can carry, and what each lacks."""
    rows = [(name, yes(t.ok), yes(t.l2), yes(t.l3), yes(t.encrypted), str(t.overhead), t.reason) for name, t in found]
    if rows:
        screen.line()
        screen.table(Table(TRANSPORTS, rows))


@command(app, "invite")
def invite(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the site that shall join is called.")],
    expires: Annotated[str, typer.Option(metavar="TIME", help="Like 30m or 24h, the most.")] = "24h",
) -> None:
    """Make an invitation for a site; its token goes to that site's operator, once."""
    made = session.client.invite(name, seconds(expires))
    if session.screen.is_json:
        session.screen.document(made.told)
        return
    session.screen.line(made.value.token)
    session.screen.note(f"until {moment(made.value.expires_at)}; at {name}: intertie site join TOKEN")


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
    joined = session.client.peers.join(secret)
    if session.screen.is_json:
        session.screen.document(joined.told)
        return
    session.screen.note(f"joined {joined.value.name}; its projects may do nothing here yet: intertie site map")


@command(app, "approve")
def approve(session: Session, name: PEER) -> None:
    """Trust a site that a peer introduced."""
    approved = session.client.peers.approve(name)
    if session.screen.is_json:
        session.screen.document(approved.told)
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
    things = [] if may == "none" else [m for m in may.split(",") if m]
    mapped = session.client.peers.map(peer, theirs, ours, things)
    if session.screen.is_json:
        session.screen.document(mapped.told)
        return
    can = ", ".join(mapped.value.may)
    session.screen.note(f"{theirs} of {peer} is {ours} here; it may {can or 'do nothing'}")


@command(app, "mappings")
def mappings(
    session: Session,
    peer: Annotated[str, typer.Argument(metavar="[PEER]", autocompletion=complete.peers)] = "",
) -> None:
    """Which projects of peers stand for which of ours."""
    found = session.client.peers.mappings(peer).all()
    if session.screen.is_json:
        session.screen.document(found.told)
        return
    rows = [(each.peer, each.theirs, each.ours, ",".join(each.may)) for each in found.value]
    session.screen.table(Table(MAPPINGS, rows, "no mappings; intertie site map PEER THEIRS OURS"))


@command(app, "forget")
def forget(session: Session, name: PEER) -> None:
    """From now on take nothing from a site, and cut its connections."""
    session.client.peers.forget(name)
    session.screen.note(f"{name} is forgotten")


@command(app, "leave")
def leave(session: Session) -> None:
    """Leave the federation. Refused while Vpns bind this site to others."""
    session.client.leave()
    session.screen.note("left: this site stands alone")

"""`intertie backup` and `intertie restore`: a site in one file. They work on its directory, and call no agent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Protocol, cast

import typer

from intertie.cli.session import LOCAL, Session, command
from intertie.cli.start import call

SAVE = "intertie.backup:save"
RESTORE = "intertie.backup:restore"
REPLACE = "intertie.backup:replace"

app = typer.Typer()


class Saved(Protocol):
    """What the functions named above tell."""

    site: str
    version: str
    incarnation: int
    seq: int
    peers: tuple[str, ...]


@command(app, "backup", shared=LOCAL)
def backup(session: Session, file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")]) -> None:
    """Save this site: keys, settings and store. Its agent may go on meanwhile.

    Whoever has the file can be this site: keep it as you keep the key.
    """
    found = cast(Saved, call(SAVE, session.dir, file))
    if _json(session, found, file):
        return
    session.screen.note(f"site {found.site} is in {file}, as of place {found.incarnation}.{found.seq} of its records")


@command(app, "restore", shared=LOCAL)
def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of intertie backup.")],
    replace: Annotated[bool, typer.Option("--replace", help="In place of the store that is there.")] = False,
) -> None:
    """Make a site's directory from a backup. Nothing runs yet.

    Never while another copy of the site runs, here or elsewhere.
    """
    found = cast(Saved, call(REPLACE if replace else RESTORE, file, session.dir))
    if _json(session, found, file):
        return
    peers = ", ".join(found.peers) or "its peers"
    session.screen.note(f"site {found.site} is in {session.dir}, as it was at {found.incarnation}.{found.seq}")
    session.screen.note(
        f"when its agent starts, its incarnation rises and it takes back from {peers} what they hold of its records; "
        "until all have told, it gives out no number, address or Vpn. What forwards goes on."
    )
    session.screen.note(
        "networks, hosts, mappings and tokens are this site's own, and as they were then: what was made since runs "
        "on and is shown by intertie status; revoke again what was revoked since"
    )


def _json(session: Session, found: Saved, file: Path) -> bool:
    if session.screen.is_json:
        session.screen.document(
            {
                "site": found.site,
                "file": str(file),
                "dir": str(session.dir),
                "version": found.version,
                "incarnation": found.incarnation,
                "seq": found.seq,
                "peers": list(found.peers),
            }
        )
    return session.screen.is_json

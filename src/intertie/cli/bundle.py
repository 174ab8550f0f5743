"""`intertie bundle`: what an operator hands to whoever helps, as one file."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Annotated

import typer

from intertie.cli.body import Body
from intertie.cli.problem import Problem
from intertie.cli.session import Session, command

app = typer.Typer()

SHARED = ("url", "token", "dir", "project")
"""Not the form of the output: here -o names the file."""
OUT = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FILE", help="Where to. [intertie-SITE-TIME.tar.gz, here]")
]


@command(app, "bundle", shared=SHARED)
def bundle(session: Session, out: OUT = None) -> None:
    """A file for whoever helps: this site, without its secrets.

    Settings, records, events, metrics, the last lines of the log; no keys, tokens, invitations or passwords.
    """
    found = session.client.get("/v1/bundle").body
    made_at = "".join(c for c in found.text("made_at")[:19] if c.isdigit())
    name = f"intertie-{found.text('site')}-{made_at}"
    path = out or Path(f"{name}.tar.gz")
    try:
        # Names and addresses are in it: for the eyes of who asked for it; and nothing that is there is lost.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_packed(name, found))
    except FileExistsError:
        raise Problem("name-taken", f"{path} is there already", "choose another file: -o FILE") from None
    except OSError as error:
        raise Problem("failed", f"{path}: {error.strerror}") from error
    session.screen.note(f"{path}: read it before you send it, names and addresses are in it")


def _packed(name: str, found: Body) -> bytes:
    """The files of the bundle as a tar, gzipped; all below one folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file, text in found.named_texts("files"):
            content = text.encode()
            entry = tarfile.TarInfo(f"{name}/{Path(file).name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()

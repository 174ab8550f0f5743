"""`intertie bundle`: what an operator hands to whoever helps, as one file."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from intertie.cli.session import Session, command
from intertie.model.errors import Conflict, Refused

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
    found = session.client.bundle().value
    name = f"intertie-{found.site}-{found.made_at:%Y%m%d%H%M%S}"
    path = out or Path(f"{name}.tar.gz")
    try:
        # Names and addresses are in it: for the eyes of who asked for it; and nothing that is there is lost.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(_packed(name, found.files))
    except FileExistsError:
        raise Conflict(f"{path} is there already", code="name-taken", hint="choose another file: -o FILE") from None
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}", code="failed") from error
    session.screen.note(f"{path}: read it before you send it, names and addresses are in it")


def _packed(name: str, files: Mapping[str, str]) -> bytes:
    """The files of the bundle as a tar, gzipped; all below one folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for file, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(f"{name}/{Path(file).name}")
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()

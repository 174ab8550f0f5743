"""A site in one file, and a site from one: `intertie backup`, `intertie restore`.

The file is a tar archive (gzip), mode 0600: whoever has it can be the site.

    about.json        format, version, site, fingerprint, made_at, schema, incarnation, seq
    site.toml         settings
    keys/root.pem     the root key
    keys/pins.json    whom the site trusts, for a store that was lost
    intertie.db       the store at one moment

Not in it: the marker, which beside an old copy of the store tells that it is old (`store.marker`); the socket; the
certificate of the user API, which site.toml names and which is not the agent's.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from intertie import __version__
from intertie.federation import keys
from intertie.model.errors import Conflict, NotFound, Refused
from intertie.site_file import read_site
from intertie.store.copy import Seen, copy_store, leave_behind, look_at, nobody_has

FORMAT = 1
ABOUT, SETTINGS, KEY, PINS, STORE = "about.json", "site.toml", "keys/root.pem", "keys/pins.json", "intertie.db"
FILES = (SETTINGS, KEY, PINS, STORE)
OPTIONAL = (PINS,)
LONGEST = 64 * 1024 * 1024 * 1024
SMALL = 4 * 1024 * 1024
"""Octets of a member at most; all but the store are small."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What a file holds."""

    site: str
    fingerprint: str
    version: str
    made_at: datetime
    incarnation: int
    seq: int
    peers: tuple[str, ...] = ()


def save(dir: Path, file: Path) -> Backup:
    """Write the site of `dir` to the new file, whole or not at all; its agent may go on meanwhile. Conflict if the
    file exists, NotFound if there is nothing to save."""
    site = read_site(dir)
    if site.store:
        raise Refused(
            f"the store of {site.name} is in PostgreSQL",
            hint=f"pg_dump saves it; copy {dir}/site.toml and keys/ beside what it wrote",
        )
    key = keys.load(dir)
    if not (dir / STORE).exists():
        raise NotFound(f"no store at {dir / STORE}", hint="start the agent once")
    if file.exists():
        raise Conflict(f"{file} exists", code="name-taken", hint="choose another name: backups are not overwritten")
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=file.absolute().parent) as scratch:
        folder = Path(scratch)
        copy_store(dir / STORE, folder / STORE)
        seen = look_at(folder / STORE)
        found = Backup(
            site=site.name,
            fingerprint=key.root.fingerprint,
            version=__version__,
            made_at=datetime.now(UTC).replace(microsecond=0),
            incarnation=seen.last.incarnation,
            seq=seen.last.seq,
            peers=_peers(dir / PINS),
        )
        _pack(dir, folder, found, seen)
        try:
            os.link(folder / "archive", file)  # unlike a rename, never over a file that came meanwhile
        except FileExistsError:
            raise Conflict(f"{file} exists", code="name-taken") from None
        _sync(file.absolute().parent)
    return found


def _pack(dir: Path, folder: Path, found: Backup, seen: Seen) -> None:
    about = {
        "format": FORMAT,
        "version": found.version,
        "site": found.site,
        "fingerprint": found.fingerprint,
        "made_at": found.made_at.isoformat(),
        "schema": seen.version,
        "incarnation": found.incarnation,
        "seq": found.seq,
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")
    archive = folder / "archive"
    with open(os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        with tarfile.open(fileobj=stream, mode="w:gz") as tar:
            tar.add(folder / ABOUT, ABOUT, filter=_plain)
            for name in FILES:
                source = folder / name if name == STORE else dir / name
                if source.exists() or name not in OPTIONAL:
                    tar.add(source, name, filter=_plain)
        stream.flush()
        os.fsync(stream.fileno())


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose it was and how it was linked does not matter: a restored file is its directory's owner's."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def restore(file: Path, dir: Path) -> Backup:
    """Make a site's directory from a backup. Conflict if there is a site, or a store, already."""
    _no_database(dir)
    for name in (SETTINGS, STORE, KEY):
        if (dir / name).exists():
            raise Conflict(
                f"{dir / name} exists: there is a site already",
                code="name-taken",
                hint="--replace puts the backup in its place and keeps what was there beside it",
            )
    return replace(file, dir)


def replace(file: Path, dir: Path) -> Backup:
    """Like `restore`, in place of the same site's store, keys and settings, which are kept in `dir`/replaced-TIME.
    InUse if an agent runs there; Conflict if another site lives there; Refused if its store is in PostgreSQL."""
    _no_database(dir)
    dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with nobody_has(dir / STORE), _unpacked(file, dir) as folder:
            return _put(file, folder, dir)
    finally:
        _keep_owner(dir)


def _no_database(dir: Path) -> None:
    """Refused if the site of `dir` has its store in PostgreSQL; settings that cannot be read are no hindrance."""
    try:
        site = read_site(dir)
    except (NotFound, Refused):
        return
    if site.store:
        raise Refused(
            f"the store of {site.name} is in PostgreSQL: a backup of SQLite does not go there",
            hint="put back what pg_dump saved with psql or pg_restore, after every agent of the site has ended",
        )


def _put(file: Path, folder: Path, dir: Path) -> Backup:
    """What was unpacked, in its place."""
    found, seen = _checked(file, folder)
    if (dir / KEY).exists() and keys.load(dir).root.fingerprint != found.fingerprint:
        raise Conflict(
            f"{dir} is the place of another site, or of {found.site} with another key", hint="choose another --dir"
        )
    (dir / "keys").mkdir(mode=0o700, exist_ok=True)
    # First of all: from now on whoever opens a store here knows that it is behind its past.
    leave_behind(dir / "keys" / "marker", seen.last)
    _put_aside(dir)
    for name in (KEY, PINS, STORE, SETTINGS):  # without settings it is no site: a half-made one does not start
        if (folder / name).exists() and not (name == PINS and (dir / PINS).exists()):
            os.replace(folder / name, dir / name)
    for directory in (dir, dir / "keys"):
        _sync(directory)
    return found


def _put_aside(dir: Path) -> None:
    """What is there, but the lock, the marker and the pins, which are newer than the backup's."""
    there = [p for p in (dir / SETTINGS, dir / KEY, *dir.glob(f"{STORE}*")) if p.exists() and p.suffix != ".lock"]
    if there:
        aside = dir / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        aside.mkdir(mode=0o700)
        for path in there:
            os.replace(path, aside / path.name)
        _sync(aside)


@contextmanager
def _unpacked(file: Path, dir: Path) -> Iterator[Path]:
    """The members of the archive that belong there, in a directory beside where they go; gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix=".restore-", dir=dir))
    try:
        (scratch / "keys").mkdir(mode=0o700)
        try:
            _read_to_the_end(file)
            with tarfile.open(file, "r:gz") as tar:
                for name in (ABOUT, *FILES):
                    _take(tar, name, scratch / name)
        except FileNotFoundError:
            raise NotFound(f"no file {file}") from None
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise Refused(f"{file} is no whole backup: {error}", hint="take another one") from error
        yield scratch
    finally:
        shutil.rmtree(scratch)


def _read_to_the_end(file: Path) -> None:
    """The sum of the whole is at its end, and whoever looks for single members does not come so far."""
    with gzip.open(file) as stream:
        while stream.read(1 << 20):
            pass


def _take(tar: tarfile.TarFile, name: str, target: Path) -> None:
    """One member by its name; whatever else is in the archive is not looked at."""
    try:
        member = tar.getmember(name)
    except KeyError:
        if name in OPTIONAL:
            return
        raise Refused(f"it has no {name}", hint="is it a backup of Intertie's?") from None
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or member.size > (LONGEST if name == STORE else SMALL):
        raise Refused(f"its {name} is not what a backup holds")
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(source, file)
        file.flush()
        os.fsync(file.fileno())


def _checked(file: Path, folder: Path) -> tuple[Backup, Seen]:
    """What was unpacked, if it is one site's, whole, and readable by this version."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text())
        if about["format"] != FORMAT:
            raise Refused(
                f"{file} has format {about['format']}, this Intertie reads {FORMAT}",
                hint=f"restore it with Intertie {about['version']}",
            )
        made_at = datetime.fromisoformat(about["made_at"])
        version = str(about["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(f"{file} does not say what it is: {error}") from error
    site, key, seen = read_site(folder), keys.load(folder), look_at(folder / STORE)
    if not site.name == key.name == seen.site:
        raise Refused(f"{file} mixes sites: {site.name}, {key.name} and {seen.site}")
    found = Backup(
        site=site.name,
        fingerprint=key.root.fingerprint,
        version=version,
        made_at=made_at,
        incarnation=seen.last.incarnation,
        seq=seen.last.seq,
        peers=_peers(folder / PINS),
    )
    return found, seen


def _peers(pins: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(json.loads(pins.read_text())))
    except (FileNotFoundError, ValueError, TypeError):
        return ()


def _keep_owner(dir: Path) -> None:
    """Root restores for the user whose directory it is, and who runs the agent."""
    if os.geteuid() == 0:
        owner = dir.stat()
        for path in (dir, *dir.rglob("*")):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _sync(directory: Path) -> None:
    file = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)

"""The databases that each run starts from, made once: Keystone with services, Neutron's tables.

By hand they take a minute a region; copying them takes none. Addresses in them stand for what a run puts there.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fcntl import LOCK_EX, flock
from getpass import getuser
from grp import getgrgid
from hashlib import sha256
from pathlib import Path

from lab import identity, settings
from lab.environment import HERE, ROOT, python, say
from lab.process import Services, wait_for

KEYSTONE_URL = "http://keystone.invalid/v3"
FOLDER = ROOT / "template"


def neutron_url(region: str) -> str:
    return f"http://{region.lower()}.invalid"


def make() -> Path:
    """The template's folder; made if it is missing or of other sources."""
    sources = [HERE / "constraints.txt", HERE / "inside" / "schema.py", *(HERE / f"{n}.py" for n in _MADE_BY)]
    stamp = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    noted = FOLDER / "stamp"
    with (ROOT / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if noted.exists() and noted.read_text() == stamp:
            return FOLDER
        say("making the databases: a minute, once")
        shutil.rmtree(FOLDER, ignore_errors=True)
        for name in ("fernet", "credentials"):
            (FOLDER / name).mkdir(parents=True, mode=0o700)
        _fill(FOLDER)
        noted.write_text(stamp)
    return FOLDER


_MADE_BY = ("template", "identity", "settings")


def _fill(folder: Path) -> None:
    (folder / "keystone.conf").write_text(settings.ini(settings.keystone(folder)))
    with (folder / "template.log").open("w") as log:
        tables = subprocess.Popen(
            [python(), HERE / "inside" / "schema.py", f"sqlite:///{folder}/neutron.db"], stdout=log, stderr=log
        )
        manage = python().parent / "keystone-manage"

        def keystone(*arguments: str) -> None:
            command: list[str | Path] = [manage, "--config-file", folder / "keystone.conf", *arguments]
            subprocess.run(command, stdout=log, stderr=log, check=True)

        keystone("db_sync")
        for each in ("fernet_setup", "credential_setup"):
            keystone(each, f"--keystone-user={getuser()}", f"--keystone-group={getgrgid(os.getgid()).gr_name}")
        for region in settings.REGIONS:
            # An identity endpoint in each region: whoever validates tokens there looks for it in its own.
            urls = [f"--bootstrap-{kind}-url={KEYSTONE_URL}" for kind in ("public", "internal", "admin")]
            keystone(
                "bootstrap", f"--bootstrap-password={settings.PASSWORD}", f"--bootstrap-region-id={region}", *urls
            )
        with _running(folder) as url:
            identity.services(url, {region: neutron_url(region) for region in settings.REGIONS})
        if tables.wait() != 0:
            raise subprocess.CalledProcessError(tables.returncode, "schema.py")
    for name in ("keystone.db", "neutron.db"):
        with closing(sqlite3.connect(folder / name)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def _running(folder: Path) -> Iterator[str]:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    services = Services("keystone", "127.0.0.1", [(folder, port)])
    try:
        url = f"http://127.0.0.1:{port}/v3"
        wait_for(url)
        yield url
    finally:
        services.end()


def copy_keystone(folder: Path, url: str, regions: dict[str, str]) -> None:
    """A Keystone at `url` whose catalogue has these regions: name → address of its Neutron."""
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("neutron.db", "*.log", "stamp"))
    (folder / "keystone.conf").write_text(settings.ini(settings.keystone(folder)))
    marks = ",".join("?" * len(regions))
    with closing(sqlite3.connect(folder / "keystone.db")) as database:
        database.execute(f"DELETE FROM endpoint WHERE region_id NOT IN ({marks})", list(regions))
        database.execute(f"DELETE FROM region WHERE id NOT IN ({marks})", list(regions))
        database.execute("UPDATE endpoint SET url = ? WHERE url = ?", (url, KEYSTONE_URL))
        for region, address in regions.items():
            database.execute("UPDATE endpoint SET url = ? WHERE url = ?", (address, neutron_url(region)))
        database.commit()


def copy_neutron(folder: Path, region: settings.Region) -> None:
    for name in ("state", "lock"):
        (folder / name).mkdir(parents=True)
    if not region.database:
        shutil.copy(FOLDER / "neutron.db", folder)
    paste = python().parent.parent / "etc" / "neutron" / "api-paste.ini"
    (folder / "neutron.conf").write_text(settings.ini(settings.neutron(folder, paste, region)))

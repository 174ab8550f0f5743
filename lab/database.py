"""A MariaDB for Neutrons with a data plane.

There the API and what OVN says of ports write at once, and each may wait for the other: with SQLite's one lock for
the whole file Neutron then stands still for as long as that lock is waited for.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.environment import HERE, LabError, python
from lab.sites import run

CARELESS = ("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=64M")
"""Whatever is in it may be lost: the lab is made anew each time."""


@contextmanager
def running(folder: Path, names: list[str]) -> Iterator[dict[str, str]]:
    """An empty Neutron database of each name, on a socket in `folder`: name → its SQLAlchemy URL."""
    folder.mkdir()
    data, socket = folder / "data", folder / "socket"
    options = ("--no-defaults", f"--datadir={data}", "--user=root")
    run("mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db")
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            ["/usr/sbin/mariadbd", *options, f"--socket={socket}", "--skip-networking", *CARELESS],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(socket, folder / "log")
        urls = {}
        for name in names:
            run("mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "-e", f"CREATE DATABASE `{name}`")
            urls[name] = f"mysql+pymysql://root@localhost/{name}?unix_socket={socket}&charset=utf8mb4"
            run(python(), HERE / "inside" / "schema.py", urls[name])
        yield urls
    finally:
        server.kill()
        server.wait()


def _wait(socket: Path, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            run("mariadb-admin", "--no-defaults", f"--socket={socket}", "--user=root", "ping")
            return
        except LabError as error:
            if time.monotonic() > end:
                raise LabError(f"MariaDB does not start: see {log}") from error
            time.sleep(0.1)

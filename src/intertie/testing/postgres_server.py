"""A PostgreSQL server of one's own, for tests: in a directory, on a Unix socket there, no TCP.

The server refuses to run as root, so root starts it as another user (setpriv). As anybody else it runs as oneself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

PLACES = "/usr/lib/postgresql/*/bin"
UNPRIVILEGED = 65534
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "max_wal_size": "128MB",
    "autovacuum": "off",
    "logging_collector": "off",
    "dynamic_shared_memory_type": "mmap",
}


def programs() -> Path | None:
    """Where initdb and postgres are: in the newest of PLACES, or in the PATH."""
    found = sorted(Path("/").glob(PLACES.lstrip("/")), key=lambda p: [int(n) for n in p.parent.name.split(".")])
    for place in reversed(found):
        if (place / "initdb").exists():
            return place
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """Runs from its making until `stop`. OSError or CalledProcessError if it cannot be made."""

    def __init__(self) -> None:
        place = programs()
        if place is None:
            raise FileNotFoundError(f"no PostgreSQL: neither {PLACES} nor initdb in the PATH")
        self._place = place
        # Not in pytest's own directories: nobody but root may look into those, and a socket's path is short.
        self.directory = Path(tempfile.mkdtemp(prefix="intertie-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        self._as: tuple[str, ...] = ()
        if os.geteuid() == 0:
            os.chown(self.directory, UNPRIVILEGED, UNPRIVILEGED)
            ids = (f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}")
            self._as = ("setpriv", *ids, "--clear-groups")
        make = ("initdb", "-D", self.data, "-U", "intertie", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
        self._run(*map(str, make))
        with (self.data / "postgresql.conf").open("a") as settings:
            for name, value in {**_SETTINGS, "unix_socket_directories": str(self.directory)}.items():
                settings.write(f"{name} = '{value}'\n")
        self.start()
        self.do("CREATE ROLE agent LOGIN")

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str = "postgres", user: str = "intertie") -> str:
        """`user`: intertie has all rights, agent may log in and owns the databases that `create` makes."""
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def create(self, database: str, like: str = "template1") -> str:
        """A new database, or a copy of one that nobody uses; the url for agents."""
        names = sql.Identifier(database), sql.Identifier(like)
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER agent").format(*names))
        return self.url(database, "agent")

    def drop(self, database: str) -> None:
        """It is gone, and whoever was connected to it is cut off."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def start(self) -> None:
        """Until it takes connections."""
        log = (self.directory / "log").open("ab")
        command = (*self._as, str(self._place / "postgres"), "-D", str(self.data))
        self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        log.close()
        until = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise OSError(f"the server did not start: {self.log()[-2000:]}") from None
                time.sleep(0.05)

    def halt(self, number: int = signal.SIGINT) -> None:
        """Ends the server; SIGQUIT ends it as a crash does."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def stop(self) -> None:
        """Ends it for good, and removes what it kept."""
        self.halt()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        with suppress(FileNotFoundError):
            return (self.directory / "log").read_text()
        return ""

    def do(self, *statements: LiteralString, database: str = "postgres") -> list[tuple[object, ...]]:
        """Each in a transaction of its own, with all rights; the rows of the last."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def end_sessions(self, database: str) -> None:
        """Whoever is connected to that database is so no more."""
        query = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(query, (database,))

    def _run(self, program: str, *arguments: str) -> None:
        command = (*self._as, str(self._place / program), *arguments)
        subprocess.run(command, check=True, capture_output=True, cwd=self.directory)

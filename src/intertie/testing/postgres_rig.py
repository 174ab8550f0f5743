"""The medium that the PostgreSQL store is tested on: a database for each life, on a server of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import LiteralString

from intertie.agent.ports import Store
from intertie.model.codec import decode
from intertie.store.postgres import PostgresStore
from intertie.testing.postgres_server import PostgresServer
from intertie.testing.store_samples import SITE

_numbers = count()


class PostgresRig:
    """A fresh database; `directory` is for the marker."""

    def __init__(self, server: PostgresServer, directory: Path) -> None:
        self.server = server
        self.marker = directory / "marker"
        self.database = f"rig{next(_numbers)}"
        self.url = server.create(self.database)

    def store(self) -> Store:
        return self.shared()

    def shared(self, agent: str = "") -> PostgresStore:
        """A store of one of several agents: each has a marker of its own."""
        marker = self.marker.with_name(f"marker{agent}")
        return PostgresStore(self.url, site=SITE, decode=decode, marker=marker)

    async def crash(self, store: Store) -> None:
        """All its connections end at once, whatever they were at; the server does with that what it always does."""
        self.server.end_sessions(self.database)
        await store.close()

    def lose(self) -> None:
        self.server.drop(self.database)
        self.server.create(self.database)

    def backup(self) -> object:
        copy = f"backup{next(_numbers)}"
        self.server.end_sessions(self.database)
        self.server.create(copy, like=self.database)
        return copy

    def put_back(self, backup: object) -> None:
        assert isinstance(backup, str)
        self.server.drop(self.database)
        self.server.create(self.database, like=backup)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Every write is answered as by a server whose disk is full, in the middle of the transaction."""
        self.server.do(_FULL, _FULL_RECORDS, _FULL_LOCAL, database=self.database)
        try:
            yield
        finally:
            self.server.do("DROP FUNCTION full_disk() CASCADE", database=self.database)

    def close(self) -> None:
        self.server.drop(self.database)


_FULL: LiteralString = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"""
_FULL_RECORDS: LiteralString = "CREATE TRIGGER full_disk BEFORE INSERT ON records EXECUTE FUNCTION full_disk()"
_FULL_LOCAL: LiteralString = "CREATE TRIGGER full_disk BEFORE INSERT ON local EXECUTE FUNCTION full_disk()"

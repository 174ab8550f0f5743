"""The media that stores are tested on: a simulated disk, and SQLite's files in a directory."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from intertie.agent.ports import Store
from intertie.model.codec import decode
from intertie.store.memory import Disk, MemoryStore
from intertie.store.sqlite import SqliteStore
from intertie.testing.store_samples import SITE


class SqliteRig:
    """One directory for each life of the medium: a crash is a copy of the files of a store that is still open."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._crashes = 0

    @property
    def path(self) -> Path:
        return self.directory / f"life-{self._crashes}" / "store.db"

    @property
    def log(self) -> Path:
        return self.path.with_name("store.db-wal")

    @property
    def marker(self) -> Path:
        return self.path.with_name("store.db.marker")

    def store(self) -> Store:
        return SqliteStore(self.path, site=SITE, decode=decode)

    async def crash(self, store: Store) -> None:
        """The files as they are while the store is open, elsewhere: the old one's clean end does not reach them."""
        left = self.path.parent
        self._crashes += 1
        self.path.parent.mkdir()
        for file in left.iterdir():
            if not file.name.endswith(("-shm", ".lock")):
                shutil.copyfile(file, self.path.with_name(file.name))
        await store.close()

    def lose(self) -> None:
        self.path.unlink()

    def backup(self) -> bytes:
        return self.path.read_bytes()

    def put_back(self, backup: object) -> None:
        assert isinstance(backup, bytes)
        self.path.write_bytes(backup)

    @contextmanager
    def full(self) -> Iterator[None]:
        """No file of this process may grow above the present size of the log."""
        before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.log.stat().st_size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


class MemoryRig:
    """A simulated disk."""

    def __init__(self) -> None:
        self.disk = Disk()

    def store(self) -> Store:
        return MemoryStore(site=SITE, disk=self.disk)

    async def crash(self, store: Store) -> None:
        self.disk.lose_power()

    def lose(self) -> None:
        self.disk.lose()

    def backup(self) -> object:
        return self.disk.backup()

    def put_back(self, backup: object) -> None:
        assert isinstance(backup, Disk)
        self.disk.put_back(backup)

    @contextmanager
    def full(self) -> Iterator[None]:
        self.disk.failures = 1_000
        yield
        self.disk.failures = 0

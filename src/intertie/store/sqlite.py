"""The store of one agent: an SQLite file, forced to disk before a commit returns (rule 3, I3).

Batches that wait while the disk is busy go into one transaction together (`store.group`).

Files beside the database at `path`:

    path-wal, path-shm   SQLite's own, gone after a clean end
    path.lock            held while a process has the store open: SQLite is for one agent a site
    path.marker          how far the store has come (`store.marker`); best kept outside what backups put back

Opening looks at everything: the log before SQLite replays it, the structure of the pages, the checksum of each row.
A store that is not as it was written is refused with `Damaged`, and stays as it is for a look at it.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import ExitStack, suppress
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from intertie.model.records import Cursor
from intertie.model.storage import Batch, Committed, Damaged, InUse, Seal, Snapshot, StorageError
from intertie.store import rows
from intertie.store.group import Waiting, Writer, write_group
from intertie.store.marker import Marker
from intertie.store.opening import take_up
from intertie.store.wal import lost_behind

_BUSY_SECONDS = 5.0
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA journal_size_limit = 8388608",
)
_WHAT_TO_DO = (
    "move it and the files beside it aside (keep the marker) and start again: the agent goes on with a higher "
    "incarnation, takes its records back from its peers, and removes nothing that forwards; or put a backup there"
)
_SQLITE_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "it may only be read",
    sqlite3.SQLITE_IOERR: "the disk failed to read or write",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened",
    sqlite3.SQLITE_PERM: "no permission",
    sqlite3.SQLITE_BUSY: "another program holds it for too long",
    sqlite3.SQLITE_LOCKED: "another program holds it for too long",
    sqlite3.SQLITE_NOMEM: "no memory",
}
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class SqliteStore:
    """Implements the agent's port `Store`; see `model.storage` for what its methods mean.

    `site` is the name of the site whose store this is; `decode` parses a record's bytes and signature. `open`
    raises Damaged, InUse, TooNew or another StorageError; `commit` raises Conflict, what the seal raises, or
    Unavailable (code `storage`) when the batch could not be made durable; then nothing of it was written.
    """

    def __init__(self, path: Path, *, site: str, decode: rows.Decode, marker: Path | None = None) -> None:
        self._path = path
        self._site = site
        self._decode = decode
        self._marker = Marker(marker or path.with_name(path.name + ".marker"))
        self._writer = Writer(f"the store {path}", self._write)
        self._files = ExitStack()
        self._database = ExitStack()
        self._connection: Connection | None = None

    async def open(self, incarnation_at_least: int = 0) -> Snapshot:
        self._writer.start()
        opened = False
        try:
            snapshot = await self._writer.run(lambda: self._open(incarnation_at_least))
            opened = True
            return snapshot
        finally:
            if not opened:
                await self.close()

    async def commit(self, batch: Batch, seal: Seal) -> Committed:
        """A caller that is cancelled meanwhile does not learn whether its batch was written."""
        return await self._writer.commit(batch, seal)

    async def close(self) -> None:
        """Writes what is waiting, then lets go of the files. Closing twice does no harm."""
        await self._writer.stop(self._close)

    # ── In the store's thread ──────────────────────────────────────────────────────────────────────────────

    def _open(self, incarnation_at_least: int) -> Snapshot:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._files.callback(_lock(self._path))
            self._files.callback(self._marker.close)
            reached = self._marker.open()
            if lost := lost_behind(self._path.with_name(self._path.name + "-wal")):
                raise Damaged(lost, hint=_WHAT_TO_DO)
            _make_private(self._path)
            connection = self._connect()
            with connection.begin():
                floor = (incarnation_at_least, reached)
                snapshot = take_up(connection, self._site, self._decode, _check_structure, floor)
            _sync_directory(self._path.parent)
            self._marker.write(Cursor(snapshot.incarnation, snapshot.seq), durable=True)
            return snapshot
        except (StorageError, DBAPIError, OSError, UnicodeError) as error:
            raise self._explained(error, opening=True) from error

    def _connect(self) -> Connection:
        if self._connection is None:
            engine = engine_for(self._path)
            self._database.callback(engine.dispose)
            connection = engine.connect()
            self._database.callback(connection.close)
            self._connection = connection
        return self._connection

    def _write(self, group: list[Waiting]) -> None:
        try:
            connection = self._connect()
            with connection.begin():
                before = rows.head(connection)
                head, _ = write_group(connection, group, before, self._site)
                if head != before:
                    rows.set_head(connection, self._site, head)
        except DBAPIError as error:
            for waiting in group:
                waiting.error = self._explained(error)
            if self._connection is not None and self._connection.in_transaction():
                self._disconnect()  # it could not even be rolled back
        else:
            self._marker.write(head.last)
        for waiting in group:
            waiting.resolve()

    def _close(self) -> None:
        """Comes after all that waits: each batch has had a turn of the thread of its own."""
        self._disconnect()
        self._files.close()

    def _disconnect(self) -> None:
        self._connection = None
        self._database.close()

    def _explained(
        self, error: StorageError | DBAPIError | OSError | UnicodeError, *, opening: bool = False
    ) -> StorageError:
        """`error` in words that name the file and say what to do."""
        name = f"the store {self._path}"
        if isinstance(error, StorageError):
            hint = error.hint or (_WHAT_TO_DO if isinstance(error, Damaged) else "")
            return type(error)(f"{name} cannot be used: {error.detail}", hint=hint)
        if isinstance(error, OSError):
            return StorageError(f"{name} cannot be used: {error.strerror or error}")
        cause = error.orig if isinstance(error, DBAPIError) else error
        # Without a code it was the reading of a text that failed: bytes that are none.
        code = getattr(cause, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in _BROKEN or (primary is None and opening):
            return Damaged(f"{name} cannot be used: it is damaged ({cause})", hint=_WHAT_TO_DO)
        words = _SQLITE_WORDS.get(primary or 0, "SQLite refused")
        return StorageError(
            f"{name} cannot be {'used' if opening else 'written'}: {words} ({cause})",
            hint="nothing of the change was kept; see to the disk, then try again",
        )


# ── Files ──────────────────────────────────────────────────────────────────────────────────────────────────


class _Lock:
    """An open lock file; calling it lets go. flock, since the locks of POSIX are lost with any close of the file."""

    def __init__(self, file: int) -> None:
        self._file = file

    def __call__(self) -> None:
        os.close(self._file)


def _lock(path: Path) -> _Lock:
    # Resolved, so that one database has one lock under all its names.
    real = path.resolve()
    name = real.with_name(real.name + ".lock")
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
        os.close(file)
        raise InUse(
            f"process {holder or 'unknown'} has it open",
            hint="one agent a site on SQLite: end the other one first, or give this one a directory of its own",
        ) from None
    with suppress(OSError):  # only for the words of the next one's error: a full disk is no reason to stay away
        os.ftruncate(file, 0)
        os.pwrite(file, b"%d\n" % os.getpid(), 0)
    return _Lock(file)


def _make_private(path: Path) -> None:
    """The database is there afterwards, and nobody else may read it; SQLite gives its log the same mode."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
    finally:
        os.close(file)


def _sync_directory(path: Path) -> None:
    file = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


# ── SQLite ─────────────────────────────────────────────────────────────────────────────────────────────────


def engine_for(path: Path) -> Engine:
    """One connection, all pragmas set, transactions that begin where SQLAlchemy says so."""
    # Without an isolation level the driver begins no transactions by itself, and savepoints work.
    options = {"timeout": _BUSY_SECONDS, "isolation_level": None}
    url = URL.create("sqlite", database=str(path))
    engine = create_engine(url, poolclass=StaticPool, connect_args=options)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _set_pragmas(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _check_structure(connection: Connection) -> None:
    """Pages, cells and indexes. Fast: 10,000 records take some tens of milliseconds."""
    found = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
    if found != ["ok"]:
        raise Damaged(f"its pages are damaged ({'; '.join(found)[:300]})")

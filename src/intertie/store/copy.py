"""Copies of an SQLite store: taken while its agent writes, and looked at before anybody relies on them.

A copy is one moment of the store: SQLite reads in a transaction of its own and waits for no writer. It has no marker:
the marker says how far the store has come *since*, and beside an old copy it is what tells that the copy is old.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from intertie.model.records import Cursor
from intertie.model.storage import Damaged, InUse, StorageError
from intertie.store import schema
from intertie.store.marker import Marker
from intertie.store.sqlite import engine_for


@dataclass(frozen=True, slots=True)
class Seen:
    """What is in a copy: whose it is, how far it has come, the version of its tables."""

    site: str
    last: Cursor
    version: int


def copy_store(source: Path, target: Path) -> None:
    """The store at `source`, whole and as of now, in the new file `target`. Its agent may run or not; nothing of the
    store is changed. StorageError in words."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as theirs,
            closing(sqlite3.connect(target)) as ours,
        ):
            theirs.backup(ours)
            ours.execute("PRAGMA journal_mode = DELETE")  # one file; the agent that opens it sets its own
    except sqlite3.Error as error:
        raise StorageError(f"the store {source} cannot be copied: {error}") from error
    with target.open("rb") as file:
        os.fsync(file.fileno())


def look_at(path: Path) -> Seen:
    """A copy, looked at as an agent would on opening it: pages, checksums, total. TooNew or Damaged otherwise."""
    engine = engine_for(path)
    try:
        with engine.connect() as connection, connection.begin():
            pages = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check(3)")]
            if pages != ["ok"]:
                raise Damaged(f"{path.name}: its pages are damaged ({'; '.join(pages)[:300]})")
            version = schema.look(connection)
            row = connection.execute(select(schema.site.c.name, schema.site.c.incarnation, schema.site.c.seq)).one()
            return Seen(row.name, Cursor(row.incarnation, row.seq), version)
    except DBAPIError as error:
        raise Damaged(f"{path.name} is no store of Intertie's: {error.orig}") from error
    finally:
        engine.dispose()


@contextmanager
def nobody_has(path: Path) -> Iterator[None]:
    """Keeps agents from the store at `path` meanwhile. InUse if one has it open."""
    name = path.with_name(path.name + ".lock")
    file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(file, 32, 0).decode("ascii", "replace").strip()
            raise InUse(
                f"an agent runs on {path.parent} (process {holder or 'unknown'})",
                hint="end it first: systemctl stop intertie",
            ) from None
        yield
    finally:
        os.close(file)


def leave_behind(marker: Path, last: Cursor) -> None:
    """Have the marker say that the store had come further than `last`: whoever opens a copy of that moment knows that
    it is old, also where no marker was, and takes its past back from its peers (rule 18)."""
    noted = Marker(marker)
    try:
        try:
            reached = noted.open()
        except Damaged:
            reached = None  # it is written anew
        beyond = Cursor(last.incarnation, last.seq + 1)
        noted.write(max(beyond, reached or beyond), durable=True)
    finally:
        noted.close()

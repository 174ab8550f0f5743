"""Which rows each commit touched, so that several agents on one PostgreSQL database catch up with one another.

Every commit adds one row, numbered without gaps under the lock of the site's own row: its position. An agent that
has seen everything up to a position reads which rows were touched since, and takes these as they stand now. The
journal also carries the store's total after each commit: who finds another total at the position that it knows, or
none, sits on a database that was put back or exchanged under its feet.

The tables here are PostgreSQL's only, and no part of the schema that migrates: they hold nothing that is needed to
open a store. `whispers` and `lease` are not even logged: after a crash of the server they are empty, which is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from intertie.model.storage import Batch, Change
from intertie.store import rows, schema
from intertie.store.rules import touched

KEPT = 16_384
"""Positions that are kept, at least: an agent that missed more starts anew."""
_PRUNE_EVERY = 256

metadata = MetaData()

journal = Table(
    "journal",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("total", LargeBinary, nullable=False),
    Column("writer", Text, nullable=False),
    Column("touched", Text, nullable=False),
)
"""`writer`: an id of the very transaction, by which a writer whose connection broke learns what became of it."""

lineage = Table(
    "lineage",
    metadata,
    Column("one", SmallInteger, primary_key=True),
    Column("id", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("incarnation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
)
"""One row: the lineage of the agents that are live now, in which database it began, and how far the site had come."""

lease = Table(
    "lease",
    metadata,
    Column("one", SmallInteger, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    prefixes=["UNLOGGED"],
)

whispers = Table(
    "whispers",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("sender", Text, nullable=False),
    Column("said_at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("words", Text, nullable=False),
    prefixes=["UNLOGGED"],
)
"""What the agents of a site tell each other of what is measured, not promised: a minute of it."""


@dataclass(slots=True)
class Touched:
    """Rows that commits wrote or deleted."""

    records: set[str] = field(default_factory=set)
    cursors: set[str] = field(default_factory=set)
    acked: set[str] = field(default_factory=set)
    local: set[tuple[str, str]] = field(default_factory=set)

    def add(self, batch: Batch) -> None:
        self.records |= touched(batch)
        self.cursors |= set(batch.cursors)
        self.acked |= set(batch.acked)
        self.local |= {(entry.space, entry.key) for entry in batch.local}

    def text(self) -> str:
        parts = (self.records, self.cursors, self.acked, self.local)
        return json.dumps([sorted(part) for part in parts], separators=(",", ":"))

    def add_text(self, text: str) -> None:
        records, cursors, acked, local = json.loads(text)
        self.records |= set(records)
        self.cursors |= set(cursors)
        self.acked |= set(acked)
        self.local |= {(space, key) for space, key in local}


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the journal, and the store's total there."""

    number: int
    total: bytes


def last(connection: Connection) -> Position | None:
    """The newest; None: there is none yet."""
    columns = journal.c
    newest = select(columns.position, columns.total).order_by(columns.position.desc()).limit(1)
    row = connection.execute(newest).first()
    return None if row is None else Position(row.position, row.total)


def holds(connection: Connection, position: Position) -> bool:
    """Whether the journal is one that this position is in."""
    found = connection.scalars(select(journal.c.total).where(journal.c.position == position.number)).first()
    return found == position.total


def written_by(connection: Connection, writer: str, after: int) -> bool:
    """Whether a transaction of this id was committed after that position."""
    those = select(journal.c.position).where(journal.c.position > after, journal.c.writer == writer)
    return connection.execute(those).first() is not None


def append(connection: Connection, before: int, total: int, writer: str, batches: Iterable[Batch]) -> Position:
    """Notes what was just written. The caller holds the lock of the site's own row."""
    changed = Touched()
    for batch in batches:
        changed.add(batch)
    position = Position(before + 1, total.to_bytes(schema.TOTAL, "big"))
    values = {"position": position.number, "total": position.total, "writer": writer, "touched": changed.text()}
    connection.execute(insert(journal).values(values))
    if position.number % _PRUNE_EVERY == 0:
        connection.execute(delete(journal).where(journal.c.position <= position.number - KEPT))
    return position


def changes(connection: Connection, decode: rows.Decode, after: int, incarnation: int) -> Change:
    """What was touched after that position, as it stands. Damaged if a row is not what was written."""
    changed = Touched()
    for text in connection.scalars(select(journal.c.touched).where(journal.c.position > after)):
        changed.add_text(text)
    records = rows.some_records(connection, decode, changed.records)
    return Change(
        records=tuple(sorted(records, key=lambda r: r.cursor)),
        dropped=tuple(sorted(changed.records - {r.id for r in records})),
        cursors=rows.some_cursors(connection, rows.READ, changed.cursors),
        acked=rows.some_cursors(connection, rows.ACKED, changed.acked),
        local=tuple(rows.some_local(connection, sorted(changed.local))),
        incarnation=incarnation,
    )

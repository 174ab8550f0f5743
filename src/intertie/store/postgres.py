"""The store of several agents of one site: a PostgreSQL database, forced to disk before commits return (rule 3, I3).

Commits take turns at the site's own row, which they lock first and let go of with the COMMIT: so places are given in
the order of commits, over all agents. Under that lock a commit also compares how far its agent has read the journal
(`store.journal`): if another agent was first, nothing is written, and `Overtaken` brings what is new.

Two connections: the writer's, in a thread (`store.group`), and a session (`store.session`) that hears of others'
commits, keeps the lease, and holds the lineage of all live agents of the site.

The marker is a file beside the keys as with SQLite, each agent's own: a database that was rolled back or lost is
noticed when it is opened; one that changes under a running agent ends that agent.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, StaticPool, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError

from intertie.model.records import Cursor
from intertie.model.storage import Batch, Beat, Change, Committed, Damaged, Overtaken, Seal, Snapshot, StorageError
from intertie.store import journal, rows, schema
from intertie.store.group import Waiting, Writer, write_group
from intertie.store.journal import Position
from intertie.store.marker import Marker
from intertie.store.opening import take_up
from intertie.store.session import CHANNEL, Session, connection_info, shown

OPENING = 0x1_47E2_71E0
"""The advisory lock of whoever makes or migrates the tables."""
_ASK_AGAIN, _PAUSE = 25, 0.2
"""How often, and how far apart in seconds, a writer asks what became of its commit when the connection broke."""
_CORRUPTED = ("XX001", "XX002")
_WHAT_TO_DO = (
    "restore it, or give the agents another, empty database: they go on with a higher incarnation, take the records "
    "back from the peers, and remove nothing that forwards"
)


class PostgresStore:
    """Implements the agent's ports `Store` and `Shared`; see `model.storage` for what its methods mean.

    `url` is libpq's (postgresql://…). `open` raises Damaged, TooNew or another StorageError; `commit` raises
    Overtaken, Conflict, what the seal raises, or StorageError when the batch could not be made durable.
    """

    def __init__(self, url: str, *, site: str, decode: rows.Decode, marker: Path) -> None:
        self._info = connection_info(url, site)
        self._name = f"the store {shown(url)}"
        self._site = site
        self._decode = decode
        self._marker = Marker(marker)
        self._writer = Writer(self._name, self._write)
        self._session = Session(self._info, self._name)
        self._database = ExitStack()
        self._connection: Connection | None = None
        self._seen = Position(0, b"")
        """How far the agent knows what is in the store: by its own commits, or because it was told of others'."""
        self._doubt: Position | None = None
        """A caller was cancelled: perhaps the agent knows no more than this."""

    async def open(self, incarnation_at_least: int = 0) -> Snapshot:
        self._writer.start()
        opened = False
        try:
            snapshot = await self._writer.run(lambda: self._open(incarnation_at_least))
            lineage, began_at = await self._session.begin()
            opened = True
            return replace(snapshot, lineage=lineage, opened=began_at)
        finally:
            if not opened:
                await self.close()

    async def commit(self, batch: Batch, seal: Seal) -> Committed:
        """A caller that is cancelled meanwhile does not learn whether its batch was written; who commits or catches
        up next does."""
        with self._known_by_the_caller():
            return await self._writer.commit(batch, seal)

    async def close(self) -> None:
        """Writes what is waiting, then lets go of the database. Closing twice does no harm."""
        await self._session.end()
        await self._writer.stop(self._close)

    # ── Several agents (the port `Shared`) ─────────────────────────────────────────────────────────────────

    async def catch_up(self) -> Change | None:
        """What others committed since this was last asked, or told by Overtaken; None: nothing."""
        with self._known_by_the_caller():
            return await self._writer.run(self._catch_up)

    async def beat(self) -> Beat:
        """Waits for others' news, a second at most. StorageError without a connection; the next beat makes one."""
        return await self._session.beat(self._seen.number)

    def relay(self, words: str) -> None:
        """Tells the other agents of this site; it need not reach them."""
        self._session.relay(words)

    @contextmanager
    def _known_by_the_caller(self) -> Iterator[None]:
        """A caller that is cancelled has not taken over what it was about to be told: it is told again."""
        before = self._seen
        try:
            yield
        except asyncio.CancelledError:
            self._doubt = min(self._doubt or before, before)
            raise

    # ── In the store's thread ──────────────────────────────────────────────────────────────────────────────

    def _open(self, incarnation_at_least: int) -> Snapshot:
        try:
            reached = self._marker.open()
            connection = self._connect()
            with connection.begin():
                _check_durable(connection)
                connection.execute(select(func.pg_advisory_xact_lock(OPENING)))
                snapshot = take_up(connection, self._site, self._decode, _lock, (incarnation_at_least, reached))
                journal.metadata.create_all(connection)
                self._seen = _place(connection)
            self._marker.write(Cursor(snapshot.incarnation, snapshot.seq), durable=True)
            return snapshot
        except (StorageError, DBAPIError, OSError) as error:
            raise self._explained(error) from error

    def _write(self, group: list[Waiting]) -> None:
        name = secrets.token_hex(8)
        at: _Outcome | None = None
        try:
            with self._connect().begin():
                at = self._head()
                if at.change is None:
                    at = self._attempt(group, at, name)
        except (DBAPIError, StorageError) as error:
            if at is None or not self._was_written(name, error):
                for waiting in group:
                    waiting.error = self._explained(error)
                    waiting.resolve()
                return
        self._know(at)
        for waiting in group:
            if at.change is not None:
                waiting.error = Overtaken(at.change)
            waiting.resolve()

    def _attempt(self, group: list[Waiting], at: _Outcome, name: str) -> _Outcome:
        connection = self._connect()
        head, written = write_group(connection, group, at.head, self._site)
        if head == at.head:
            return at
        rows.set_head(connection, self._site, head)
        batches = (waiting.batch for waiting in written)
        position = journal.append(connection, at.position.number, head.total, name, batches)
        connection.execute(select(func.pg_notify(CHANNEL, "")))
        return _Outcome(head, position)

    def _catch_up(self) -> Change | None:
        try:
            with self._connect().begin():
                if self._doubt is None and journal.last(self._connect()) == self._seen:
                    return None
                at = self._head()
        except (DBAPIError, StorageError) as error:
            raise self._explained(error) from error
        self._know(at)
        return at.change

    def _head(self) -> _Outcome:
        """Takes its turn at the site's row; what others wrote since the agent knew everything."""
        if self._doubt is not None:
            self._seen, self._doubt = min(self._seen, self._doubt), None
        connection = self._connect()
        head = rows.head(connection)
        last = journal.last(connection)
        if last is None or last < self._seen or not journal.holds(connection, self._seen):
            raise Damaged(
                "it is not as this agent left it: it was put back or exchanged, or the agent missed too much",
                hint="start the agent again: it takes back from its peers what the database has lost",
            )
        if last == self._seen:
            return _Outcome(head, last)
        change = journal.changes(connection, self._decode, self._seen.number, head.last.incarnation)
        return _Outcome(head, last, change)

    def _know(self, at: _Outcome) -> None:
        self._seen = at.position
        self._marker.write(at.head.last)

    def _was_written(self, name: str, error: DBAPIError | StorageError) -> bool:
        """After the connection broke in a transaction, perhaps at its very end: whether it was committed. Looked at
        under the lock, which the old connection has as long as it is still at it."""
        if not (isinstance(error, DBAPIError) and error.connection_invalidated):
            return False
        for _ in range(_ASK_AGAIN):
            self._disconnect()
            try:
                with self._connect().begin():
                    rows.head(self._connect())
                    return journal.written_by(self._connect(), name, self._seen.number)
            except DBAPIError:
                time.sleep(_PAUSE)
        return False

    def _connect(self) -> Connection:
        if self._connection is not None and self._connection.invalidated:
            self._disconnect()
        if self._connection is None:
            engine = engine_for(self._info)
            self._database.callback(engine.dispose)
            self._connection = engine.connect()
            self._database.callback(self._connection.close)
        return self._connection

    def _close(self) -> None:
        self._disconnect()
        self._marker.close()

    def _disconnect(self) -> None:
        self._connection = None
        self._database.close()

    def _explained(self, error: StorageError | DBAPIError | OSError) -> StorageError:
        """`error` in words that name the database and say what to do."""
        if isinstance(error, StorageError):
            hint = error.hint or (_WHAT_TO_DO if isinstance(error, Damaged) else "")
            return type(error)(f"{self._name} cannot be used: {error.detail}", hint=hint)
        if isinstance(error, OSError):
            return StorageError(f"{self._marker.path} cannot be used: {error.strerror or error}")
        cause = error.orig
        words = (str(cause).strip().splitlines() or ["no reason given"])[0]
        if (getattr(cause, "sqlstate", None) or "").startswith(_CORRUPTED):
            return Damaged(f"{self._name} cannot be used: it is damaged ({words})", hint=_WHAT_TO_DO)
        return StorageError(
            f"{self._name} cannot be used: {words}",
            hint="nothing of the change was kept; see to the database, then try again",
        )


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Where a transaction found or left the store; with `change`, it wrote nothing."""

    head: rows.Head
    position: Position
    change: Change | None = None


def engine_for(info: str) -> Engine:
    """One connection. `info` is libpq's and may name several servers, which SQLAlchemy's own form cannot."""
    return create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(info),
        poolclass=StaticPool,
        isolation_level="READ COMMITTED",
    )


def _check_durable(connection: Connection) -> None:
    """A commit that is not on disk is no promise."""
    if connection.scalar(text("SHOW fsync")) != "on":
        raise StorageError("the server runs with fsync = off: what it commits may be lost", hint="set fsync = on")
    connection.execute(text("SET SESSION synchronous_commit = on"))


def _lock(connection: Connection) -> None:
    """Before everything is read: nobody commits meanwhile."""
    connection.execute(select(schema.site.c.name).with_for_update())


def _place(connection: Connection) -> Position:
    """Where opening leaves the journal: at a place of its own, if it changed the site's row."""
    head = rows.head(connection)
    last = journal.last(connection)
    if last is not None and last.total == head.total.to_bytes(schema.TOTAL, "big"):
        return last
    return journal.append(connection, last.number if last else -1, head.total, "", ())

"""An agent's session on the PostgreSQL database that it shares with others of its site.

While it lasts, the agent is live: it holds a lock, shared with the others, that the server lets go of when the agent
dies. Whoever begins a session and finds nobody live makes a new lineage for all that come after it; so two copies of
one database, both with live agents, never have the same. It is made anew as well when the database is no longer the
one in which it was given out (another server, a promoted replica, a copy).

A session hears of others' commits by NOTIFY, and asks once a second all the same: notifications are lost with the
connection. It needs a connection of its own to the server, not one of a pool that is shared between transactions.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from intertie.model.records import Cursor
from intertie.model.storage import LEASE, Beat, StorageError

CHANNEL = "intertie"
BEAT = 0.5
"""Seconds between two looks, at most."""
PATIENCE = 3.0
"""Seconds for an answer of the server; then the connection is given up."""
QUIET = 2 * PATIENCE
"""Seconds for which an agent whose database became another one is silent: one that has not noticed yet would be taken
for a clone."""
KEPT_SECONDS = 60
"""How long what was said is kept, so that an agent which begins knows what its site has heard."""
_OVERLAP = 64
"""Ids that are looked at again: they are given out before the commit, and may come in another order."""
_LIVE, _BEGINNING, _FIRST = 0x1_47E2_71E1, 0x1_47E2_71E2, 0x1_47E2_71E3
_OPTIONS = (
    "-c idle_in_transaction_session_timeout=5s -c lock_timeout=10s -c default_transaction_read_only=off "
    "-c tcp_keepalives_idle=3 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
)
"""A writer that stands still, or whose machine is gone, holds up the others for seconds, not for hours."""
_HINT = "does the server run? may this user log in? the agent goes on by itself when it answers"

_PLACE: LiteralString = """
    SELECT s.system_identifier || '/' || c.timeline_id || '/' || d.oid
    FROM pg_control_system() s, pg_control_checkpoint() c, pg_database d WHERE d.datname = current_database()"""
_LEASE: LiteralString = """
    INSERT INTO lease (one, holder, until) VALUES (1, %(me)s, clock_timestamp() + make_interval(secs => %(secs)s))
    ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE lease.holder = excluded.holder OR lease.until < clock_timestamp() OR %(first)s RETURNING holder"""
_SAID: LiteralString = "SELECT id, words FROM whispers WHERE id > %s AND sender <> %s ORDER BY id"
_SAY: LiteralString = "INSERT INTO whispers (sender, words) VALUES (%s, %s)"
_FORGET: LiteralString = "DELETE FROM whispers WHERE said_at < clock_timestamp() - make_interval(secs => %s)"


def connection_info(url: str, site: str) -> str:
    """libpq's words for `url`, with what we ask of every connection. StorageError if it cannot be read."""
    try:
        given = conninfo_to_dict(url)
        return make_conninfo(
            url,
            application_name=given.get("application_name") or f"intertie {site}",
            connect_timeout=given.get("connect_timeout") or 5,
            keepalives_idle=3,
            keepalives_interval=1,
            keepalives_count=3,
            tcp_user_timeout=5000,
            options=f"{given.get('options') or ''} {_OPTIONS}".strip(),
        )
    except psycopg.ProgrammingError as error:
        raise StorageError(f"the address of the store cannot be read: {error}", hint=HINT_URL) from None


HINT_URL = "postgresql://USER@HOST/DATABASE, or postgresql:///DATABASE?host=/run/postgresql"


def shown(url: str) -> str:
    """`url` without its password."""
    with suppress(psycopg.ProgrammingError):
        parts = {k: v for k, v in conninfo_to_dict(url).items() if k in ("host", "port", "dbname", "user") and v}
        return "postgresql " + " ".join(f"{name}={value}" for name, value in sorted(parts.items()))
    return "postgresql"


class Session:
    """One agent's; `begin` first. All methods are for one event loop."""

    def __init__(self, info: str, name: str) -> None:
        self._info = info
        self._name = name
        self._me = secrets.token_hex(8)
        self._connection: psycopg.AsyncConnection | None = None
        self._lineage = ""
        self._opened = Cursor()
        self._quiet_until = float("-inf")
        self._place = ""
        self._leads_until = float("-inf")
        self._asked = float("-inf")
        self._first = False
        self._heard: deque[int] = deque(maxlen=4 * _OVERLAP)
        self._highest = 0
        self._saying: list[str] = []
        self._wake = asyncio.Event()
        self._waits = False
        """Not with the first beat: who begins wants to know how things are."""

    async def begin(self) -> tuple[str, Cursor]:
        """The lineage of all live agents of the site, and how far the site had come when it began. StorageError if
        the server cannot be reached."""
        async with self._explained():
            await self._connected()
        return self._lineage, self._opened

    async def end(self) -> None:
        """A clean end lets go of the lease."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error, OSError, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await connection.execute("DELETE FROM lease WHERE holder = %s", (self._me,))
            await connection.close()

    def relay(self, words: str) -> None:
        """Goes with the next beat, which comes at once."""
        self._saying.append(words)
        self._wake.set()

    async def beat(self, seen: int) -> Beat:
        """See the port `Shared`; `seen`: the position up to which the agent knows the journal."""
        connection, waits, self._waits = self._connection, self._waits, True
        if connection is not None and waits:
            await self._wait(connection)
        async with self._explained():
            connection = await self._connected()
            if time.monotonic() < self._quiet_until:
                raise TimeoutError("it has moved, and until all agents of the site know that none of them speaks")
            said = await self._talk(connection)
            leads = await self._lead(connection)
            position = await _value(connection, "SELECT max(position) FROM journal")
            return Beat(lineage=self._lineage, leads=leads, news=position != seen, said=said)

    async def _wait(self, connection: psycopg.AsyncConnection) -> None:
        """Until somebody says something, here or there, or a beat is over."""
        listening = asyncio.create_task(_heard(connection))
        waking = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait((listening, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waking.cancel()
            listening.cancel()
            await asyncio.gather(listening, waking, return_exceptions=True)
        self._wake.clear()

    async def _talk(self, connection: psycopg.AsyncConnection) -> tuple[str, ...]:
        """Says what is to be said; what others said."""
        if self._saying:
            saying, self._saying = self._saying, []
            async with connection.cursor() as cursor:
                await cursor.executemany(_SAY, [(self._me, words) for words in saying])
            await connection.execute("SELECT pg_notify(%s, '')", (CHANNEL,))
        found = await (await connection.execute(_SAID, (self._highest - _OVERLAP, self._me))).fetchall()
        news = [(id, words) for id, words in found if id not in self._heard]
        self._heard.extend(id for id, _ in news)
        self._highest = max([self._highest, *(id for id, _ in found)])
        return tuple(words for _, words in news)

    async def _lead(self, connection: psycopg.AsyncConnection) -> bool:
        """Takes or renews the lease, once a beat. It falls to whoever gets a lock that the server takes from the dead
        at once; and to another, when who has that lock stands still."""
        now = time.monotonic()
        if now - self._asked >= BEAT / 2:
            self._asked = now
            if not self._first:
                self._first = bool(await _value(connection, "SELECT pg_try_advisory_lock(%s)", (_FIRST,)))
            holder = await _value(connection, _LEASE, {"me": self._me, "secs": LEASE, "first": self._first})
            self._leads_until = now + LEASE if holder == self._me else float("-inf")
            await connection.execute(_FORGET, (KEPT_SECONDS,))
        return now < self._leads_until

    # ── The connection ─────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """Whatever goes wrong costs the connection, and is a StorageError."""
        try:
            async with asyncio.timeout(PATIENCE):
                yield
        except (psycopg.Error, OSError, TimeoutError) as error:
            connection, self._connection = self._connection, None
            if connection is not None:
                with suppress(psycopg.Error, OSError):
                    await connection.close()
            why = str(error).strip().splitlines() or ["it does not answer"]
            raise StorageError(f"{self._name} cannot be reached: {why[0]}", hint=_HINT) from error

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None:
            self._connection = connection = await psycopg.AsyncConnection.connect(self._info, autocommit=True)
            self._first = False
            await connection.execute("SET synchronous_commit = off")  # of nothing that was promised
            await connection.execute(f"LISTEN {CHANNEL}")
            await self._join(connection)
        return self._connection

    async def _join(self, connection: psycopg.AsyncConnection) -> None:
        """Live from here on. Who is alone begins a lineage; who comes meanwhile waits for it."""
        await connection.execute("SELECT pg_advisory_lock(%s)", (_BEGINNING,))
        alone = await _value(connection, "SELECT pg_try_advisory_lock(%s)", (_LIVE,))
        place = str(await _value(connection, _PLACE))
        row = await (await connection.execute("SELECT id, place, incarnation, seq FROM lineage")).fetchone()
        if row is None or (alone and row[:2] != (self._lineage, place)):
            last = await (await connection.execute("SELECT incarnation, seq FROM site")).fetchone()
            row = (secrets.token_hex(13).upper(), place, *(last or (0, 0)))
            await connection.execute("DELETE FROM lineage")
            await connection.execute(
                "INSERT INTO lineage (one, id, place, incarnation, seq) VALUES (1, %s, %s, %s, %s)", row
            )
        await connection.execute("SELECT pg_advisory_lock_shared(%s)", (_LIVE,))
        if alone:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (_LIVE,))
        await connection.execute("SELECT pg_advisory_unlock(%s)", (_BEGINNING,))
        if self._lineage not in ("", str(row[0])):
            self._quiet_until = time.monotonic() + QUIET
        self._lineage, self._opened = str(row[0]), Cursor(row[2], row[3])


async def _heard(connection: psycopg.AsyncConnection) -> None:
    """Until one notification came, or a beat is over; a connection that broke is the next query's to find."""
    with suppress(psycopg.Error, OSError):
        async for _ in connection.notifies(timeout=BEAT, stop_after=1):
            pass


async def _value(connection: psycopg.AsyncConnection, query: LiteralString, values: Any = None) -> object:
    """The first column of the first row; None if there is none."""
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    return None if row is None else row[0]

"""Group commit: batches that wait while the database is busy go into one transaction together.

One thread owns the only connection. Each batch has a savepoint of its own, so that a conflict in one does not touch
the others; their callers hear of it after the COMMIT has returned, never before.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from sqlalchemy import Connection, NestedTransaction
from sqlalchemy.exc import DataError, DBAPIError

from intertie.model.storage import Batch, Committed, Seal, StorageError
from intertie.store import rows
from intertie.store.rules import settle, touched

T = TypeVar("T")

GROUP = 256
"""Batches in one transaction at most, so that nobody's commit waits for an endless one."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A batch on its way, and who waits for it."""

    batch: Batch
    seal: Seal
    done: Future[Committed] = field(default_factory=Future)
    outcome: Committed | None = None
    error: BaseException | None = None

    def resolve(self) -> None:
        if self.error is not None:
            self.done.set_exception(self.error)
        elif self.outcome is not None:
            self.done.set_result(self.outcome)


class _Savepoint:
    """One batch within the group's transaction. What its own work or values raise undoes it alone and goes to its
    caller; what else the database raises is everybody's and passes through."""

    def __init__(self, connection: Connection, waiting: Waiting) -> None:
        self._connection = connection
        self._waiting = waiting

    def __enter__(self) -> None:
        self._nested: NestedTransaction = self._connection.begin_nested()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None:
            self._nested.commit()
        elif isinstance(error, DBAPIError) and not isinstance(error, DataError):
            return False
        else:
            self._nested.rollback()
            self._waiting.error = error
        return True


def write_group(
    connection: Connection, group: Iterable[Waiting], head: rows.Head, site: str
) -> tuple[rows.Head, list[Waiting]]:
    """Writes what can be written of a group, inside the caller's transaction. The head after it, not yet set, and
    the batches that went in; the others have their error."""
    written = []
    for waiting in group:
        with _Savepoint(connection, waiting):
            held = rows.standing(connection, touched(waiting.batch))
            settled = settle(waiting.batch, held, head.last, site, waiting.seal)
            head = rows.write(connection, waiting.batch, settled, head)
            waiting.outcome = settled.committed
            written.append(waiting)
    return head, written


class Writer:
    """The thread, and the batches that wait for it. `name` is what errors call the store; `write` is called in the
    thread with the batches whose turn it is, and resolves each of them."""

    def __init__(self, name: str, write: Callable[[list[Waiting]], None]) -> None:
        self._name = name
        self._write = write
        self._waiting: deque[Waiting] = deque()
        self._thread: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """StorageError if it runs already."""
        if self._thread is not None:
            raise StorageError(f"{self._name} is open already")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    async def run(self, job: Callable[[], T]) -> T:
        """`job` in the thread, after what waits now. StorageError if the store is not open."""
        return await asyncio.wrap_future(self._running().submit(job))

    async def commit(self, batch: Batch, seal: Seal) -> Committed:
        """A caller that is cancelled meanwhile does not learn whether its batch was written."""
        thread = self._running()
        waiting = Waiting(batch, seal)
        self._waiting.append(waiting)
        thread.submit(self._write_waiting)
        return await asyncio.wrap_future(waiting.done)

    async def stop(self, last: Callable[[], None]) -> None:
        """Writes what is waiting, then calls `last` in the thread, and ends it. Stopping twice does no harm."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.wrap_future(thread.submit(last))
            thread.shutdown(wait=False)

    def _running(self) -> ThreadPoolExecutor:
        if self._thread is None:
            raise StorageError(f"{self._name} is not open")
        return self._thread

    def _write_waiting(self) -> None:
        group: list[Waiting] = []
        while self._waiting and len(group) < GROUP:
            waiting = self._waiting.popleft()
            if waiting.done.set_running_or_notify_cancel():
                group.append(waiting)
        try:
            if group:
                self._write(group)
        finally:
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_exception(StorageError(f"the writer of {self._name} stopped"))

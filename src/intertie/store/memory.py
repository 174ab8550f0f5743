"""A store without a disk, for federations inside one process and for the simulator.

The rules are those of every store (`store.rules`); what differs is that a `Disk` stands for the medium. Nothing here
waits, starts a thread or looks at a clock, so the same commits in the same order give the same state. A disk can be
made to fail the way real ones do: refuse writes, lose power around the moment of forcing, lose what was not forced,
be damaged, be lost, or be put back from a copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from intertie.model.records import Cursor, Record
from intertie.model.storage import Batch, Committed, Damaged, InUse, Seal, Snapshot, StorageError
from intertie.store.rules import Settled, Standing, advanced, settle, touched

K = TypeVar("K")
V = TypeVar("V")


class PowerLost(StorageError):
    """The process ended here. Only tests see it: a real caller would be gone as well."""


class Moment(Enum):
    """Where in a commit the power goes."""

    BEFORE_SYNC = "before the write was forced to disk: it is lost"
    AFTER_SYNC = "after it, and before the caller heard: it is kept"


@dataclass(slots=True)
class _Tables:
    records: dict[str, Record] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    acked: dict[str, Cursor] = field(default_factory=dict)
    local: dict[tuple[str, str], str] = field(default_factory=dict)
    last: Cursor = field(default_factory=Cursor)

    def apply(self, batch: Batch, settled: Settled) -> None:
        for id in settled.gone:
            del self.records[id]
        self.records.update(settled.puts)
        for peer, place in batch.cursors.items():
            _set(self.cursors, peer, None if place is None else advanced(self.cursors.get(peer), place))
        for peer, place in batch.acked.items():
            _set(self.acked, peer, place)
        for entry in batch.local:
            _set(self.local, (entry.space, entry.key), entry.value)
        self.last = settled.last

    def copy(self) -> _Tables:
        return _Tables(dict(self.records), dict(self.cursors), dict(self.acked), dict(self.local), self.last)


class Disk:
    """What outlives a store: forced writes, and the marker, which backups do not put back.

    Faults, to be set by tests and the simulator:

    - `failures`: that many commits to come fail with StorageError, as on a full disk; nothing of them is written;
    - `power_fails`: the next commit ends with PowerLost at that moment, and the store is dead;
    - `late`: commits return before they are forced (a lying disk); `sync` forces them, a crash loses them;
    - `damaged`: opening raises Damaged, saying this.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.power_fails: Moment | None = None
        self.late = False
        self.damaged = ""
        self.marker: Cursor | None = None
        self.holder: MemoryStore | None = None
        self._forced: _Tables | None = None
        self._unforced: list[tuple[Batch, Settled]] = []

    def sync(self) -> None:
        """Forces everything written so far."""
        for write in self._unforced:
            self._reach(*write)
        self._unforced.clear()

    def _reach(self, batch: Batch, settled: Settled) -> None:
        """A write is on the medium, whole."""
        (self._forced or self.format()).apply(batch, settled)
        self.marker = settled.last

    def write(self, batch: Batch, settled: Settled) -> None:
        self._unforced.append((batch, settled))

    def format(self) -> _Tables:
        self._forced = _Tables()
        return self._forced

    def lose_power(self, reached: float = 0.0) -> None:
        """What was not forced is gone; whoever had the store open is dead.

        Disks also write what nobody forced: that many of the unforced writes had `reached` the medium, in order. Of
        2.5 the third is torn; a write counts when it is whole, so opening finds two.
        """
        for write in self._unforced[: int(reached)]:
            self._reach(*write)
        self._unforced.clear()
        self.holder = None

    def lose(self) -> None:
        """The database is gone for ever; the marker is still there."""
        self.lose_power()
        self._forced = None

    def backup(self) -> Disk:
        """A copy of what is forced, and of the marker: for `put_back`, or as the disk of a clone."""
        copy = Disk()
        copy._forced = None if self._forced is None else self._forced.copy()
        copy.marker = self.marker
        return copy

    def put_back(self, backup: Disk) -> None:
        """An operator restores an older copy of the database; the marker stays."""
        self.lose_power()
        self._forced = None if backup._forced is None else backup._forced.copy()

    def put_back_whole(self, backup: Disk) -> None:
        """An operator restores an older copy of everything: the marker as well, so that nothing here tells of it."""
        self.put_back(backup)
        self.marker = backup.marker

    def records(self) -> Mapping[str, Record]:
        """The records that are forced, by id."""
        return {} if self._forced is None else self._forced.records

    def read(self) -> _Tables | None:
        """A working copy of what is forced; None: never formatted, or lost."""
        return None if self._forced is None else self._forced.copy()


class MemoryStore:
    """Implements the agent's port `Store` on a `Disk`; same meaning and errors as `store.sqlite.SqliteStore`."""

    def __init__(self, *, site: str, disk: Disk | None = None) -> None:
        self.disk = disk or Disk()
        self._site = site
        self._tables: _Tables | None = None

    async def open(self, incarnation_at_least: int = 0) -> Snapshot:
        disk = self.disk
        if disk.holder is self:
            raise StorageError("the store is open already")
        if disk.holder is not None:
            raise InUse("the store cannot be used: another one has the disk open")
        if disk.damaged:
            raise Damaged(f"the store cannot be used: {disk.damaged}")
        held = disk.read()
        fresh = held is None
        tables = held or disk.format().copy()
        reached = disk.marker
        behind = reached if reached is not None and reached > tables.last else None
        incarnation = max(tables.last.incarnation, incarnation_at_least)
        if fresh or behind:
            incarnation = max(incarnation, reached.incarnation if reached else 0) + 1
        tables.last = Cursor(incarnation, tables.last.seq)
        disk.write(Batch(), Settled(Committed(), tables.last))
        disk.sync()
        disk.holder, self._tables = self, tables
        return _snapshot(tables, fresh, behind)

    async def commit(self, batch: Batch, seal: Seal) -> Committed:
        tables = self._open_tables()
        held = {id: Standing.of(tables.records[id]) for id in touched(batch) if id in tables.records}
        settled = settle(batch, held, tables.last, self._site, seal)
        if self.disk.failures:
            self.disk.failures -= 1
            raise StorageError(
                "the store cannot be written: the disk is full",
                hint="nothing of the change was kept; see to the disk, then try again",
            )
        self._force(batch, settled)
        tables.apply(batch, settled)
        return settled.committed

    async def close(self) -> None:
        """A clean end: whatever is written gets forced."""
        if self._tables is not None and self.disk.holder is self:
            self.disk.sync()
            self.disk.holder = None
        self._tables = None

    def crash(self) -> MemoryStore:
        """The power goes; the store, not yet opened, as it is found afterwards."""
        self.disk.lose_power()
        self._tables = None
        return MemoryStore(site=self._site, disk=self.disk)

    def _open_tables(self) -> _Tables:
        if self._tables is None or self.disk.holder is not self:
            raise StorageError("the store is not open")
        return self._tables

    def _force(self, batch: Batch, settled: Settled) -> None:
        moment, self.disk.power_fails = self.disk.power_fails, None
        if moment is Moment.BEFORE_SYNC:
            self.crash()
            raise PowerLost(moment.value)
        self.disk.write(batch, settled)
        if not self.disk.late:
            self.disk.sync()
        if moment is Moment.AFTER_SYNC:
            self.crash()
            raise PowerLost(moment.value)


def _snapshot(tables: _Tables, fresh: bool, behind: Cursor | None) -> Snapshot:
    local: dict[str, dict[str, str]] = {}
    for (space, key), value in sorted(tables.local.items()):
        local.setdefault(space, {})[key] = value
    return Snapshot(
        records=tuple(tables.records[id] for id in sorted(tables.records)),
        cursors=dict(tables.cursors),
        acked=dict(tables.acked),
        local=local,
        incarnation=tables.last.incarnation,
        seq=tables.last.seq,
        fresh=fresh,
        behind=behind,
    )


def _set(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value

"""Reading and writing the tables, on a connection that is inside a transaction. Portable SQL only.

Replacing is deleting and inserting: every database spells "insert or update" its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, cast

from sqlalchemy import Connection, Table, and_, bindparam, delete, insert, select, tuple_, update

from intertie.model.errors import IntertieError
from intertie.model.records import Cursor, Order, Record
from intertie.model.storage import Batch, Damaged, LocalEntry
from intertie.store import schema
from intertie.store.rules import Settled, Standing, advanced

Decode = Callable[[bytes, bytes], Record]
Value = str | int | bytes
T = TypeVar("T")
READ = "read"
ACKED = "acked"
_CHUNK = 500
"""Ids in one statement; SQLite takes 32,766 parameters, PostgreSQL 65,535."""

_of_ids = schema.records.c.id.in_(bindparam("ids", expanding=True))
_standing = select(
    schema.records.c.id,
    schema.records.c.epoch,
    schema.records.c.adopter,
    schema.records.c.incarnation,
    schema.records.c.seq,
    schema.records.c.digest,
).where(_of_ids)
_delete_records = delete(schema.records).where(_of_ids).returning(schema.records.c.checksum)
_of_peers = and_(
    schema.cursors.c.direction == bindparam("direction"),
    schema.cursors.c.peer.in_(bindparam("peers", expanding=True)),
)
_cursors = select(schema.cursors.c.peer, schema.cursors.c.incarnation, schema.cursors.c.seq).where(_of_peers)
_delete_cursors = delete(schema.cursors).where(_of_peers).returning(schema.cursors.c.checksum)
_of_keys = tuple_(schema.local.c.space, schema.local.c.key).in_(bindparam("keys", expanding=True))
_delete_local = delete(schema.local).where(_of_keys).returning(schema.local.c.checksum)


@dataclass(frozen=True, slots=True)
class Head:
    """The site's own row: the last place given, and the total of the checksums."""

    last: Cursor
    total: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    records: tuple[Record, ...]
    cursors: dict[str, Cursor]
    acked: dict[str, Cursor]
    local: dict[str, dict[str, str]]


# ── The site's own row ─────────────────────────────────────────────────────────────────────────────────────


def make_head(connection: Connection, name: str) -> None:
    connection.execute(insert(schema.site).values(_head_row(name, Head(Cursor()))))


def head(connection: Connection) -> Head:
    """Several agents on one database take turns at this row."""
    columns = schema.site.c
    row = connection.execute(select(columns.incarnation, columns.seq, columns.total).with_for_update()).one()
    return Head(Cursor(row.incarnation, row.seq), int.from_bytes(row.total, "big"))


def set_head(connection: Connection, name: str, head: Head) -> None:
    connection.execute(update(schema.site).values(_head_row(name, head)))


def _head_row(name: str, head: Head) -> dict[str, Value]:
    total = head.total.to_bytes(schema.TOTAL, "big")
    return _summed(schema.site, (name, head.last.incarnation, head.last.seq, total))


# ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────


def standing(connection: Connection, ids: Iterable[str]) -> dict[str, Standing]:
    """What stands of `ids`; absent ones are left out."""
    found: dict[str, Standing] = {}
    for chunk in _chunks(ids):
        for row in connection.execute(_standing, {"ids": chunk}):
            found[row.id] = Standing(Order(row.epoch, row.adopter, row.incarnation, row.seq), row.digest)
    return found


def write(connection: Connection, batch: Batch, settled: Settled, before: Head) -> Head:
    """Writes what was settled; the head that is then to be set."""
    leave: list[bytes] = []
    come: list[bytes] = []
    for chunk in _chunks(settled.gone):
        leave += connection.scalars(_delete_records, {"ids": chunk})
    if settled.puts:
        come += _insert(connection, schema.records, [_record_row(r) for r in settled.puts.values()])
    for direction, told in ((READ, batch.cursors), (ACKED, batch.acked)):
        if told:
            now = _advanced(connection, told) if direction == READ else told
            leave += connection.scalars(_delete_cursors, {"direction": direction, "peers": list(now)})
            rows = [(direction, p, c.incarnation, c.seq) for p, c in now.items() if c is not None]
            come += _insert(connection, schema.cursors, [_summed(schema.cursors, row) for row in rows])
    if batch.local:
        latest = {(e.space, e.key): e.value for e in batch.local}
        for pairs in _chunks(latest):
            leave += connection.scalars(_delete_local, {"keys": pairs})
        rows_of_local = [_summed(schema.local, (*at, value)) for at, value in latest.items() if value is not None]
        come += _insert(connection, schema.local, rows_of_local)
    return Head(settled.last, (before.total + schema.total(come) - schema.total(leave)) % schema.MODULUS)


def _insert(connection: Connection, table: Table, rows: list[dict[str, Value]]) -> list[bytes]:
    """The checksums that came in."""
    if rows:
        connection.execute(insert(table), rows)
    return [cast(bytes, row["checksum"]) for row in rows]


def _chunks(values: Iterable[T]) -> Iterator[list[T]]:
    remaining = iter(values)
    while chunk := list(islice(remaining, _CHUNK)):
        yield chunk


def _record_row(record: Record) -> dict[str, Value]:
    header, order = record.header, record.order
    return _summed(
        schema.records,
        (
            header.id,
            header.kind.value,
            header.home,
            order.epoch,
            order.adopter,
            order.incarnation,
            order.seq,
            header.state.value,
            record.digest,
            record.raw,
            record.signature,
        ),
    )


def _advanced(connection: Connection, told: Mapping[str, Cursor | None]) -> dict[str, Cursor | None]:
    found = connection.execute(_cursors, {"direction": READ, "peers": list(told)})
    held = {row.peer: Cursor(row.incarnation, row.seq) for row in found}
    return {p: None if new is None else advanced(held.get(p), new) for p, new in told.items()}


def _summed(table: Table, values: tuple[Value, ...]) -> dict[str, Value]:
    named = {column.name: value for column, value in zip(schema.summed(table), values, strict=True)}
    return {**named, "checksum": schema.checksum(values)}


# ── Reading everything ─────────────────────────────────────────────────────────────────────────────────────


def load(connection: Connection, site: str, decode: Decode) -> tuple[Loaded, Cursor]:
    """Everything, each row held against its checksum; and the last place given. Damaged names the row."""
    owners = schema.checked(connection, schema.site)
    if len(owners) != 1:
        raise Damaged(f"its table site has {len(owners)} rows in place of one")
    name, incarnation, seq, _ = owners[0]
    if name != site:
        raise Damaged(f"it is the store of site {name}, not of {site}")
    schema.check_total(connection)
    by_direction: dict[str, dict[str, Cursor]] = {READ: {}, ACKED: {}}
    for direction, peer, its_incarnation, its_seq in schema.checked(connection, schema.cursors):
        by_direction[direction][peer] = Cursor(its_incarnation, its_seq)
    local: dict[str, dict[str, str]] = {}
    for space, key, value in schema.checked(connection, schema.local):
        local.setdefault(space, {})[key] = value
    found = sorted((row[0], *row[-2:]) for row in schema.checked(connection, schema.records))
    decoded = tuple(_decoded(decode, id, raw, signature) for id, raw, signature in found)
    return Loaded(decoded, by_direction[READ], by_direction[ACKED], local), Cursor(incarnation, seq)


def some_records(connection: Connection, decode: Decode, ids: Iterable[str]) -> list[Record]:
    """Those of `ids` that are there. Damaged as in `load`."""
    found: list[Record] = []
    for chunk in _chunks(ids):
        for row in schema.checked(connection, schema.records, schema.records.c.id.in_(chunk)):
            found.append(_decoded(decode, row[0], *row[-2:]))
    return found


def some_cursors(connection: Connection, direction: str, peers: Iterable[str]) -> dict[str, Cursor | None]:
    """peer → its cursor; None: there is none."""
    found: dict[str, Cursor | None] = dict.fromkeys(peers)
    columns = schema.cursors.c
    for chunk in _chunks(list(found)):
        these = columns.direction == direction, columns.peer.in_(chunk)
        for _, peer, incarnation, seq in schema.checked(connection, schema.cursors, *these):
            found[peer] = Cursor(incarnation, seq)
    return found


def some_local(connection: Connection, keys: Iterable[tuple[str, str]]) -> list[LocalEntry]:
    """The values of these (space, key); None where there is none."""
    found: dict[tuple[str, str], str | None] = dict.fromkeys(keys)
    columns = schema.local.c
    for chunk in _chunks(list(found)):
        these = tuple_(columns.space, columns.key).in_(chunk)
        for space, key, value in schema.checked(connection, schema.local, these):
            found[space, key] = value
    return [LocalEntry(space, key, value) for (space, key), value in found.items()]


def _decoded(decode: Decode, id: str, raw: bytes, signature: bytes) -> Record:
    try:
        return decode(raw, signature)
    except (IntertieError, ValueError, TypeError, KeyError) as error:
        # The checksum holds, so the bytes are as they were written: another version wrote what this one cannot read.
        raise Damaged(f"this version cannot read its record {id}: {error}") from error

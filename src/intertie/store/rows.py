"""Reading and writing the tables, on a connection that is inside a transaction. Portable SQL only.

Replacing is deleting and inserting: every database spells "insert or update" its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, tuple_, update

from intertie.model.errors import IntertieError
from intertie.model.records import Cursor, Order, Record
from intertie.model.storage import Batch, Damaged, LocalEntry
from intertie.store import schema
from intertie.store.rules import Settled, Standing, advanced

Decode = Callable[[bytes, bytes], Record]
Value = str | int | bytes
READ = "read"
ACKED = "acked"
_CHUNK = 500
"""Ids in one statement; SQLite takes 32,766 parameters, PostgreSQL 65,535."""

_delete_record = delete(schema.records).where(schema.records.c.id == bindparam("old_id"))
_standing = select(
    schema.records.c.id,
    schema.records.c.epoch,
    schema.records.c.adopter,
    schema.records.c.incarnation,
    schema.records.c.seq,
    schema.records.c.digest,
).where(schema.records.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Loaded:
    records: tuple[Record, ...]
    cursors: dict[str, Cursor]
    acked: dict[str, Cursor]
    local: dict[str, dict[str, str]]


# ── The site's own row ─────────────────────────────────────────────────────────────────────────────────────


def make_site(connection: Connection, name: str, last: Cursor) -> None:
    connection.execute(insert(schema.site).values(_summed(schema.site, (name, last.incarnation, last.seq))))


def last_place(connection: Connection) -> Cursor:
    """The last place given. Several agents on one database take turns at this row."""
    row = connection.execute(select(schema.site.c.incarnation, schema.site.c.seq).with_for_update()).one()
    return Cursor(row.incarnation, row.seq)


def set_place(connection: Connection, name: str, last: Cursor) -> None:
    connection.execute(update(schema.site).values(_summed(schema.site, (name, last.incarnation, last.seq))))


# ── Writing ────────────────────────────────────────────────────────────────────────────────────────────────


def standing(connection: Connection, ids: Iterable[str]) -> dict[str, Standing]:
    """What stands of `ids`; absent ones are left out."""
    found: dict[str, Standing] = {}
    remaining = iter(ids)
    while chunk := list(islice(remaining, _CHUNK)):
        for row in connection.execute(_standing, {"ids": chunk}):
            found[row.id] = Standing(Order(row.epoch, row.adopter, row.incarnation, row.seq), row.digest)
    return found


def write(connection: Connection, batch: Batch, settled: Settled) -> None:
    if settled.gone:
        connection.execute(_delete_record, [{"old_id": id} for id in settled.gone])
    if settled.puts:
        rows = [_record_row(record) for record in settled.puts.values()]
        connection.execute(insert(schema.records), rows)
    if batch.cursors:
        _write_cursors(connection, READ, _advanced(connection, batch.cursors))
    if batch.acked:
        _write_cursors(connection, ACKED, batch.acked)
    if batch.local:
        _write_local(connection, batch.local)


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
    table = schema.cursors
    query = select(table.c.peer, table.c.incarnation, table.c.seq)
    query = query.where(table.c.direction == READ, table.c.peer.in_(list(told)))
    held = {row.peer: Cursor(row.incarnation, row.seq) for row in connection.execute(query)}
    return {p: None if new is None else advanced(held.get(p), new) for p, new in told.items()}


def _write_cursors(connection: Connection, direction: str, told: Mapping[str, Cursor | None]) -> None:
    table = schema.cursors
    connection.execute(delete(table).where(table.c.direction == direction, table.c.peer.in_(list(told))))
    rows = [_summed(table, (direction, p, c.incarnation, c.seq)) for p, c in told.items() if c is not None]
    if rows:
        connection.execute(insert(table), rows)


def _write_local(connection: Connection, entries: tuple[LocalEntry, ...]) -> None:
    table = schema.local
    latest = {(e.space, e.key): e.value for e in entries}
    connection.execute(delete(table).where(tuple_(table.c.space, table.c.key).in_(list(latest))))
    rows = [_summed(table, (space, key, value)) for (space, key), value in latest.items() if value is not None]
    if rows:
        connection.execute(insert(table), rows)


def _summed(table: Table, values: tuple[Value, ...]) -> dict[str, Value]:
    named = {column.name: value for column, value in zip(schema.summed(table), values, strict=True)}
    return {**named, "checksum": schema.checksum(values)}


# ── Reading everything ─────────────────────────────────────────────────────────────────────────────────────


def load(connection: Connection, site: str, decode: Decode) -> tuple[Loaded, Cursor]:
    """Everything, each row held against its checksum; and the last place given. Damaged names the row."""
    owners = schema.checked(connection, schema.site)
    if len(owners) != 1:
        raise Damaged(f"its table site has {len(owners)} rows in place of one")
    name, incarnation, seq = owners[0]
    if name != site:
        raise Damaged(f"it is the store of site {name}, not of {site}")
    by_direction: dict[str, dict[str, Cursor]] = {READ: {}, ACKED: {}}
    for direction, peer, its_incarnation, its_seq in schema.checked(connection, schema.cursors):
        by_direction[direction][peer] = Cursor(its_incarnation, its_seq)
    local: dict[str, dict[str, str]] = {}
    for space, key, value in schema.checked(connection, schema.local):
        local.setdefault(space, {})[key] = value
    found = sorted((row[0], *row[-2:]) for row in schema.checked(connection, schema.records))
    decoded = tuple(_decoded(decode, id, raw, signature) for id, raw, signature in found)
    return Loaded(decoded, by_direction[READ], by_direction[ACKED], local), Cursor(incarnation, seq)


def _decoded(decode: Decode, id: str, raw: bytes, signature: bytes) -> Record:
    try:
        return decode(raw, signature)
    except (IntertieError, ValueError, TypeError, KeyError) as error:
        # The checksum holds, so the bytes are as they were written: another version wrote what this one cannot read.
        raise Damaged(f"this version cannot read its record {id}: {error}") from error

"""The tables, and the way from every earlier version of them (docs/decisions/0002-store-migrations.md).

Plain SQL types only, so that the same tables serve SQLite and PostgreSQL. Each row carries a checksum over all its
other columns: databases notice a broken page by its structure, not a flipped bit within a value. The total of all
checksums, kept in the table `site`, tells of rows that are whole but do not belong here: an old page that came back
because a write was lost, or a database and a log that are not of the same time.

To change the schema: alter the tables below (new columns go last), raise VERSION, append to MIGRATIONS the function
that brings a database of the version before to the new one, and keep a dump of the new version as
`tests/contract/store_vN.sql`. A migration that touches a table with checksums ends with `sum_again`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    insert,
    inspect,
    select,
    update,
)

from intertie.model.storage import Damaged, TooNew

VERSION = 1

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

site = Table(
    "site",
    metadata,
    Column("name", Text, primary_key=True),
    Column("incarnation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("total", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)
"""One row: whose store this is, the last place in the order that was given, and the total of the other tables."""

records = Table(
    "records",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("home", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("adopter", Text, nullable=False),
    Column("incarnation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Index("records_by_home", "home", "incarnation", "seq"),
)
"""The standing versions. `raw` is what the home signed, to the octet; the columns before it repeat its header."""

cursors = Table(
    "cursors",
    metadata,
    Column("direction", Text, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("incarnation", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)
"""direction `read`: how far this site has read the peer; `acked`: how far the peer has read this site."""

local = Table(
    "local",
    metadata,
    Column("space", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
)

Migration = Callable[[Connection], None]

MIGRATIONS: tuple[Migration, ...] = ()
"""MIGRATIONS[n - 1] brings a database of version n to n + 1, inside the transaction that it is given."""


def checksum(values: Sequence[object]) -> bytes:
    """16 octets over the values of a row, checksum left out. Any type: a flipped bit may change a column's type."""
    hashed = blake2b(digest_size=16)
    for value in values:
        octets = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        hashed.update(b"%d:" % len(octets))
        hashed.update(octets)
    return hashed.digest()


def summed(table: Table) -> list[Column[Any]]:
    """The columns that the checksum covers, in their order."""
    return [column for column in table.columns if column.name != "checksum"]


def checked(connection: Connection, table: Table, *where: ColumnElement[bool]) -> list[tuple[Any, ...]]:
    """The rows of `table`, by its columns in `summed`. Damaged names the first one whose checksum does not hold."""
    rows: list[tuple[Any, ...]] = []
    columns = summed(table)
    types = [column.type.python_type for column in columns]
    for kept, *values in connection.execute(select(table.c.checksum, *columns).where(*where)):
        # One bit makes a text of octets in SQLite, with the same checksum.
        if checksum(values) != kept or not all(map(isinstance, values, types)):
            raise Damaged(f"a row of its table {table.name} ({str(values[0])[:80]!r}) is not what was written")
        rows.append(tuple(values))
    return rows


TOTAL = 16
"""Octets of the total: the sum of the checksums, as whole numbers, without what overflows."""
MODULUS: int = 2 ** (8 * TOTAL)


def total(checksums: Iterable[bytes]) -> int:
    return sum(int.from_bytes(one, "big") for one in checksums) % MODULUS


def check_total(connection: Connection, of: MetaData = metadata) -> None:
    """Damaged if rows are missing, or there that were replaced or deleted."""
    if _total_kept(connection, of) != _total_found(connection, of):
        raise Damaged("rows are missing from it, or old ones have come back: parts of it are of different times")


def _total_kept(connection: Connection, of: MetaData) -> int:
    kept: bytes = connection.scalars(select(of.tables[site.name].c.total)).one()
    return int.from_bytes(kept, "big")


def _total_found(connection: Connection, of: MetaData) -> int:
    """The table `site` is not in it: it holds the total."""
    tables = [t for t in of.tables.values() if "checksum" in t.columns and t.name != site.name]
    found = (one for table in tables for one in connection.scalars(select(table.c.checksum)))
    return total(one for one in found if isinstance(one, bytes))


def sum_again(connection: Connection, name: str) -> None:
    """For migrations: the table's rows have changed, and are right as they are now."""
    table = Table(name, MetaData(), autoload_with=connection)
    columns = summed(table)
    keys = list(table.primary_key.columns)
    for row in connection.execute(select(*columns)).all():
        this = [key == row._mapping[key.name] for key in keys]
        connection.execute(update(table).where(*this).values(checksum=checksum(tuple(row))))


def bring_up(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS, version: int = VERSION) -> bool:
    """Makes the tables, or brings them up to `version`; whether they were made. All in the caller's transaction.

    Raises TooNew for a database of a later Intertie, Damaged for one that is not Intertie's at all.
    """
    present = set(inspect(connection).get_table_names())
    if not present:
        metadata.create_all(connection)
        connection.execute(insert(schema_version).values(version=version))
        return True
    found = _version(connection) if schema_version.name in present else None
    if found is None:
        raise Damaged(f"it holds other tables ({', '.join(sorted(present)[:3])}): not a store of Intertie's")
    if found > version:
        raise _too_new(found, version)
    if found < version:
        _check_everything(connection)
        for migrate in migrations[found - 1 : version - 1]:
            migrate(connection)
        _sum_total(connection)
        connection.execute(update(schema_version).values(version=version))
    return False


def look(connection: Connection) -> int:
    """The version of the tables, each row held against its checksum; nothing is brought up. TooNew or Damaged."""
    present = set(inspect(connection).get_table_names())
    found = _version(connection) if schema_version.name in present else None
    if found is None:
        raise Damaged("it is not a store of Intertie's")
    if found > VERSION:
        raise _too_new(found, VERSION)
    _check_everything(connection)
    return found


def _too_new(found: int, version: int) -> TooNew:
    return TooNew(
        f"it has schema version {found}, this Intertie knows up to {version}",
        hint="start the version of Intertie that last ran here, or a later one; "
        "to go back, restore the backup from before the upgrade: intertie restore FILE --replace",
    )


def _check_everything(connection: Connection) -> None:
    """Before a migration sums rows again, and would pass what was damaged for what was written."""
    found = _reflected(connection)
    for table in found.tables.values():
        if "checksum" in table.columns:
            checked(connection, table)
    check_total(connection, found)


def _sum_total(connection: Connection) -> None:
    """After migrations, which need not know of the total."""
    now = _total_found(connection, _reflected(connection)).to_bytes(TOTAL, "big")
    connection.execute(update(site).values(total=now))
    sum_again(connection, site.name)


def _reflected(connection: Connection) -> MetaData:
    found = MetaData()
    found.reflect(connection)
    return found


def _version(connection: Connection) -> int | None:
    rows = connection.execute(select(schema_version.c.version)).all()
    if len(rows) != 1 or not isinstance(rows[0].version, int) or rows[0].version < 1:
        return None
    return rows[0].version

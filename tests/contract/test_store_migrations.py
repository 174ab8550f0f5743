"""Databases of every earlier schema version still open, and those of later ones are refused with words.

`store_vN.sql` is a dump of a store as version N made it; it is never changed again. Write the one of a new version
with `python tests/contract/test_store_migrations.py`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, MetaData, Text, inspect, text

from intertie.model.codec import decode
from intertie.model.records import Cursor, Order, State
from intertie.model.storage import Batch, Damaged, LocalEntry, Snapshot, TooNew
from intertie.store import schema
from intertie.store.rows import load
from intertie.store.sqlite import SqliteStore, engine_for
from intertie.testing.store_samples import SITE, at, draft, foreign, seal

HERE = Path(__file__).parent


def dump(version: int) -> Path:
    return HERE / f"store_v{version}.sql"


def restore(version: int, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump(version).read_text())


async def opened(path: Path) -> Snapshot:
    store = SqliteStore(path, site=SITE, decode=decode)
    found = await store.open(0)
    await store.close()
    return found


SAMPLE = (
    Batch(drafts=(draft("a", "first"), draft("b", "Grüße")), incarnation_at_least=3),
    Batch(drafts=(draft("a", "second", base=at(1, 3)), draft("gone", state=State.WITHDRAWN))),
    Batch(
        peers=(foreign("x", at(7, 2), "theirs"), foreign("a", Order(1, "lyon", 2, 8), "adopted", home=SITE)),
        cursors={"lyon": Cursor(2, 8), "rennes": Cursor(1, 1)},
        acked={"lyon": Cursor(3, 4)},
        local=(LocalEntry("tokens", "t", "hash"), LocalEntry("settings", "ü", "line\nline")),
    ),
)


async def write_sample(path: Path) -> None:
    store = SqliteStore(path, site=SITE, decode=decode)
    await store.open(0)
    for batch in SAMPLE:
        await store.commit(batch, seal)
    await store.close()


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
async def test_a_store_of_every_version_opens(tmp_path: Path, version: int) -> None:
    restore(version, tmp_path / "old.db")
    found = await opened(tmp_path / "old.db")
    assert [(r.id, r.home, r.order, r.header.state) for r in found.records] == [
        ("lyon.x", "lyon", at(7, 2), State.LIVE),
        ("nantes.a", "lyon", Order(1, "lyon", 2, 8), State.LIVE),
        ("nantes.b", SITE, at(2, 3), State.LIVE),
        ("nantes.gone", SITE, at(4, 3), State.WITHDRAWN),
    ]
    assert found.records[2].body.root == "Grüße"
    assert found.cursors == {"lyon": Cursor(2, 8), "rennes": Cursor(1, 1)}
    assert found.acked == {"lyon": Cursor(3, 4)}
    assert found.local == {"tokens": {"t": "hash"}, "settings": {"ü": "line\nline"}}
    assert (found.incarnation, found.seq, found.fresh) == (3, 4, False)


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
async def test_an_old_store_gets_the_tables_of_a_new_one(tmp_path: Path, version: int) -> None:
    restore(version, tmp_path / "old.db")
    await opened(tmp_path / "old.db")
    await write_sample(tmp_path / "new.db")
    assert described(tmp_path / "old.db") == described(tmp_path / "new.db")


def described(path: Path) -> dict[str, object]:
    engine = engine_for(path)
    with engine.connect() as connection:
        looked = inspect(connection)
        found: dict[str, object] = {
            table: (
                [(c["name"], str(c["type"]), c["nullable"]) for c in looked.get_columns(table)],
                looked.get_pk_constraint(table)["constrained_columns"],
                looked.get_indexes(table),
            )
            for table in looked.get_table_names()
        }
        found["version"] = connection.execute(text("SELECT version FROM schema_version")).scalar_one()
    engine.dispose()
    return found


def test_every_version_has_its_dump_and_its_migration() -> None:
    assert len(schema.MIGRATIONS) == schema.VERSION - 1
    assert all(dump(version).exists() for version in range(1, schema.VERSION + 1))


async def test_a_store_of_a_later_version_is_refused_and_untouched(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await write_sample(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE schema_version SET version = 99")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(TooNew, match=r"schema version 99.*up to 1") as caught:
        await opened(path)
    assert "later one" in caught.value.hint
    assert path.read_bytes() == before


# ── How a migration goes, on an invented version 2 ─────────────────────────────────────────────────────────


def add_note(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE local ADD COLUMN note TEXT NOT NULL DEFAULT 'none'"))
    schema.sum_again(connection, "local")


def fail(connection: Connection) -> None:
    add_note(connection)
    raise RuntimeError("half way")


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Connection]:
    restore(1, tmp_path / "old.db")
    engine = engine_for(tmp_path / "old.db")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_migration_alters_the_table_and_sums_its_rows_again(old: Connection) -> None:
    with old.begin():
        assert not schema.bring_up(old, (add_note,), 2)
    with old.begin():
        assert old.execute(text("SELECT version FROM schema_version")).scalar_one() == 2
        later = schema.metadata.tables["local"].to_metadata(MetaData())
        later.append_column(Column("note", Text, nullable=False))
        assert [row[1:] for row in schema.checked(old, later)] == [
            ("t", "hash", "none"),
            ("ü", "line\nline", "none"),
        ]
        assert not schema.bring_up(old, (add_note,), 2)
        schema.check_total(old)


def test_a_migration_that_fails_leaves_the_old_version(old: Connection) -> None:
    with pytest.raises(RuntimeError), old.begin():
        schema.bring_up(old, (fail,), 2)
    with old.begin():
        assert old.execute(text("SELECT version FROM schema_version")).scalar_one() == 1
        loaded, last = load(old, SITE, decode)
        assert (len(loaded.records), last) == (4, Cursor(3, 4))


def test_damage_is_noticed_before_a_migration_could_hide_it(old: Connection) -> None:
    with old.begin():
        old.execute(text("UPDATE local SET value = 'other'"))
    with pytest.raises(Damaged, match="table local"), old.begin():
        schema.bring_up(old, (add_note,), 2)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(write_sample(Path(directory) / "store.db"))
        with closing(sqlite3.connect(Path(directory) / "store.db")) as made:
            dump(schema.VERSION).write_text("\n".join(made.iterdump()) + "\n")

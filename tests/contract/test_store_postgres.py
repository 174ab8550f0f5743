"""The PostgreSQL store: the contract, what concerns the database, and what one agent alone can see of sharing it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import pytest

from intertie.model.codec import decode
from intertie.model.errors import Unavailable
from intertie.model.records import Cursor, Draft, Order, Record
from intertie.model.storage import Batch, Committed, Damaged, LocalEntry, StorageError
from intertie.store.postgres import PostgresStore
from intertie.testing.postgres_rig import PostgresRig
from intertie.testing.postgres_server import PostgresServer
from intertie.testing.store_samples import SITE, at, draft, foreign, seal
from intertie.testing.store_suite import Rig, StoreContract, reopened


@pytest.fixture
def rig(postgres: PostgresServer, tmp_path: Path) -> Iterator[PostgresRig]:
    rig = PostgresRig(postgres, tmp_path)
    yield rig
    rig.close()


class TestPostgresStore(StoreContract):
    async def test_a_second_store_on_the_same_medium_is_refused(self, rig: Rig) -> None:
        """The one point in which this store differs: a second one is welcome, and hears of the first."""
        store, second = rig.store(), rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        found = await second.open(0)
        with pytest.raises(Unavailable):
            await store.open(0)
        await store.close()
        await second.commit(Batch(drafts=(draft("b"),)), seal)
        await second.close()
        assert [r.id for r in found.records] == ["nantes.a"]


async def test_batches_that_wait_together_are_forced_together(rig: PostgresRig) -> None:
    held, free = threading.Event(), threading.Event()

    def slow(draft: Draft, order: Order) -> Record:
        held.set()
        assert free.wait(30)
        return seal(draft, order)

    store = rig.store()
    await store.open(0)
    first = asyncio.ensure_future(store.commit(Batch(drafts=(draft("first"),)), slow))
    await asyncio.to_thread(held.wait, 30)
    others = [asyncio.ensure_future(store.commit(Batch(drafts=(draft(f"n{n}"),)), seal)) for n in range(100)]
    await asyncio.sleep(0)
    free.set()
    assert {type(o) for o in await asyncio.gather(first, *others)} == {Committed}
    await store.close()
    positions = rig.server.do("SELECT count(*) FROM journal WHERE position > 0", database=rig.database)
    assert positions == [(2,)]


async def test_a_value_that_cannot_be_stored_undoes_its_own_batch_only(rig: PostgresRig) -> None:
    store = rig.store()
    await store.open(0)
    unwritable = [Batch(drafts=(draft(f"b{n}"),), local=(LocalEntry("s", "k", v),)) for n, v in enumerate("\ud800\0")]
    outcomes = await asyncio.gather(
        *(store.commit(b, seal) for b in (Batch(drafts=(draft("a"),)), *unwritable, Batch(drafts=(draft("c"),)))),
        return_exceptions=True,
    )
    assert [isinstance(o, Committed) for o in outcomes] == [True, False, False, True]
    store, found = await reopened(rig, store)
    await store.close()
    assert [(r.id, r.order.seq) for r in found.records] == [("nantes.a", 1), ("nantes.c", 2)]
    assert found.local == {}


async def test_closing_writes_what_waits(rig: PostgresRig) -> None:
    store = rig.store()
    await store.open(0)
    waiting = [asyncio.ensure_future(store.commit(Batch(drafts=(draft(f"n{n}"),)), seal)) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert [(await w).written[0].order.seq for w in waiting] == list(range(1, 21))


async def test_no_server_is_named_and_no_password_shown(tmp_path: Path) -> None:
    url = f"postgresql://intertie:geheim@/there?host={tmp_path}"
    with pytest.raises(StorageError) as caught:
        await PostgresStore(url, site=SITE, decode=decode, marker=tmp_path / "marker").open(0)
    assert str(tmp_path) in caught.value.detail
    assert "geheim" not in caught.value.detail + caught.value.hint


def configure(server: PostgresServer, change: LiteralString, until: str) -> None:
    server.do(change, "SELECT pg_reload_conf()")
    for _ in range(1000):  # each look is a session of its own
        if server.do("SHOW fsync") == [(until,)]:
            return
    raise AssertionError(f"{change} has no effect")


async def test_a_server_that_forces_nothing_to_disk_is_refused(rig: PostgresRig) -> None:
    configure(rig.server, "ALTER SYSTEM SET fsync = off", "off")
    try:
        with pytest.raises(StorageError, match="fsync = off"):
            await rig.store().open(0)
    finally:
        configure(rig.server, "ALTER SYSTEM RESET fsync", "on")


async def test_a_role_that_asks_for_less_gets_its_commits_forced_all_the_same(rig: PostgresRig) -> None:
    rig.server.do("ALTER ROLE agent SET synchronous_commit = off")
    try:
        store = rig.shared()
        await store.open(0)
        asked = store._connect().exec_driver_sql("SHOW synchronous_commit").scalar()
        await store.close()
        assert asked == "on"
    finally:
        rig.server.do("ALTER ROLE agent RESET synchronous_commit")


# ── Damage ─────────────────────────────────────────────────────────────────────────────────────────────────


async def fill(rig: PostgresRig) -> None:
    store = rig.store()
    await store.open(0)
    for n in range(12):
        batch = Batch(
            drafts=(draft(f"n{n}", "x" * 200),),
            peers=(foreign(f"p{n}", at(n + 1), "y" * 300),),
            cursors={"lyon": Cursor(1, n + 1)},
            acked={"lyon": Cursor(1, n)},
            local=(LocalEntry("tokens", f"t{n}", "v" * 50),),
        )
        await store.commit(batch, seal)
    await store.close()


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("records", "UPDATE records SET raw = overlay(raw placing 'z' from 100) WHERE id = 'nantes.n3'"),
        ("records", "UPDATE records SET signature = '\\x00' WHERE id = 'nantes.n3'"),
        ("records", "UPDATE records SET seq = seq + 1 WHERE id = 'nantes.n3'"),
        ("records", "UPDATE records SET state = 'withdrawn' WHERE id = 'nantes.n3'"),
        ("cursors", "UPDATE cursors SET seq = seq + 1"),
        ("local", "UPDATE local SET value = 'other'"),
        ("site", "UPDATE site SET seq = seq - 1"),
    ],
)
async def test_a_changed_value_is_named(rig: PostgresRig, table: str, change: str) -> None:
    await fill(rig)
    rig.server.do(change, database=rig.database)
    with pytest.raises(Damaged) as caught:
        await rig.store().open(0)
    assert f"its table {table}" in caught.value.detail
    assert rig.database in caught.value.detail
    assert "restore it" in caught.value.hint


@pytest.mark.parametrize("table", ["records", "cursors", "local"])
async def test_a_missing_row_is_noticed(rig: PostgresRig, table: str) -> None:
    await fill(rig)
    statement = f"DELETE FROM {table} WHERE ctid = (SELECT max(ctid) FROM {table})"
    rig.server.do(statement, database=rig.database)
    with pytest.raises(Damaged, match="rows are missing"):
        await rig.store().open(0)


async def test_a_changed_row_is_not_taken_over_by_an_agent_that_runs(rig: PostgresRig) -> None:
    one, other = rig.shared("1"), rig.shared("2")
    await one.open(0)
    await other.open(0)
    await one.commit(Batch(drafts=(draft("a"),)), seal)
    rig.server.do("UPDATE records SET state = 'withdrawn'", database=rig.database)
    with pytest.raises(Damaged, match="its table records"):
        await other.catch_up()
    await one.close()
    await other.close()


async def test_somebody_elses_database_is_refused(rig: PostgresRig) -> None:
    rig.server.do("CREATE TABLE bookmarks (url text)", database=rig.database)
    with pytest.raises(Damaged, match="bookmarks"):
        await rig.store().open(0)


async def test_the_store_of_another_site_is_refused(rig: PostgresRig) -> None:
    await fill(rig)
    with pytest.raises(Damaged, match="store of site nantes, not of rennes"):
        await PostgresStore(rig.url, site="rennes", decode=decode, marker=rig.marker).open(0)


async def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(rig: PostgresRig) -> None:
    await fill(rig)
    rig.server.do("UPDATE schema_version SET version = 99", database=rig.database)
    with pytest.raises(StorageError, match="schema version 99"):
        await rig.store().open(0)
    assert rig.server.do("SELECT version FROM schema_version", database=rig.database) == [(99,)]

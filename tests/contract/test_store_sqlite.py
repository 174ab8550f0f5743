"""The SQLite store: the contract, and what concerns files, processes and threads."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import sys
import threading
from pathlib import Path

import pytest

from intertie.model.codec import decode
from intertie.model.errors import Conflict
from intertie.model.records import Cursor, Draft, Order, Record
from intertie.model.storage import Batch, Committed, InUse, LocalEntry, StorageError
from intertie.store.sqlite import SqliteStore
from intertie.testing.store_rigs import SqliteRig
from intertie.testing.store_samples import at, draft, seal
from intertie.testing.store_suite import StoreContract, reopened


@pytest.fixture
def rig(tmp_path: Path) -> SqliteRig:
    return SqliteRig(tmp_path)


class TestSqliteStore(StoreContract):
    pass


def transactions(log: Path) -> int:
    """Transactions in a log that was never restarted: frames that say so in their second word."""
    octets = log.read_bytes()
    (page,) = struct.unpack_from(">I", octets, 8)
    frames = range(32, len(octets), 24 + page)
    return sum(struct.unpack_from(">I", octets, start + 4)[0] > 0 for start in frames)


async def test_batches_that_wait_together_are_forced_together(rig: SqliteRig) -> None:
    """While the first batch holds the writer, others queue; they share a transaction, but not a conflict."""
    held, free = threading.Event(), threading.Event()

    def slow(draft: Draft, order: Order) -> Record:
        held.set()
        assert free.wait(30)
        return seal(draft, order)

    store = rig.store()
    await store.open(0)
    before = transactions(rig.log)
    first = asyncio.ensure_future(store.commit(Batch(drafts=(draft("first"),)), slow))
    await asyncio.to_thread(held.wait, 30)
    others = [asyncio.ensure_future(store.commit(Batch(drafts=(draft(f"n{n % 99}"),)), seal)) for n in range(100)]
    await asyncio.sleep(0)
    assert not any(other.done() for other in others)
    free.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert transactions(rig.log) == before + 2
    assert [type(o) for o in outcomes] == [Committed] * 100 + [Conflict]
    await store.close()


async def test_a_batch_whose_caller_gave_up_while_it_waited_is_not_written(rig: SqliteRig) -> None:
    held, free = threading.Event(), threading.Event()

    def slow(draft: Draft, order: Order) -> Record:
        held.set()
        assert free.wait(30)
        return seal(draft, order)

    store = rig.store()
    await store.open(0)
    first = asyncio.ensure_future(store.commit(Batch(drafts=(draft("first"),)), slow))
    await asyncio.to_thread(held.wait, 30)
    given_up = asyncio.ensure_future(store.commit(Batch(drafts=(draft("given-up"),)), seal))
    await asyncio.sleep(0)
    given_up.cancel()
    last = asyncio.ensure_future(store.commit(Batch(drafts=(draft("last"),)), seal))
    await asyncio.sleep(0)
    free.set()
    assert (await first).written[0].order == at(1)
    assert (await last).written[0].order == at(2)
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await store.close()


async def test_a_value_that_cannot_be_stored_undoes_its_own_batch_only(rig: SqliteRig) -> None:
    """The failure comes when the batch's records are in the transaction already."""
    store = rig.store()
    await store.open(0)
    bad = Batch(drafts=(draft("b"),), cursors={"lyon": Cursor(1, 1)}, local=(LocalEntry("s", "k", "\ud800"),))
    outcomes = await asyncio.gather(
        *(store.commit(batch, seal) for batch in (Batch(drafts=(draft("a"),)), bad, Batch(drafts=(draft("c"),)))),
        return_exceptions=True,
    )
    assert [type(o) for o in outcomes] == [Committed, UnicodeEncodeError, Committed]
    store, found = await reopened(rig, store)
    await store.close()
    assert [(r.id, r.order.seq) for r in found.records] == [("nantes.a", 1), ("nantes.c", 2)]
    assert found.cursors == {}


async def test_a_disk_that_fills_in_the_middle_of_a_batch(rig: SqliteRig) -> None:
    """More than SQLite holds back in memory: it writes, and fails, long before the commit."""
    store = rig.store()
    await store.open(0)
    large = Batch(drafts=tuple(draft(f"n{n}", "x" * 4000) for n in range(1500)))
    with rig.full():
        outcomes = await asyncio.gather(
            *(
                store.commit(batch, seal)
                for batch in (Batch(drafts=(draft("a"),)), large, Batch(drafts=(draft("c"),)))
            ),
            return_exceptions=True,
        )
    assert [type(o) for o in outcomes] == [StorageError] * 3
    done = await store.commit(Batch(drafts=(draft("b"),)), seal)
    assert done.written[0].order == at(1)
    store, found = await reopened(rig, store)
    await store.close()
    assert [r.id for r in found.records] == ["nantes.b"]


async def test_closing_writes_what_waits(rig: SqliteRig) -> None:
    store = rig.store()
    await store.open(0)
    waiting = [asyncio.ensure_future(store.commit(Batch(drafts=(draft(f"n{n}"),)), seal)) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert [(await w).written[0].order.seq for w in waiting] == list(range(1, 21))


async def test_only_the_owner_may_read_the_files(rig: SqliteRig) -> None:
    rig.path.parent.mkdir()
    rig.path.touch(0o644)
    store = rig.store()
    await store.open(0)
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    modes = {file.name: file.stat().st_mode & 0o777 for file in rig.path.parent.iterdir()}
    await store.close()
    assert modes == {f"store.db{end}": 0o600 for end in ("", "-wal", "-shm", ".lock", ".marker")}


async def test_every_commit_is_forced_to_disk(rig: SqliteRig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    connect = sqlite3.connect

    def traced(*args: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)  # type: ignore[call-overload]
        connection.set_trace_callback(asked.append)
        return connection

    monkeypatch.setattr(sqlite3.dbapi2, "connect", traced)
    store = rig.store()
    await store.open(0)
    await store.close()
    assert {"PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"} <= set(asked)


OPENER = """
import asyncio, sys
from pathlib import Path
from intertie.model.codec import decode
from intertie.store.sqlite import SqliteStore
async def main() -> None:
    await SqliteStore(Path(sys.argv[1]), site="nantes", decode=decode).open(0)
    print("open", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""


async def test_a_second_process_is_refused_until_the_first_is_gone(rig: SqliteRig) -> None:
    pipe = asyncio.subprocess.PIPE
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", OPENER, str(rig.path), stdin=pipe, stdout=pipe)
    assert other.stdout is not None
    assert await other.stdout.readline() == b"open\n"
    store = rig.store()
    with pytest.raises(InUse) as caught:
        await store.open(0)
    assert str(rig.path) in caught.value.detail
    assert f"process {other.pid}" in caught.value.detail
    other.kill()
    await other.communicate()
    await store.open(0)
    await store.close()


async def test_another_name_of_the_file_is_the_same_store(rig: SqliteRig, tmp_path: Path) -> None:
    store = rig.store()
    await store.open(0)
    alias = SqliteRig(tmp_path / "alias")
    alias.path.parent.mkdir(parents=True)
    alias.path.symlink_to(rig.path)
    with pytest.raises(InUse):
        await alias.store().open(0)
    await store.close()


async def test_a_directory_that_may_not_be_written_is_named() -> None:
    """Not even root may write here."""
    with pytest.raises(StorageError, match=r"/proc/intertie/store\.db"):
        await SqliteStore(Path("/proc/intertie/store.db"), site="nantes", decode=decode).open(0)


async def test_a_directory_that_is_a_file_is_named(rig: SqliteRig) -> None:
    rig.path.parent.touch()
    with pytest.raises(StorageError, match=r"life-0/store\.db"):
        await rig.store().open(0)

"""A damaged SQLite store is noticed when it is opened, wherever the damage is (I21); a torn tail heals by itself."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
from pathlib import Path

import pytest

from intertie.model.codec import decode
from intertie.model.records import Cursor
from intertie.model.storage import Batch, Damaged, LocalEntry, Snapshot, StorageError
from intertie.store.marker import Marker
from intertie.store.sqlite import SqliteStore
from intertie.store.wal import lost_behind
from intertie.testing.store_rigs import SqliteRig
from intertie.testing.store_samples import at, draft, foreign, seal
from intertie.testing.store_suite import reopened


@pytest.fixture
def rig(tmp_path: Path) -> SqliteRig:
    return SqliteRig(tmp_path)


async def fill(rig: SqliteRig) -> Snapshot:
    """A store with something in every table and in overflow pages, closed."""
    store = rig.store()
    await store.open(0)
    for n in range(12):
        batch = Batch(
            drafts=(draft(f"n{n}", "x" * (4096 if n == 5 else 200)),),
            peers=(foreign(f"p{n}", at(n + 1), "y" * 300),),
            cursors={"lyon": Cursor(1, n + 1)},
            acked={"lyon": Cursor(1, n)},
            local=(LocalEntry("tokens", f"t{n}", "v" * 50),),
        )
        await store.commit(batch, seal)
    store, found = await reopened(rig, store)
    await store.close()
    return found


def flip(path: Path, offset: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (octet,) = file.read(1)
        file.seek(offset)
        file.write(bytes([octet ^ (1 << bit)]))


def note(path: Path, place: Cursor) -> None:
    marker = Marker(path)
    marker.open()
    marker.write(place)
    marker.close()


async def opened(rig: SqliteRig) -> Snapshot:
    store = rig.store()
    found = await store.open(0)
    await store.close()
    return found


async def test_no_flipped_bit_in_the_database_passes_for_what_was_written(rig: SqliteRig) -> None:
    """One bit at a time, all over the file: refused, or without any effect on what is read."""
    before = await fill(rig)
    good = rig.path.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(300):
        rig.path.write_bytes(good)
        rig.marker.unlink(missing_ok=True)
        offset, bit = chance.randrange(len(good)), chance.randrange(8)
        flip(rig.path, offset, bit)
        try:
            found = await opened(rig)
        except StorageError:
            refused += 1
        else:
            assert found == before, f"bit {bit} of octet {offset}"
    assert refused > 100


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("records", "raw = CAST(replace(CAST(raw AS TEXT), 'xxx', 'xxy') AS BLOB)"),
        ("records", "signature = x'00'"),
        ("records", "seq = seq + 1"),
        ("records", "state = 'withdrawn'"),
        ("cursors", "seq = seq + 1"),
        ("local", "value = 'other'"),
        ("site", "seq = seq - 1"),
    ],
)
async def test_a_changed_value_is_named(rig: SqliteRig, table: str, change: str) -> None:
    await fill(rig)
    with sqlite3.connect(rig.path) as connection:
        connection.execute(f"UPDATE {table} SET {change}")
    connection.close()
    with pytest.raises(Damaged) as caught:
        await opened(rig)
    assert caught.value.code == "storage"
    assert f"its table {table}" in caught.value.detail
    assert str(rig.path) in caught.value.detail
    assert "move it" in caught.value.hint


@pytest.mark.parametrize("table", ["records", "cursors", "local"])
async def test_a_missing_row_is_noticed(rig: SqliteRig, table: str) -> None:
    await fill(rig)
    with sqlite3.connect(rig.path) as connection:
        connection.execute(f"DELETE FROM {table} WHERE rowid = (SELECT max(rowid) FROM {table})")
    connection.close()
    with pytest.raises(Damaged, match="rows are missing"):
        await opened(rig)


async def test_a_row_of_the_past_is_noticed(rig: SqliteRig) -> None:
    """Whole and with its checksum, as when the disk lost the write of one page."""
    await fill(rig)
    with sqlite3.connect(rig.path) as connection:
        old = connection.execute("SELECT * FROM records WHERE id = 'nantes.n3'").fetchone()
    store = rig.store()
    await store.open(0)
    await store.commit(Batch(drafts=(draft("n3", "new", base=at(4)),)), seal)
    await store.close()
    with sqlite3.connect(rig.path) as connection:
        connection.execute(f"REPLACE INTO records VALUES ({', '.join('?' * len(old))})", old)
    connection.close()
    with pytest.raises(Damaged, match="old ones have come back"):
        await opened(rig)


async def test_a_damaged_store_stays_as_it_is_and_a_new_one_goes_on_above_it(rig: SqliteRig) -> None:
    before = await fill(rig)
    flip(rig.path, rig.path.read_bytes().index(b'"home":"lyon"'))
    kept = rig.path.read_bytes()
    for _ in range(2):
        with pytest.raises(Damaged):
            await opened(rig)
    assert rig.path.read_bytes() == kept
    rig.path.rename(rig.path.with_name("aside.db"))
    found = await opened(rig)
    assert (found.fresh, found.incarnation, found.behind) == (True, 2, Cursor(1, before.seq))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
async def test_a_file_that_is_no_database_is_refused(rig: SqliteRig, content: bytes) -> None:
    rig.path.parent.mkdir()
    rig.path.write_bytes(content)
    with pytest.raises(Damaged):
        await opened(rig)
    assert rig.path.read_bytes() == content


async def test_somebody_elses_database_is_refused(rig: SqliteRig) -> None:
    rig.path.parent.mkdir()
    with sqlite3.connect(rig.path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(Damaged, match="bookmarks"):
        await opened(rig)


async def test_the_store_of_another_site_is_refused(rig: SqliteRig) -> None:
    await fill(rig)
    with pytest.raises(Damaged, match="store of site nantes, not of rennes"):
        await SqliteStore(rig.path, site="rennes", decode=decode).open(0)


@pytest.mark.parametrize("text", [b"sqlite_autoindex_local", b"CREATE TABLE site", b"nantes", b"lyon"])
async def test_bytes_that_are_no_text_are_damage_and_leave_nothing_locked(rig: SqliteRig, text: bytes) -> None:
    await fill(rig)
    flip(rig.path, rig.path.read_bytes().index(text) + 2, bit=7)
    for _ in range(2):
        with pytest.raises(Damaged):
            await opened(rig)


async def test_a_cut_off_database_is_refused(rig: SqliteRig) -> None:
    await fill(rig)
    octets = rig.path.read_bytes()
    rig.path.write_bytes(octets[: len(octets) // 2 // 4096 * 4096])
    with pytest.raises(Damaged):
        await opened(rig)


@pytest.mark.parametrize("change", [(b"0 ", b"7 "), (b"\n", b""), (b" ", b""), (b"0", b"x")])
async def test_a_marker_that_is_none_is_refused(rig: SqliteRig, change: tuple[bytes, bytes]) -> None:
    await fill(rig)
    note(rig.marker, Cursor(1, 40))
    rig.marker.write_bytes(rig.marker.read_bytes().replace(*change, 1))
    with pytest.raises(Damaged) as caught:
        await opened(rig)
    assert str(rig.marker) in caught.value.detail + caught.value.hint


# ── The log ────────────────────────────────────────────────────────────────────────────────────────────────


async def crashed(rig: SqliteRig) -> list[int]:
    """Five commits that are only in the log, and a crash. The log's length at first and after each commit."""
    store = rig.store()
    await store.open(0)
    store, _ = await reopened(rig, store)
    ends = [rig.log.stat().st_size]
    for n in range(5):
        await store.commit(Batch(drafts=(draft(f"n{n}", "x" * 3000),)), seal)
        ends.append(rig.log.stat().st_size)
    await rig.crash(store)
    return ends


async def test_a_log_that_is_whole_is_taken_over(rig: SqliteRig) -> None:
    await crashed(rig)
    assert lost_behind(rig.log) == ""
    found = await opened(rig)
    assert (found.seq, len(found.records), found.behind) == (5, 5, None)


@pytest.mark.parametrize("left", [0.0, 0.01, 0.3, 0.5, 0.99])
async def test_a_torn_tail_heals_by_itself(rig: SqliteRig, left: float) -> None:
    """The power went while the fifth transaction was being written: nobody had been told of it."""
    ends = await crashed(rig)
    length = ends[4] + int((ends[5] - ends[4]) * left)
    rig.log.write_bytes(rig.log.read_bytes()[:length])
    note(rig.marker, Cursor(1, 4))
    found = await opened(rig)
    assert (found.seq, len(found.records), found.behind) == (4, 4, None)


async def test_a_torn_tail_whose_pages_came_in_another_order_heals_too(rig: SqliteRig) -> None:
    """Of the last transaction the end reached the disk and the beginning did not."""
    ends = await crashed(rig)
    octets = rig.log.read_bytes()
    frame = 24 + struct.unpack_from(">I", octets, 8)[0]
    assert ends[5] - ends[4] > frame
    rig.log.write_bytes(octets[: ends[4]] + bytes(frame) + octets[ends[4] + frame :])
    note(rig.marker, Cursor(1, 4))
    found = await opened(rig)
    assert (found.seq, found.behind) == (4, None)


async def test_the_marker_notices_that_an_acknowledged_tail_is_missing(rig: SqliteRig) -> None:
    ends = await crashed(rig)
    rig.log.write_bytes(rig.log.read_bytes()[: ends[4]])
    found = await opened(rig)
    assert (found.seq, found.incarnation, found.behind) == (4, 2, Cursor(1, 5))


@pytest.mark.parametrize("torn", range(4))
async def test_damage_to_an_earlier_transaction_is_refused_and_left_as_it_is(rig: SqliteRig, torn: int) -> None:
    ends = await crashed(rig)
    flip(rig.log, (ends[torn] + ends[torn + 1]) // 2)
    rig.marker.unlink()
    octets = rig.log.read_bytes()
    for _ in range(2):
        with pytest.raises(Damaged, match="later transactions follow"):
            await opened(rig)
    assert rig.log.read_bytes() == octets


async def test_no_flipped_bit_in_the_log_passes_unnoticed(rig: SqliteRig) -> None:
    await crashed(rig)
    whole = rig.path.parent.with_name("whole")
    shutil.copytree(rig.path.parent, whole)
    octets = rig.log.read_bytes()
    chance = random.Random(2)
    refused = behind = 0
    for offset in [*range(0, 56), *(chance.randrange(len(octets)) for _ in range(150))]:
        shutil.copytree(whole, rig.path.parent, dirs_exist_ok=True)
        flip(rig.log, offset, chance.randrange(8))
        try:
            found = await opened(rig)
        except Damaged:
            refused += 1
        else:
            behind += found.behind is not None
            assert found.behind == Cursor(1, 5), f"octet {offset}"
            assert found.incarnation == 2
    assert refused > 100
    assert behind > 0


async def test_an_older_database_beside_a_newer_log_is_refused(rig: SqliteRig) -> None:
    """A backup was put back over the database, and the log of the crashed process was left lying there."""
    store = rig.store()
    await store.open(0)
    await store.commit(Batch(drafts=tuple(draft(f"n{n}") for n in range(40))), seal)
    await store.close()
    backup = rig.backup()
    store = rig.store()
    await store.open(0)
    await store.commit(Batch(drafts=tuple(draft(f"n{n}", "new", base=at(n + 1)) for n in range(20))), seal)
    store, _ = await reopened(rig, store)
    await store.commit(Batch(drafts=(draft("n39", "last", base=at(40)),)), seal)
    await rig.crash(store)
    rig.put_back(backup)
    with pytest.raises(Damaged):
        await opened(rig)


async def test_a_log_without_its_database_is_a_lost_store(rig: SqliteRig) -> None:
    await crashed(rig)
    rig.lose()
    found = await opened(rig)
    assert (found.fresh, found.records, found.incarnation, found.behind) == (True, (), 2, Cursor(1, 5))


def test_an_unused_log_is_no_damage(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert lost_behind(log) == ""
    for content in (b"", bytes(32), bytes(9000)):
        log.write_bytes(content)
        assert lost_behind(log) == ""

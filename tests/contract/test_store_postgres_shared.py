"""Several agents on one PostgreSQL store: commits take turns, nobody decides on what stands no more, nothing that was
acknowledged is lost when one of them, or the server, is killed."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from intertie.model.records import Cursor, Draft, Order, Record, State
from intertie.model.storage import LEASE, Batch, Beat, Committed, Damaged, LocalEntry, Overtaken, StorageError
from intertie.store import journal
from intertie.store.postgres import PostgresStore
from intertie.store.session import QUIET
from intertie.testing.postgres_rig import PostgresRig
from intertie.testing.postgres_server import PostgresServer
from intertie.testing.store_samples import at, draft, foreign, seal
from tests.contract.test_store_crash import Acknowledged, check, killed_after, looked_at


@pytest.fixture
def rig(postgres: PostgresServer, tmp_path: Path) -> Iterator[PostgresRig]:
    rig = PostgresRig(postgres, tmp_path)
    yield rig
    rig.close()


async def pair(rig: PostgresRig) -> tuple[PostgresStore, PostgresStore]:
    one, other = rig.shared("1"), rig.shared("2")
    await one.open(0)
    await other.open(0)
    return one, other


async def close(*stores: PostgresStore) -> None:
    for store in stores:
        await store.close()


async def test_who_was_overtaken_writes_nothing_and_hears_what_it_missed(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    await one.commit(
        Batch(
            drafts=(draft("a"),),
            peers=(foreign("x", at(3)),),
            cursors={"lyon": Cursor(1, 3)},
            acked={"lyon": Cursor(1, 1)},
            local=(LocalEntry("s", "k", "v"), LocalEntry("s", "gone", None)),
        ),
        seal,
    )
    with pytest.raises(Overtaken) as caught:
        await other.commit(Batch(drafts=(draft("b"),), local=(LocalEntry("s", "k", "mine"),)), seal)
    change = caught.value.change
    assert [r.id for r in change.records] == ["nantes.a", "lyon.x"]
    assert (change.cursors, change.acked) == ({"lyon": Cursor(1, 3)}, {"lyon": Cursor(1, 1)})
    assert set(change.local) == {LocalEntry("s", "k", "v"), LocalEntry("s", "gone", None)}
    done = await other.commit(Batch(drafts=(draft("b"),)), seal)
    assert done.written[0].order == at(2)
    assert (await one.catch_up()) is not None
    assert (await one.catch_up()) is None
    await close(one, other)
    found = await looked_at(rig)
    assert found.local == {"s": {"k": "v"}}


async def test_what_was_dropped_and_deleted_is_told_as_such(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    await one.commit(Batch(drafts=(draft("a", state=State.WITHDRAWN),), local=(LocalEntry("s", "k", "v"),)), seal)
    assert (await other.catch_up()) is not None
    await one.commit(Batch(dropped=("nantes.a",), cursors={"lyon": None}, local=(LocalEntry("s", "k", None),)), seal)
    change = await other.catch_up()
    assert change is not None
    assert (change.records, change.dropped, change.cursors) == ((), ("nantes.a",), {"lyon": None})
    assert change.local == (LocalEntry("s", "k", None),)
    await close(one, other)


async def test_of_many_changes_each_row_is_told_once_as_it_stands(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    base: Order | None = None
    for n in range(40):
        base = (await one.commit(Batch(drafts=(draft("a", str(n), base=base),)), seal)).written[0].order
    change = await other.catch_up()
    assert change is not None
    assert [(r.id, r.order) for r in change.records] == [("nantes.a", at(40))]
    await close(one, other)


async def test_a_caller_that_gave_up_is_told_what_became_of_its_batch(rig: PostgresRig) -> None:
    store = rig.shared()
    await store.open(0)
    began = asyncio.Event()
    loop = asyncio.get_running_loop()

    def noticed(draft: Draft, order: Order) -> Record:
        loop.call_soon_threadsafe(began.set)
        return seal(draft, order)

    given_up = asyncio.ensure_future(store.commit(Batch(drafts=(draft("a"),)), noticed))
    await began.wait()
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    with pytest.raises(Overtaken) as caught:
        await store.commit(Batch(drafts=(draft("a"),)), seal)
    assert [r.id for r in caught.value.change.records] == ["nantes.a"]
    await store.close()


async def test_commits_of_several_agents_take_turns_without_gap(rig: PostgresRig) -> None:
    """Three agents write as fast as they can; whoever reads sees a prefix of the order, always."""
    stores = [rig.shared(str(n)) for n in range(3)]
    for store in stores:
        await store.open(0)
    seqs: list[int] = []

    async def write(number: int, store: PostgresStore) -> None:
        for n in range(25):
            while True:
                try:
                    done = await store.commit(Batch(drafts=(draft(f"w{number}-{n}"),)), seal)
                except Overtaken:
                    continue
                seqs.append(done.written[0].order.seq)
                break

    reader = rig.shared("reader")
    await reader.open(0)
    writing = asyncio.gather(*(write(n, s) for n, s in enumerate(stores)))
    seen: list[int] = []
    while len(seen) < 75:
        change = await reader.catch_up()
        news = sorted(r.order.seq for r in change.records) if change else []
        assert news == list(range(len(seen) + 1, len(seen) + 1 + len(news)))
        seen += news
    await writing
    assert sorted(seqs) == list(range(1, 76))
    await close(reader, *stores)


# ── Live together ──────────────────────────────────────────────────────────────────────────────────────────


async def until(store: PostgresStore, what: str, seconds: float = 10.0) -> Beat:
    """Beats until one has `what`."""
    async with asyncio.timeout(seconds):
        while True:
            beat = await store.beat()
            if getattr(beat, what):
                return beat


async def test_others_commits_are_heard_at_once(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    await until(one, "leads")
    await other.beat()
    waiting = asyncio.ensure_future(other.beat())
    await one.commit(Batch(drafts=(draft("a"),)), seal)
    assert (await waiting).news
    await other.catch_up()
    assert not (await other.beat()).news
    await close(one, other)


async def test_what_is_relayed_is_heard_by_the_others_once_and_by_who_comes_later(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    for words in ("first", "second"):
        one.relay(words)
    assert (await one.beat()).said == ()
    assert (await until(other, "said")).said == ("first", "second")
    assert (await other.beat()).said == ()
    late = rig.shared("3")
    await late.open(0)
    assert (await until(late, "said")).said == ("first", "second")
    await close(one, other, late)


async def test_one_leads_and_another_takes_over_within_seconds(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    assert (await until(one, "leads")).leads
    assert not (await other.beat()).leads
    await one.close()  # a clean end lets go at once
    async with asyncio.timeout(LEASE):
        await until(other, "leads")
    one = rig.shared("1")
    await one.open(0)
    assert not (await one.beat()).leads
    await other._session._connection.close()  # type: ignore[union-attr]  # it is gone without a word
    async with asyncio.timeout(LEASE + 2):
        await until(one, "leads")
    await close(one, other)


async def test_all_that_are_live_at_once_have_one_lineage_and_those_after_them_another(rig: PostgresRig) -> None:
    one, other = rig.shared("1"), rig.shared("2")
    first, second = await one.open(0), await other.open(0)
    assert first.lineage == second.lineage != ""
    await one.close()
    one = rig.shared("1")
    assert (await one.open(0)).lineage == first.lineage
    await close(one, other)
    one = rig.shared("1")
    assert (await one.open(0)).lineage != first.lineage
    await one.close()


async def test_a_copy_of_the_database_gets_another_lineage(rig: PostgresRig) -> None:
    """So that peers can tell that two stores of one site are live. Before it speaks for the copy, it is silent."""
    one = rig.shared("1")
    before = (await one.open(0)).lineage
    rig.put_back(rig.backup())  # the connections break; what answers now is another database
    with pytest.raises(StorageError):
        await one.beat()
    with pytest.raises(StorageError, match="it has moved"):
        await one.beat()
    beat = None
    async with asyncio.timeout(3 * QUIET):
        while beat is None:
            with suppress(StorageError):
                beat = await one.beat()
    assert beat.lineage != before
    await one.close()


async def test_a_restart_of_the_server_keeps_the_lineage_and_what_was_committed(rig: PostgresRig) -> None:
    one = rig.shared("1")
    before = (await one.open(0)).lineage
    await one.commit(Batch(drafts=(draft("a"),)), seal)
    rig.server.halt(signal.SIGQUIT)
    with pytest.raises(StorageError):
        await one.commit(Batch(drafts=(draft("b"),)), seal)
    with pytest.raises(StorageError):
        await one.beat()
    rig.server.start()
    done = await one.commit(Batch(drafts=(draft("c"),)), seal)
    assert done.written[0].order == at(2)
    assert (await one.beat()).lineage == before
    await one.close()


async def test_a_database_that_goes_back_under_a_running_agent_takes_no_more_from_it(rig: PostgresRig) -> None:
    store = rig.shared()
    await store.open(0)
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    copy = rig.backup()
    with pytest.raises(StorageError):  # the copy cut the connection
        await store.commit(Batch(drafts=(draft("b"),)), seal)
    await store.commit(Batch(drafts=(draft("b"),)), seal)
    rig.put_back(copy)
    with pytest.raises(StorageError):
        await store.commit(Batch(drafts=(draft("c"),)), seal)
    with pytest.raises(Damaged, match="not as this agent left it"):
        await store.commit(Batch(drafts=(draft("c"),)), seal)
    await store.close()
    found = await looked_at(rig)
    assert [r.id for r in found.records] == ["nantes.a"]


async def test_a_database_that_went_another_way_is_noticed_too(rig: PostgresRig) -> None:
    """Put back, and since then as long as before: only the totals differ."""
    one, other = await pair(rig)
    copy = rig.backup()
    with pytest.raises(StorageError):
        await one.commit(Batch(drafts=(draft("a"),)), seal)
    await one.commit(Batch(drafts=(draft("a"),)), seal)
    await other.close()
    rig.put_back(copy)
    other = rig.shared("2")
    await other.open(0)
    await other.commit(Batch(drafts=(draft("other"),)), seal)
    with pytest.raises(StorageError):
        await one.catch_up()
    with pytest.raises(Damaged):
        await one.catch_up()
    await close(one, other)


async def test_who_missed_more_than_is_kept_starts_anew(rig: PostgresRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT", 10)
    monkeypatch.setattr(journal, "_PRUNE_EVERY", 1)
    one, other = await pair(rig)
    for n in range(12):
        await one.commit(Batch(drafts=(draft(f"n{n}"),)), seal)
    with pytest.raises(Damaged, match="missed too much"):
        await other.catch_up()
    await close(one, other)
    assert len((await looked_at(rig)).records) == 12


# ── Killed ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_agents_killed_while_they_commit_lose_nothing_that_they_acknowledged(rig: PostgresRig) -> None:
    """Two processes write at once; each is killed at a moment of chance, and another takes its place."""
    chance = random.Random()
    acknowledged: Acknowledged = {}

    async def lives(agent: str) -> None:
        for life in range(4):
            words = rig.url, f"agent{agent}-life{life}", str(rig.marker.with_name(f"marker{agent}"))
            acknowledged.update(await killed_after(chance.randrange(1, 60), *words))

    await asyncio.gather(lives("1"), lives("2"))
    found = await looked_at(rig)
    assert found.behind is None
    check(found, acknowledged)
    assert len(acknowledged) > 8


async def test_a_server_that_crashes_while_agents_commit_loses_nothing(rig: PostgresRig) -> None:
    one, other = await pair(rig)
    acknowledged: dict[str, int] = {}
    stop = asyncio.Event()

    async def write(name: str, store: PostgresStore) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            try:
                done: Committed = await store.commit(Batch(drafts=(draft(f"{name}{n}"),)), seal)
            except (Overtaken, StorageError):
                continue
            acknowledged[f"nantes.{name}{n}"] = done.written[0].order.seq

    writing = asyncio.gather(write("one", one), write("other", other))
    for _ in range(3):
        enough = len(acknowledged) + 20
        while len(acknowledged) < enough:
            await asyncio.sleep(0)
            await one.catch_up()
        await asyncio.to_thread(rig.server.halt, signal.SIGQUIT)
        await asyncio.to_thread(rig.server.start)
    stop.set()
    await writing
    await close(one, other)
    found = await looked_at(rig)
    held = {r.id: r.order.seq for r in found.records}
    assert {id: held.get(id) for id in acknowledged} == acknowledged
    assert sorted(held.values()) == list(range(1, len(held) + 1))

"""The memory store: the contract, and its faults."""

from __future__ import annotations

import pytest

from intertie.model.storage import Batch, Damaged
from intertie.store.memory import MemoryStore, Moment, PowerLost
from intertie.testing.store_rigs import MemoryRig
from intertie.testing.store_samples import SITE, draft, seal
from intertie.testing.store_suite import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def rig(self) -> MemoryRig:
        return MemoryRig()


@pytest.mark.parametrize(("moment", "kept"), [(Moment.BEFORE_SYNC, 1), (Moment.AFTER_SYNC, 2)])
async def test_power_goes_around_the_forcing_of_a_commit(moment: Moment, kept: int) -> None:
    store = MemoryStore(site=SITE)
    await store.open(0)
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    store.disk.power_fails = moment
    with pytest.raises(PowerLost):
        await store.commit(Batch(drafts=(draft("b"),)), seal)
    again = store.crash()
    found = await again.open()
    assert (len(found.records), found.seq, found.behind) == (kept, kept, None)


async def test_a_disk_that_lies_loses_what_was_not_forced() -> None:
    store = MemoryStore(site=SITE)
    await store.open()
    store.disk.late = True
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    store.disk.sync()
    await store.commit(Batch(drafts=(draft("b"),)), seal)
    found = await store.crash().open()
    assert [r.id for r in found.records] == ["nantes.a"]


async def test_a_damaged_disk_is_refused() -> None:
    store = MemoryStore(site=SITE)
    store.disk.damaged = "a bit flipped"
    with pytest.raises(Damaged, match="a bit flipped"):
        await store.open()


async def test_a_clone_shares_nothing_with_its_original() -> None:
    store = MemoryStore(site=SITE)
    await store.open()
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    clone = MemoryStore(site=SITE, disk=store.disk.backup())
    await store.commit(Batch(drafts=(draft("b"),)), seal)
    found = await clone.open()
    assert ([r.id for r in found.records], found.seq) == (["nantes.a"], 1)


@pytest.mark.parametrize(("reached", "kept"), [(0.0, 1), (0.5, 1), (1.0, 2), (1.9, 2), (2.0, 3)])
async def test_a_torn_tail_is_dropped_and_what_is_whole_before_it_counts(reached: float, kept: int) -> None:
    store = MemoryStore(site=SITE)
    await store.open()
    await store.commit(Batch(drafts=(draft("a"),)), seal)
    store.disk.late = True
    await store.commit(Batch(drafts=(draft("b"), draft("c"))), seal)
    await store.commit(Batch(drafts=(draft("d"),)), seal)
    store.disk.lose_power(reached)
    found = await MemoryStore(site=SITE, disk=store.disk).open()
    assert [len(found.records), found.seq, found.behind] == [{1: 1, 2: 3, 3: 4}[kept], {1: 1, 2: 3, 3: 4}[kept], None]

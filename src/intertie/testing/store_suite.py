"""What every store must do, as tests: subclass `StoreContract` and give it a fixture `rig`.

A rig is a medium that stores can be opened on, again and again, and that can be hurt. The stateful test against a
plain model is in `testing.store_machine`.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol

import pytest

from intertie.agent.ports import Store
from intertie.model.errors import Conflict, Refused, Unavailable
from intertie.model.records import Cursor, Draft, Order, Record, State
from intertie.model.storage import Batch, InUse, LocalEntry, Snapshot
from intertie.testing.store_samples import PEER, SITE, at, draft, foreign, seal


class Rig(Protocol):
    """A medium under test."""

    def store(self) -> Store:
        """A store on the medium, not yet open."""
        ...

    async def crash(self, store: Store) -> None:
        """The process of `store` is gone at once; the medium is as it then was."""
        ...

    def lose(self) -> None:
        """The database is gone; what is kept outside it is not. No store is open."""
        ...

    def backup(self) -> object:
        """A copy of the database. No store is open."""
        ...

    def put_back(self, backup: object) -> None:
        """The copy takes the place of the database. No store is open."""
        ...

    def full(self) -> AbstractContextManager[None]:
        """Nothing can be written meanwhile."""
        ...


async def reopened(rig: Rig, store: Store, incarnation_at_least: int = 0) -> tuple[Store, Snapshot]:
    await store.close()
    again = rig.store()
    return again, await again.open(incarnation_at_least)


# ── The contract ───────────────────────────────────────────────────────────────────────────────────────────


class StoreContract:
    """Each test gets a fresh medium."""

    async def test_a_new_store_is_empty_and_begins_at_incarnation_1(self, rig: Rig) -> None:
        store = rig.store()
        found = await store.open(0)
        await store.close()
        assert (found.fresh, found.incarnation, found.seq, found.behind) == (True, 1, 0, None)
        assert (found.records, dict(found.cursors), dict(found.acked), dict(found.local)) == ((), {}, {}, {})

    async def test_seqs_rise_in_the_order_of_commits(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        first = await store.commit(Batch(drafts=(draft("a"), draft("b"))), seal)
        second = await store.commit(Batch(drafts=(draft("a", "2", base=at(1)),)), seal)
        assert [r.order for r in first.written + second.written] == [at(1), at(2), at(3)]
        store, found = await reopened(rig, store)
        await store.close()
        assert [(r.id, r.order) for r in found.records] == [("nantes.a", at(3)), ("nantes.b", at(2))]
        assert (found.fresh, found.seq, found.behind) == (False, 3, None)

    async def test_bytes_and_signatures_come_back_unchanged(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        theirs = foreign("x", at(9), "Grüße, 接続")
        done = await store.commit(Batch(drafts=(draft("a", "é"),), peers=(theirs,)), seal)
        store, found = await reopened(rig, store)
        await store.close()
        expected = sorted((*done.written, theirs), key=lambda r: r.id)
        assert [(r.raw, r.signature) for r in found.records] == [(r.raw, r.signature) for r in expected]
        assert list(found.records) == expected

    @pytest.mark.parametrize(
        ("base", "standing"),
        [
            (at(7), None),
            (None, State.LIVE),
            (at(2), State.LIVE),
            (None, State.WITHDRAWN),
        ],
        ids=["gone", "there already", "another version", "withdrawn is not absent"],
    )
    async def test_a_draft_on_another_base_conflicts_and_nothing_of_its_batch_is_written(
        self, rig: Rig, base: Order | None, standing: State | None
    ) -> None:
        store = rig.store()
        await store.open(0)
        if standing is not None:
            await store.commit(Batch(drafts=(draft("a", state=standing),)), seal)
        batch = Batch(
            drafts=(draft("other"), draft("a", "late", base=base)),
            peers=(foreign("x", at(1)),),
            cursors={PEER: Cursor(1, 1)},
            acked={PEER: Cursor(1, 1)},
            local=(LocalEntry("keys", "k", "v"),),
            incarnation_at_least=9,
        )
        with pytest.raises(Conflict):
            await store.commit(batch, seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert [r.id for r in found.records] == ([] if standing is None else ["nantes.a"])
        assert (dict(found.cursors), dict(found.acked), dict(found.local)) == ({}, {}, {})
        assert (found.incarnation, found.seq) == (1, 0 if standing is None else 1)

    async def test_two_drafts_of_one_record_in_a_batch_conflict(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        with pytest.raises(Conflict):
            await store.commit(Batch(drafts=(draft("a"), draft("a", "again"))), seal)
        await store.close()

    async def test_the_old_home_of_an_adopted_record_cannot_write_below_it(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        adopted = foreign("a", Order(1, PEER, 1, 5), "adopted", home=SITE)
        done = await store.commit(Batch(peers=(adopted,)), seal)
        assert done.accepted == (adopted,)
        with pytest.raises(Conflict):
            await store.commit(Batch(drafts=(draft("a", "mine", base=adopted.order),)), seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert found.records == (adopted,)

    async def test_peers_records_replace_only_lower_orders(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        versions = [foreign("x", order, f"{order}") for order in (at(4), at(5), at(1, 2), Order(1, PEER, 1, 1))]
        old, new, incarnated, adopted = versions
        first = await store.commit(Batch(peers=(new, old)), seal)
        assert (first.accepted, first.stale) == ((new,), (old,))
        second = await store.commit(Batch(peers=(incarnated, adopted, incarnated)), seal)
        assert (second.accepted, second.stale) == ((incarnated, adopted), (incarnated,))
        third = await store.commit(Batch(peers=(new,)), seal)
        assert (third.accepted, third.stale) == ((), (new,))
        store, found = await reopened(rig, store)
        await store.close()
        assert found.records == (adopted,)

    async def test_a_repeated_delivery_changes_nothing(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        batch = Batch(peers=(foreign("x", at(1)), foreign("y", at(2))), cursors={PEER: Cursor(1, 2)})
        await store.commit(batch, seal)
        store, before = await reopened(rig, store)
        done = await store.commit(batch, seal)
        assert (done.accepted, done.stale, done.equivocations) == ((), batch.peers, ())
        store, after = await reopened(rig, store)
        await store.close()
        assert replace(after, lineage=before.lineage, opened=before.opened) == before

    async def test_of_two_records_with_one_order_the_first_seen_stays(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        first, other = foreign("x", at(1), "to you"), foreign("x", at(1), "to others")
        done = await store.commit(Batch(peers=(first, other)), seal)
        assert (done.accepted, done.equivocations) == ((first,), (other,))
        again = await store.commit(Batch(peers=(other, first)), seal)
        assert (again.accepted, again.stale, again.equivocations) == ((), (first,), (other,))
        store, found = await reopened(rig, store)
        await store.close()
        assert found.records == (first,)

    async def test_a_cursor_of_reading_never_goes_back_unless_forgotten(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        for place in (Cursor(1, 9), Cursor(2, 1), Cursor(1, 99)):
            await store.commit(Batch(cursors={PEER: place, "rennes": Cursor(1, 1)}), seal)
        store, found = await reopened(rig, store)
        assert dict(found.cursors) == {PEER: Cursor(2, 1), "rennes": Cursor(1, 1)}
        await store.commit(Batch(cursors={PEER: None}), seal)
        await store.commit(Batch(cursors={PEER: Cursor(1, 3)}), seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert dict(found.cursors) == {PEER: Cursor(1, 3), "rennes": Cursor(1, 1)}

    async def test_a_peers_last_word_on_how_far_it_has_read_stands(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(acked={PEER: Cursor(1, 9), "rennes": Cursor(1, 2)}), seal)
        await store.commit(Batch(acked={PEER: Cursor(0, 0), "rennes": None}), seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert dict(found.acked) == {PEER: Cursor(0, 0)}

    async def test_local_values_are_set_replaced_and_deleted(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        first = (LocalEntry("tokens", "a", "1"), LocalEntry("tokens", "b", "2"), LocalEntry("keys", "a", "3"))
        await store.commit(Batch(local=first), seal)
        second = (LocalEntry("tokens", "a", None), LocalEntry("tokens", "b", "ü\n\x1f"), LocalEntry("x", "y", None))
        await store.commit(Batch(local=second), seal)
        await store.commit(Batch(local=(LocalEntry("z", "z", "old"), LocalEntry("z", "z", "new"))), seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert {s: dict(v) for s, v in found.local.items()} == {
            "tokens": {"b": "ü\n\x1f"},
            "keys": {"a": "3"},
            "z": {"z": "new"},
        }

    async def test_a_dropped_tombstone_is_forgotten_and_its_seq_not_given_again(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"), draft("b", state=State.WITHDRAWN))), seal)
        await store.commit(Batch(dropped=("nantes.b", "nantes.never-there")), seal)
        store, found = await reopened(rig, store)
        assert [r.id for r in found.records] == ["nantes.a"]
        done = await store.commit(Batch(drafts=(draft("c"),)), seal)
        await store.close()
        assert done.written[0].order == at(3)

    async def test_the_incarnation_rises_when_asked_and_stays(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        store, found = await reopened(rig, store, 4)
        assert (found.incarnation, found.seq) == (4, 1)
        done = await store.commit(Batch(incarnation_at_least=6, drafts=(draft("b"),)), seal)
        assert done.written[0].order == at(2, 6)
        await store.commit(Batch(incarnation_at_least=3), seal)
        store, found = await reopened(rig, store, 2)
        await store.close()
        assert (found.incarnation, found.seq) == (6, 2)

    async def test_places_of_own_records_that_come_back_are_not_given_again(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        own = foreign("a", at(41), "signed before the loss", home=SITE)
        done = await store.commit(Batch(peers=(own,)), seal)
        assert done.accepted == (own,)
        later = await store.commit(Batch(drafts=(draft("b"),)), seal)
        assert later.written[0].order > at(41)
        other = foreign("x", at(1000))
        await store.commit(Batch(peers=(other,)), seal)
        store, found = await reopened(rig, store)
        await store.close()
        assert (found.incarnation, found.seq) == (1, 42)

    async def test_what_a_seal_raises_is_its_callers_alone(self, rig: Rig) -> None:
        def refuse(draft: Draft, order: Order) -> Record:
            raise Refused("too large", code="too-large")

        store = rig.store()
        await store.open(0)
        outcomes = await asyncio.gather(
            store.commit(Batch(drafts=(draft("a"),)), seal),
            store.commit(Batch(drafts=(draft("b"),), local=(LocalEntry("s", "k", "v"),)), refuse),
            store.commit(Batch(drafts=(draft("c"),)), seal),
            store.commit(Batch(drafts=(draft("d"),)), lambda draft, order: foreign("x", order)),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], Refused)
        assert isinstance(outcomes[3], ValueError)
        store, found = await reopened(rig, store)
        await store.close()
        assert [(r.id, r.order.seq) for r in found.records] == [("nantes.a", 1), ("nantes.c", 2)]
        assert dict(found.local) == {}

    async def test_concurrent_batches_are_each_whole_or_absent(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        # Every batch of one group of four wants the same new record; one of the four may have it.
        batches = [
            Batch(
                drafts=(draft(f"own-{n}"), draft(f"shared-{n // 4}", str(n))), local=(LocalEntry("n", str(n), "1"),)
            )
            for n in range(200)
        ]
        outcomes = await asyncio.gather(*(store.commit(b, seal) for b in batches), return_exceptions=True)
        won = {n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)}
        assert {type(o) for n, o in enumerate(outcomes) if n not in won} == {Conflict}
        assert [sum(n // 4 == group for n in won) for group in range(50)] == [1] * 50
        store, found = await reopened(rig, store)
        await store.close()
        assert {r.id for r in found.records} == {
            f"nantes.{k}-{n if k == 'own' else n // 4}" for n in won for k in ("own", "shared")
        }
        assert set(found.local["n"]) == {str(n) for n in won}
        assert sorted(r.order.seq for r in found.records) == list(range(1, 101))

    async def test_what_was_acknowledged_survives_a_crash(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),), local=(LocalEntry("s", "k", "v"),)), seal)
        await store.commit(Batch(peers=(foreign("x", at(3)),), cursors={PEER: Cursor(1, 3)}), seal)
        await rig.crash(store)
        again = rig.store()
        found = await again.open(0)
        await again.close()
        assert [r.id for r in found.records] == ["lyon.x", "nantes.a"]
        assert (dict(found.cursors), found.seq, found.behind) == ({PEER: Cursor(1, 3)}, 1, None)

    async def test_a_lost_store_goes_on_above_its_past(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(3)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        await store.close()
        rig.lose()
        again = rig.store()
        found = await again.open(0)
        await again.close()
        assert (found.fresh, found.incarnation, found.seq) == (True, 5, 0)
        assert found.behind == Cursor(4, 1)

    async def test_an_older_copy_put_back_is_noticed(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        await store.close()
        copy = rig.backup()
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("b"),)), seal)
        await store.close()
        rig.put_back(copy)
        again = rig.store()
        found = await again.open(0)
        assert (found.fresh, found.incarnation, found.seq, found.behind) == (False, 2, 1, Cursor(1, 2))
        again, found = await reopened(rig, again)
        await again.close()
        assert (found.incarnation, found.behind) == (2, None)

    async def test_a_second_store_on_the_same_medium_is_refused(self, rig: Rig) -> None:
        store, second = rig.store(), rig.store()
        await store.open(0)
        with pytest.raises(InUse):
            await second.open(0)
        with pytest.raises(Unavailable):
            await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        await store.close()
        found = await second.open(0)
        await second.close()
        assert [r.id for r in found.records] == ["nantes.a"]

    async def test_a_full_disk_refuses_whole_batches_and_works_again_afterwards(self, rig: Rig) -> None:
        store = rig.store()
        await store.open(0)
        await store.commit(Batch(drafts=(draft("a"),)), seal)
        large = tuple(draft(f"large-{n}", "x" * 4000) for n in range(20))
        with rig.full():
            for _ in range(3):
                with pytest.raises(Unavailable) as caught:
                    await store.commit(Batch(drafts=large, local=(LocalEntry("s", "k", "v"),)), seal)
                assert caught.value.code == "storage"
        done = await store.commit(Batch(drafts=(draft("b"),)), seal)
        assert done.written[0].order == at(2)
        await rig.crash(store)
        again = rig.store()
        found = await again.open(0)
        await again.commit(Batch(drafts=large), seal)
        await again.close()
        assert [r.id for r in found.records] == ["nantes.a", "nantes.b"]
        assert dict(found.local) == {}

    async def test_a_closed_store_refuses_and_closing_twice_does_no_harm(self, rig: Rig) -> None:
        store = rig.store()
        with pytest.raises(Unavailable):
            await store.commit(Batch(), seal)
        await store.open(0)
        await store.close()
        await store.close()
        with pytest.raises(Unavailable):
            await store.commit(Batch(), seal)

"""Any sequence of batches, clean ends and crashes, held against a plain model: `StoreMachine`, hypothesis' way.

The model is written down a second time here, as simply as it can be said, so that a mistake in `store.rules` is not
compared with itself. Subclass and implement `new_rig`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from intertie.agent.ports import Store
from intertie.model.errors import Conflict
from intertie.model.records import Cursor, Draft, Order, Record
from intertie.model.storage import Batch, Committed, LocalEntry, Snapshot
from intertie.testing.store_samples import SITE, draft, foreign, seal
from intertie.testing.store_suite import Rig

T = TypeVar("T")

names = st.sampled_from(["a", "b", "c"])
texts = st.sampled_from(["", "one", "two"])
peers = st.sampled_from(["lyon", "rennes"])
places = st.builds(Cursor, st.integers(0, 3), st.integers(0, 6))
orders = st.builds(
    lambda epoch, peer, incarnation, seq: Order(epoch, peer if epoch else "", incarnation, seq),
    st.integers(0, 1),
    peers,
    st.integers(0, 2),
    st.integers(0, 4),
)
arrivals = st.lists(st.builds(foreign, names, orders, texts, home=st.sampled_from([SITE, "lyon"])), max_size=3).map(
    tuple
)
told = st.dictionaries(peers, st.none() | places, max_size=2)
entries = st.lists(st.builds(LocalEntry, st.sampled_from(["s", "t"]), names, st.none() | texts), max_size=3).map(
    tuple
)
ids = st.builds("{}.{}".format, st.sampled_from([SITE, "lyon"]), names)


@dataclass
class Expected:
    """What ought to be in the store."""

    records: dict[str, Record] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    acked: dict[str, Cursor] = field(default_factory=dict)
    local: dict[tuple[str, str], str] = field(default_factory=dict)
    incarnation: int = 1
    seq: int = 0

    def conflict(self, drafts: tuple[Draft, ...]) -> bool:
        seen: set[str] = set()
        for one in drafts:
            held = self.records.get(one.id)
            repeated = one.id in seen
            seen.add(one.id)
            if repeated or one.base != (None if held is None else held.order) or (held and held.order.epoch > 0):
                return True
        return False

    def take(self, batch: Batch, done: Committed) -> None:
        self.incarnation = max(self.incarnation, batch.incarnation_at_least)
        for record in done.written:
            self.seq += 1
            assert record.order == Order(0, "", self.incarnation, self.seq)
            self.records[record.id] = record
        self._receive(batch.peers, done)
        for id in batch.dropped:
            self.records.pop(id, None)
        for peer, place in batch.cursors.items():
            if place is None:
                self.cursors.pop(peer, None)
            elif peer not in self.cursors or self.cursors[peer] < place:
                self.cursors[peer] = place
        for peer, place in batch.acked.items():
            if place is None:
                self.acked.pop(peer, None)
            else:
                self.acked[peer] = place
        for entry in batch.local:
            if entry.value is None:
                self.local.pop((entry.space, entry.key), None)
            else:
                self.local[entry.space, entry.key] = entry.value

    def _receive(self, arrived: tuple[Record, ...], done: Committed) -> None:
        accepted, stale, equivocations = [], [], []
        for record in arrived:
            held = self.records.get(record.id)
            if held is None or held.order < record.order:
                self.records[record.id] = record
                accepted.append(record)
            elif held.order == record.order and held.raw != record.raw:
                equivocations.append(record)
            else:
                stale.append(record)
            if record.home == SITE:
                self.incarnation = max(self.incarnation, record.order.incarnation)
                self.seq = max(self.seq, record.order.seq)
        assert done.accepted == tuple(accepted)
        assert done.stale == tuple(stale)
        assert done.equivocations == tuple(equivocations)

    def check(self, found: Snapshot) -> None:
        assert list(found.records) == [self.records[id] for id in sorted(self.records)]
        assert [r.raw for r in found.records] == [self.records[id].raw for id in sorted(self.records)]
        assert found.cursors == self.cursors
        assert found.acked == self.acked
        assert {(s, k): v for s, values in found.local.items() for k, v in values.items()} == self.local
        assert (found.incarnation, found.seq) == (self.incarnation, self.seq)
        assert found.behind is None


class StoreMachine(RuleBasedStateMachine):
    """One store, opened and ended again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rig = self.new_rig()
        self.expected = Expected()
        self.store: Store = self.rig.store()

    def new_rig(self) -> Rig:
        raise NotImplementedError

    def run(self, step: Coroutine[object, object, T]) -> T:
        return self.loop.run_until_complete(step)

    @initialize()
    def begin(self) -> None:
        assert self.run(self.store.open(0)).fresh

    @rule(
        own=st.lists(st.tuples(names, texts, st.booleans()), max_size=3),
        arrived=arrivals,
        cursors=told,
        acked=told,
        local=entries,
        dropped=st.lists(ids, max_size=1).map(tuple),
        incarnation=st.sampled_from([0, 0, 0, 2, 3]),
    )
    def commit(  # noqa: PLR0913 - a batch has that many parts
        self,
        own: list[tuple[str, str, bool]],
        arrived: tuple[Record, ...],
        cursors: dict[str, Cursor | None],
        acked: dict[str, Cursor | None],
        local: tuple[LocalEntry, ...],
        dropped: tuple[str, ...],
        incarnation: int,
    ) -> None:
        batch = Batch(
            incarnation_at_least=incarnation,
            drafts=tuple(draft(name, text, base=self._base(name, seen)) for name, text, seen in own),
            peers=arrived,
            dropped=dropped,
            cursors=cursors,
            acked=acked,
            local=local,
        )
        conflict = self.expected.conflict(batch.drafts)
        try:
            done = self.run(self.store.commit(batch, seal))
        except Conflict:
            assert conflict
        else:
            assert not conflict
            self.expected.take(batch, done)

    def _base(self, name: str, seen: bool) -> Order | None:
        held = self.expected.records.get(f"{SITE}.{name}")
        return held.order if held is not None and seen else None

    @rule(incarnation=st.sampled_from([0, 2, 4]))
    def end_and_open(self, incarnation: int) -> None:
        self.run(self.store.close())
        self._open(incarnation)

    @rule()
    def crash_and_open(self) -> None:
        self.run(self.rig.crash(self.store))
        self._open(0)

    def _open(self, incarnation: int) -> None:
        self.store = self.rig.store()
        self.expected.incarnation = max(self.expected.incarnation, incarnation)
        self.expected.check(self.run(self.store.open(incarnation)))

    def teardown(self) -> None:
        self.run(self.store.close())
        self._open(0)
        self.run(self.store.close())
        self.loop.close()

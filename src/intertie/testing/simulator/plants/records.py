"""Mistakes around records: what is durable when, which version stands, what a tombstone is for (rules 1–3, 12)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from intertie.model.codec import encode
from intertie.model.records import Cursor, Kind, Record, State
from intertie.model.storage import Batch
from intertie.testing.simulator.plants.plant import planted
from intertie.testing.virtual_time import current


@planted("store.memory.MemoryStore._force", expects=("I3", "I7", "I1"), profiles=("crashes", "mixed"))
def sent_before_durable(right: Any) -> Any:
    """A commit returns before the disk has it; it is forced with the next one, as if grouping needed no waiting."""

    def wrong(self: Any, batch: Batch, settled: Any) -> None:
        late, self.disk.late = self.disk.late, True
        try:
            self.disk.sync()
            right(self, batch, settled)
        finally:
            self.disk.late = late

    return wrong


@planted("agent.agent.Agent.take", expects=("I8", "I5"), profiles=("unseen", "crashes"))
def cursor_durable_before_records(right: Any) -> Any:
    """How far a peer was read is made durable first, its records in a second commit: what dies between is lost."""

    async def wrong(self: Any, peer: str, judge: Any, acked: Any, of: str = "") -> Any:
        records, cursor = judge()
        await right(self, peer, lambda: ((), cursor), acked, of)
        return await right(self, peer, lambda: (records, None), acked, of)

    return wrong


@planted("store.rules.settle", expects=("I7", "rule 2", "I8"), profiles=("liars", "mixed"))
def equal_version_overwritten(right: Any) -> Any:
    """A version takes the place of one with the same order: compared with ≥, so that the last liar wins."""

    def wrong(batch: Batch, standing: Any, last: Cursor, site: str, seal: Any) -> Any:
        equal = {r.id for r in batch.peers if r.id in standing and standing[r.id].order == r.order}
        known = {id: held for id, held in standing.items() if id not in equal}
        return right(batch, known, last, site, seal)

    return wrong


@planted("store.rules.settle", expects=("I7", "I6", "I8"), profiles=("swizzle", "mixed"))
def last_arrival_stands(right: Any) -> Any:
    """What arrives last stands, whatever its order: a message that was overtaken brings the old version back."""

    def wrong(batch: Batch, standing: Any, last: Cursor, site: str, seal: Any) -> Any:
        peers = {r.id for r in batch.peers if r.home != site}
        known = {id: held for id, held in standing.items() if id not in peers}
        return right(batch, known, last, site, seal)

    return wrong


@planted("store.rules.settle", expects=("rule 14", "I8", "I7"), profiles=("adoption", "mixed"))
def epoch_compared_last(right: Any) -> Any:
    """Of two versions the one with the higher seq stands, whatever its epoch: who returns takes its Vpn back."""

    def wrong(batch: Batch, standing: Any, last: Cursor, site: str, seal: Any) -> Any:
        def place(order: Any) -> tuple[int, int, int, str]:
            return order.incarnation, order.seq, order.epoch, order.adopter

        known = dict(standing)
        lower: set[str] = set()
        for record in batch.peers:
            held = known.get(record.id)
            if held is None or held.order == record.order:
                continue
            if place(record.order) > place(held.order):
                del known[record.id]
            else:
                lower.add(record.id)
        kept = tuple(r for r in batch.peers if r.id not in lower)
        return right(replace(batch, peers=kept), known, last, site, seal)

    return wrong


@planted("planning.hearing.concerning", expects=("I8", "I5"), profiles=("churn", "mixed"))
def commit_out_of_order(right: Any) -> Any:
    """A Vpn's place in the order is taken before its commit, which readers see 0.3 s later: cursors pass it by."""
    first_seen: dict[tuple[str, Any], float] = {}

    def wrong(table: Any, peer: str, since: Cursor) -> list[Record]:
        now = asyncio.get_running_loop().time()
        found = []
        for record in right(table, peer, since):
            seen = first_seen.setdefault((record.id, record.order), now)
            if record.header.kind is not Kind.VPN or now - seen >= 0.3:
                found.append(record)
        return found

    return wrong


@planted("agent.agent.Agent.take", expects=("I20", "I7", "I8"), profiles=("mixed", "churn"))
def record_encoded_again(right: Any) -> Any:
    """A peer's record is kept as this version would write it: what a later version said besides is lost."""

    async def wrong(self: Any, peer: str, judge: Any, acked: Any, of: str = "") -> Any:
        def again() -> Any:
            records, cursor = judge()
            return [replace(r, raw=encode(r.header, r.body)) for r in records], cursor

        return await right(self, peer, again, acked, of)

    return wrong


@planted("model.records.Record.digest", expects=("I20", "I5", "rule 2"), profiles=("mixed", "churn"))
def digest_of_the_parsed_view(right: Any) -> Any:
    """The digest is taken over the record written out again: by who does not know all fields of it, another one."""

    def wrong(self: Record) -> str:
        reader = current()
        knows_all = reader is None or reader.name == self.home
        found: str = right.fget(self if knows_all else replace(self, raw=encode(self.header, self.body)))
        return found

    return property(wrong)


# ── Tombstones ─────────────────────────────────────────────────────────────────────────────────────────────

OLD = 20.0
"""Seconds after which the mistaken agent thinks that everybody must have heard."""


@planted("agent.agent.Agent.take", expects=("I6", "I4", "I8"), profiles=("partitions", "mixed"))
def tombstone_dropped_by_age(right: Any) -> Any:
    """Withdrawn Vpns are swept out 20 s after they ended: by then everybody has surely heard."""
    since: dict[tuple[str, str], float] = {}

    async def wrong(self: Any, *args: Any) -> Any:
        done = await right(self, *args)
        now = asyncio.get_running_loop().time()
        ended = [r for r in self.table.all_of(Kind.VPN) if not r.live]
        old = [r.id for r in ended if now - since.setdefault((self.site, r.id), now) > OLD]
        if old:
            await self.ports.store.commit(Batch(dropped=tuple(old)), self._seal)
            for id in old:
                self.table.drop(id)
        return done

    return wrong


@planted("store.rules.settle", expects=("I6", "I4", "I8"), profiles=("swizzle", "mixed"))
def tombstone_before_creation_forgotten(right: Any) -> Any:
    """A tombstone of something that was never heard of is not kept: the creation, arriving later, is believed."""

    def wrong(batch: Batch, standing: Any, last: Cursor, site: str, seal: Any) -> Any:
        kept = tuple(r for r in batch.peers if r.id in standing or r.header.state is not State.WITHDRAWN)
        return right(replace(batch, peers=kept), standing, last, site, seal)

    return wrong


@planted("planning.advertise.version_of", expects=("I8", "rule 12", "I16"), profiles=("partitions", "churn"))
def removed_member_not_told(right: Any) -> Any:
    """A version without a member goes to the members only: who was removed while it was silent never hears of it."""

    def wrong(*args: Any, **kwargs: Any) -> Any:
        return replace(right(*args, **kwargs), owes=())

    return wrong


@planted("planning.advertise.withdrawal", expects=("I4", "I8", "rule 12"), profiles=("unseen", "churn"))
def tombstone_to_current_members_only(right: Any) -> Any:
    """A tombstone goes to those who are members at the end: who was removed before and is silent is left out."""

    def wrong(*args: Any, **kwargs: Any) -> Any:
        return replace(right(*args, **kwargs), owes=())

    return wrong


@planted("planning.advertise._drained", expects=("rule 12", "I5"), profiles=("churn", "mixed"))
def old_drained_counts(right: Any) -> Any:
    """A member's `drained` from an earlier closing, taken back since, still counts for the next one."""

    def wrong(answer: Any, vpn: Record) -> bool:
        return answer is not None and bool(right(replace(answer, order=vpn.order), vpn))

    return wrong

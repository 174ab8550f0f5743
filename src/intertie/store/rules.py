"""What a batch does to a store: pure, and the same for every kind of store.

A store looks up what stands, calls `settle` inside its transaction, and writes what it says. So compare and set,
the handing out of places and the handling of equivocation exist once, and the stores differ in durability only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from intertie.model.errors import Conflict
from intertie.model.records import Cursor, Draft, Order, Record
from intertie.model.storage import Batch, Committed, Seal


@dataclass(frozen=True, slots=True)
class Standing:
    """As much of a stored version as the rules look at."""

    order: Order
    digest: str

    @classmethod
    def of(cls, record: Record) -> Standing:
        return cls(record.order, record.digest)


@dataclass(slots=True)
class Settled:
    """What to write: first `gone` ids leave, whether for good or to be replaced; then `puts` come in."""

    committed: Committed
    last: Cursor
    """The last place given."""
    gone: set[str] = field(default_factory=set)
    puts: dict[str, Record] = field(default_factory=dict)


def touched(batch: Batch) -> set[str]:
    """Ids of which `settle` must know the standing version."""
    return {d.id for d in batch.drafts} | {r.id for r in batch.peers} | set(batch.dropped)


def settle(batch: Batch, standing: Mapping[str, Standing], last: Cursor, site: str, seal: Seal) -> Settled:
    """The outcome of `batch` where `standing` holds what stands of `touched(batch)`.

    Raises Conflict when a draft's base is not what stands, and whatever `seal` raises; then nothing of the
    batch is to be written.
    """
    now = dict(standing)
    last = Cursor(max(last.incarnation, batch.incarnation_at_least), last.seq)
    puts: dict[str, Record] = {}
    written: list[Record] = []
    for draft in batch.drafts:
        last = Cursor(last.incarnation, last.seq + 1)
        record = _write(draft, now.get(draft.id), last, seal)
        now[record.id] = Standing.of(record)
        puts[record.id] = record
        written.append(record)
    accepted: list[Record] = []
    stale: list[Record] = []
    equivocations: list[Record] = []
    for record in batch.peers:
        held = now.get(record.id)
        if held is None or record.order > held.order:
            now[record.id] = Standing.of(record)
            puts[record.id] = record
            accepted.append(record)
        elif record.order == held.order and record.digest != held.digest:
            equivocations.append(record)
        else:
            stale.append(record)
    last = _above_own(batch.peers, site, last)
    dropped = set(batch.dropped)
    gone = {id for id in standing if id in dropped or id in puts}
    kept = {id: record for id, record in puts.items() if id not in dropped}
    committed = Committed(
        written=tuple(written),
        accepted=tuple(accepted),
        stale=tuple(stale),
        equivocations=tuple(equivocations),
    )
    return Settled(committed, last, gone, kept)


def _write(draft: Draft, held: Standing | None, place: Cursor, seal: Seal) -> Record:
    found = None if held is None else held.order
    if draft.base != found:
        raise Conflict(f"{draft.id}: {_seen(draft.base)} was seen, but {_seen(found)} stands")
    order = Order(draft.epoch, draft.adopter, place.incarnation, place.seq)
    if found is not None and order <= found:
        # Somebody adopted the record: whatever the old home writes would stand below and be lost in silence.
        raise Conflict(f"{draft.id}: the new version would be below the one that stands, {_seen(found)}")
    record = seal(draft, order)
    if record.id != draft.id or record.order != order:
        raise ValueError(f"the seal of {draft.id} made another record: {record.id}, {_seen(record.order)}")
    return record


def _seen(order: Order | None) -> str:
    if order is None:
        return "no version"
    return f"version {order.epoch}/{order.adopter or '-'}/{order.incarnation}/{order.seq}"


def _above_own(records: Iterable[Record], site: str, last: Cursor) -> Cursor:
    """`last`, or this site's highest place among `records`: a place that was once seen is never given again.

    The seq stays at its height when the incarnation jumps, so that seq alone rises within a database, too.
    """
    own = [r.cursor for r in records if r.home == site]
    return Cursor(
        max([last.incarnation, *(c.incarnation for c in own)]),
        max([last.seq, *(c.seq for c in own)]),
    )


def advanced(old: Cursor | None, new: Cursor) -> Cursor:
    """A cursor of reading never goes back."""
    return new if old is None else max(old, new)

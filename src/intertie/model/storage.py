"""What an agent asks of its store, and what the store answers (docs/design: federation rules 1–3, 12, 18).

A store keeps, for one site: the standing version of every record that it knows (its own and its peers'), how far
it has read each peer, how far each peer has read it, and small local values. All changes go in by `Batch`es; a
batch is written whole or not at all, and it is durable when `commit` returns.

**The place in the order.** The store alone hands out (incarnation, seq), inside the transaction, so that the order
of commits is the order of seqs. Within a database seq only rises, also when the incarnation does, and a place is
never given twice: not after a crash, not when tombstones were dropped, not when own records come back from peers.

**Compare and set.** A draft's `base` is the order of the version that its writer saw. None means that the store
holds *nothing* under this id. A withdrawn record is something: to write after it, say which version was seen.

**Peers' records** (rule 2): only a higher order replaces what stands. An equal order with the same bytes is a
repeated delivery (`stale`); with other bytes it is equivocation, and the first seen stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from intertie.model.errors import Unavailable
from intertie.model.records import Cursor, Draft, Order, Record


class Seal(Protocol):
    """Makes the signed record of a draft. Called by the store inside its transaction, perhaps in another thread.

    It may be called again for the same draft with another order if a transaction had to be given up. What it
    raises reaches the caller of `commit`; that batch is not written, others are.
    """

    def __call__(self, draft: Draft, order: Order) -> Record: ...


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """A value that never leaves this site: a token's hash, an idempotency key, a setting. None deletes it."""

    space: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Everything that is to become durable together. Applied in the order of the fields."""

    incarnation_at_least: int = 0
    """Raises the own incarnation, before the drafts get their places (rule 18: restored sites go on above)."""
    drafts: tuple[Draft, ...] = ()
    peers: tuple[Record, ...] = ()
    """Records of others, already verified; also own ones that come back from a peer after a restore."""
    dropped: tuple[str, ...] = ()
    """Ids to forget for good: compacted tombstones."""
    cursors: Mapping[str, Cursor | None] = field(default_factory=dict)
    """How far this site has read each peer. Never goes back; None forgets the peer, so that reading starts anew."""
    acked: Mapping[str, Cursor | None] = field(default_factory=dict)
    """How far each peer says it has read this site. The peer's last word stands, also a lower one: a peer that
    lost its store needs everything again, and a late message does no harm but a repeated delivery."""
    local: tuple[LocalEntry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What became of a batch."""

    written: tuple[Record, ...] = ()
    """Own records, sealed, in the order of the drafts and so of their seqs."""
    accepted: tuple[Record, ...] = ()
    """Others' records that are now the standing versions, or were until a later one of this batch."""
    stale: tuple[Record, ...] = ()
    """Others' records below what stands, or equal to it: nothing new."""
    equivocations: tuple[Record, ...] = ()
    """Others' records with the order, but not the bytes, of what stands. Not stored: the first seen stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What is in a store when it is opened."""

    records: tuple[Record, ...]
    """The standing versions, withdrawn ones too, by id."""
    cursors: Mapping[str, Cursor]
    acked: Mapping[str, Cursor]
    local: Mapping[str, Mapping[str, str]]
    """space → key → value."""
    incarnation: int
    """From 1; at least what was asked for, and above the one of a store that was lost."""
    seq: int
    """The last seq given; the next record gets seq + 1."""
    fresh: bool
    """There was no database: it was made just now."""
    lineage: str = ""
    """The id of the store's life, the same for all agents that have it open together. "": the store is for one agent
    at a time, and each opening begins another one."""
    behind: Cursor | None = None
    """The store had once come this far and has not now: it was lost, or an older copy was put back. The
    incarnation is already above; take own records back from peers before anything is allocated (rule 18)."""
    opened: Cursor | None = None
    """With a lineage: the last place that had been given when it began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What other agents of this site have made durable in the store that they share, as it stands now."""

    records: tuple[Record, ...] = ()
    dropped: tuple[str, ...] = ()
    """Ids that are there no more."""
    cursors: Mapping[str, Cursor | None] = field(default_factory=dict)
    acked: Mapping[str, Cursor | None] = field(default_factory=dict)
    local: tuple[LocalEntry, ...] = ()
    incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What an agent hears from the store that it shares, once or twice a second and whenever others wrote."""

    lineage: str
    """As `Snapshot.lineage`; it changes when the database was moved or copied, so that two copies do not share it."""
    leads: bool
    """Whether this agent holds the lease for the next LEASE seconds."""
    news: bool
    """Others have committed what this agent has not seen."""
    said: tuple[str, ...] = ()
    """What others said by `relay`, in their order."""


LEASE = 3.0
"""Seconds for which the lease is given. It saves work; nothing depends on it but the work that two would do twice."""


class StorageError(Unavailable):
    """A leaf group of the tree in `model.errors`: the store cannot be used as it is. Code `storage`."""


class Damaged(StorageError):
    """What is on disk is not what was written. Nothing was read from it and nothing was changed (I21)."""


class InUse(StorageError):
    """Another process has the database open: one agent a site on SQLite."""


class Overtaken(StorageError):
    """Another agent of this site committed first: the batch was decided on what stands no more, and nothing of it
    was written. Take over `change`, decide again. Only from a store that several agents share."""

    def __init__(self, change: Change) -> None:
        super().__init__("another agent of this site was first", hint="try again")
        self.change = change


class TooNew(StorageError):
    """Written by a later version of Intertie than this one."""

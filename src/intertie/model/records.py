"""Records: what a site publishes, and of which it is the only writer (docs/design: federation rules 1–4).

A record on disk and on the wire is the exact byte string that its home signed. `Record` is a parsed view of
those bytes; digest and signature cover `raw`, so two versions of Intertie agree on digests whatever fields
they know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

MAX_RECORD = 64 * 1024


class Kind(StrEnum):
    SITE = "site"
    INTRODUCTION = "introduction"
    FORGOTTEN = "forgotten"
    GRANT = "grant"
    VPN = "vpn"
    ANSWER = "answer"
    PROPOSAL = "proposal"
    MAPPING = "mapping"
    NETWORK = "network"
    HOST = "host"


PUBLIC = frozenset({Kind.SITE, Kind.INTRODUCTION, Kind.FORGOTTEN, Kind.GRANT})
"""Kinds that every peer gets; the others go to the sites they concern and to nobody else."""


class State(StrEnum):
    LIVE = "live"
    CLOSING = "closing"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Which of two versions of a record stands: the lexically higher (rule 2).

    `adopter` is "" until a site adopts the record of a dead home (epoch + 1).
    """

    epoch: int = 0
    adopter: str = ""
    incarnation: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """How far one site has read another's records: everything up to (incarnation, seq)."""

    incarnation: int = 0
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    kind: Kind
    id: str
    home: str
    order: Order
    state: State = State.LIVE
    names: tuple[str, ...] = ()
    """The sites that this version names, sorted."""
    owes: tuple[str, ...] = ()
    """Every site ever named that has not yet drained, sorted; the record goes to these too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A record that this site is about to write: the store gives it its place in the order, the key its signature.

    `base` is the order that the writer saw (None: the record is new); the store refuses the batch when
    another writer was faster.
    """

    kind: Kind
    id: str
    state: State = State.LIVE
    names: tuple[str, ...] = ()
    owes: tuple[str, ...] = ()
    body: Any
    base: Order | None = None
    epoch: int = 0
    adopter: str = ""

    def header(self, home: str, order: Order) -> Header:
        """The header of the record that it becomes at its place in the order."""
        return Header(
            kind=self.kind, id=self.id, home=home, order=order, state=self.state, names=self.names, owes=self.owes
        )


@dataclass(frozen=True, slots=True)
class Record:
    """One version of a record. `body` is the dataclass of its kind (`model.bodies`)."""

    header: Header
    body: Any
    raw: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the signed bytes, in hex."""
        return sha256(self.raw).hexdigest()

    @property
    def id(self) -> str:
        return self.header.id

    @property
    def home(self) -> str:
        return self.header.home

    @property
    def order(self) -> Order:
        return self.header.order

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.header.order.incarnation, self.header.order.seq)

    @property
    def live(self) -> bool:
        return self.header.state is not State.WITHDRAWN

    def concerns(self, site: str) -> bool:
        """Whether `site` is to be given this record (rule 4)."""
        return self.header.kind in PUBLIC or site in self.header.names or site in self.header.owes

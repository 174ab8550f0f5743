"""What the agent needs of the world, as protocols: the agent imports these, `main` brings what satisfies them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from intertie.model.bodies import Address, Prefix
from intertie.model.items import Inventory, Item, Key, NetworkFacts, Segment
from intertie.model.records import Draft, Order, Record
from intertie.model.storage import Batch, Beat, Change, Committed, Seal, Snapshot


class Store(Protocol):
    """Where records are durable. `commit` returns only after the disk has it (rule 3)."""

    async def open(self, incarnation_at_least: int) -> Snapshot: ...
    async def commit(self, batch: Batch, seal: Seal) -> Committed: ...
    async def close(self) -> None: ...


class Shared(Protocol):
    """A store that several agents of the site have open at once: its `commit` may raise Overtaken."""

    async def catch_up(self) -> Change | None:
        """What the others committed since this was last asked, or told by Overtaken; None: nothing. StorageError if
        that cannot be known, Damaged if the store is not what it was: then only starting anew helps."""
        ...

    async def beat(self) -> Beat:
        """Waits until the others commit or say something, for a second at most. StorageError while the store cannot
        be reached; the next beat tries again."""
        ...

    def relay(self, words: str) -> None:
        """Says something to the others, soon; it need not reach them."""
        ...


class Keys(Protocol):
    """The site's root key, and the check of others'."""

    @property
    def root(self) -> str:
        """The site's root certificate (DER, base64), as its Site record carries it."""
        ...

    @property
    def fingerprint(self) -> str: ...
    def seal(self, site: str, draft: Draft, order: Order) -> Record: ...
    def verify(self, root: str, record: Record) -> bool: ...
    def fingerprint_of(self, root: str) -> str: ...
    def point_of(self, root: str) -> bytes:
        """The root's public key, as an invitation carries it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What a token says: who invites, where it is called, and the key it will prove to have."""

    name: str
    inviter: str
    address: str
    key: bytes
    secret: str


class Invitations(Protocol):
    """Tokens of one-time invitations, as text that people paste."""

    def make(self, name: str, inviter: str, address: str) -> tuple[str, str]:
        """(token, hash of its secret)."""
        ...

    def parse(self, token: str) -> Invitation: ...
    def hash(self, secret: str, name: str) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """Whom to call: name, "host:port", and the root (DER, base64) that it must prove; `key` for first contact."""

    name: str
    address: str
    root: str = ""
    key: bytes = b""


Handler = Callable[[str | None, bytes], Awaitable[bytes]]
"""(the peer that the certificate names; None for first contact, request) → reply."""


class PeerTransport(Protocol):
    """The one peer call. Never retries; Unavailable when there was no reply."""

    async def call(self, peer: PeerAddress, body: bytes, timeout: float) -> bytes: ...
    def trust(self, pins: Mapping[str, str]) -> None:
        """The peers and roots (DER, base64) that are trusted from now on; connections of others are cut."""
        ...


class Cloud(Protocol):
    """The site's cloud: its networks and hosts."""

    async def inventory(self) -> tuple[NetworkFacts, ...]: ...
    async def free_bridges(self) -> tuple[str, ...]:
        """Existing bridges that could become a network."""
        ...

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]: ...
    def changes(self) -> AsyncIterator[Key]: ...
    async def ensure(self, item: Item) -> None: ...
    async def remove(self, item: Item) -> None: ...


class Transport(Protocol):
    """What carries segments between sites."""

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]: ...
    def changes(self) -> AsyncIterator[Key]: ...
    async def ensure(self, item: Item) -> None: ...
    async def remove(self, item: Item) -> None: ...


class SegmentProbes(Protocol):
    """Probes within segments. RTT in ms; None when nothing came back."""

    async def set_segments(self, segments: Collection[Segment]) -> None: ...
    async def probe(self, vpn: str, site: str, size: int | None, timeout: float) -> float | None: ...
    async def check_loops(self, vpn: str | None = None) -> None:
        """Send a nonce on each L2 segment; one that comes back from the tenants' side is a loop."""
        ...


class LinkProbes(Protocol):
    """Probes between underlay endpoints. RTT in ms; None when nothing came back."""

    async def probe(self, address: Address, timeout: float) -> float | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Echo:
    """What came back for one echo request from a host: RTT in ms, or why not."""

    rtt_ms: float | None = None
    problem: str = ""
    mtu: int = 0
    """With "fragmentation needed": the MTU that the router named."""


class HostPing(Protocol):
    """Echo requests sent from inside a host, unfragmented, of an exact IP packet size in octets."""

    async def ping(self, host: str, target: Address, size: int, timeout: float) -> Echo: ...


class Guards(Protocol):
    """Who is kept from the machines of a cloud's network by what the cloud itself lets in."""

    async def kept_out(self, network: str, prefixes: Collection[Prefix]) -> str:
        """In words, what of these prefixes (none: of the network's own, at other sites) no machine lets in; "" if
        nothing is kept out, or that is not known."""
        ...


class Unguarded:
    """Nobody is kept out."""

    async def kept_out(self, network: str, prefixes: Collection[Prefix]) -> str:
        return ""


class Clock(Protocol):
    def now(self) -> datetime:
        """UTC."""
        ...


class Chance(Protocol):
    """Jitter, so that sites which saw the same thing do not all speak at once."""

    def uniform(self, a: float, b: float) -> float: ...


class Log(Protocol):
    """One line a change or a fault: a short event, and its facts by name."""

    def info(self, event: str, **facts: object) -> None: ...
    def warning(self, event: str, **facts: object) -> None: ...
    def exception(self, event: str, **facts: object) -> None:
        """With the traceback of what is being handled."""
        ...


class Tracer(Protocol):
    """Spans, for whoever follows a request through sites. Nothing depends on them."""

    def span(self, name: str, parent: str = "", /, **facts: str) -> AbstractContextManager[str]:
        """What happens within is one span, of `parent` (a W3C traceparent; "": of the span around it, if any); an
        error that leaves it is noted. Gives the span's own traceparent; "" where nobody traces."""
        ...


class Untraced:
    """Nobody traces."""

    def span(self, name: str, parent: str = "", /, **facts: str) -> AbstractContextManager[str]:
        return nullcontext("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One that will end: `kind` root (a site's), tls (this site's towards peers), or users (of the user API)."""

    kind: str
    site: str
    ends: datetime | None
    """None: it cannot be read, or there is none yet."""
    problem: str = ""
    """Why it was not replaced when it was time, or cannot be read."""
    rotates: bool = False
    """It is replaced by itself, long before its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """Octets; None where that cannot be told."""

    used: int | None = None
    free: int | None = None
    """On the disk that it is on."""


class Surroundings(Protocol):
    """What an operator wants to know of the process and the machine around the agent."""

    def certificates(self, roots: Mapping[str, str]) -> Sequence[Certificate]:
        """Those of this site and the roots (DER, base64) of these, by name."""
        ...

    def store(self) -> StoreFacts: ...
    def settings(self) -> Mapping[str, object]:
        """As they apply; passwords may be in them."""
        ...

    def log(self) -> Sequence[str]:
        """The last lines."""
        ...

    async def machine(self) -> Mapping[str, object]:
        """Versions, kernel, and what its drivers can do here."""
        ...


class Nowhere:
    """No surroundings that could be told of."""

    def certificates(self, roots: Mapping[str, str]) -> Sequence[Certificate]:
        return ()

    def store(self) -> StoreFacts:
        return StoreFacts()

    def settings(self) -> Mapping[str, object]:
        return {}

    def log(self) -> Sequence[str]:
        return ()

    async def machine(self) -> Mapping[str, object]:
        return {}


class Ids(Protocol):
    def new(self) -> str:
        """A ULID: sortable by time, unique."""
        ...


Look = Callable[[], Awaitable[Inventory]]

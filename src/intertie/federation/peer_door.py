"""Who may hold how many connections.

Nobody is turned away for being new: when a share is used up, its oldest connection gives way. A stranger is a
connection that has not proved to be a peer: still in its handshake, or about to join. Peers have shares of
their own, so that no number of strangers costs a peer its connection, nor one peer another's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may cost. Times in seconds, sizes in octets."""

    strangers: int = 256
    strangers_per_source: int = 32
    """An IPv4 address or an IPv6 /64: what one machine is usually given."""
    per_peer: int = 8
    handshake: float = 5.0
    head: float = 10.0
    """From the first octet of a request to the end of its header."""
    body: float = 60.0
    join: float = 10.0
    """All of a stranger's request."""
    join_body: int = 256 * 1024
    idle: float = 300.0
    reply: float = 60.0
    """For the peer to take the reply."""
    linger: float = 1.0
    """For a client that was refused to stop talking and read why."""


Source = IPv4Network | IPv6Network
_K = TypeVar("_K")


@dataclass(eq=False, slots=True)
class Guest:
    """One accepted connection, from before its handshake to its end."""

    source: Source
    abort: Callable[[], None]
    peer: str = ""
    """The site's name, once proved."""


@dataclass(slots=True)
class Door:
    limits: Limits
    gave_way: int = 0
    """How many connections were cut to make room for others, ever."""
    _strangers: dict[Source, dict[Guest, None]] = field(default_factory=dict)
    _arrivals: dict[Guest, None] = field(default_factory=dict)
    _peers: dict[str, dict[Guest, None]] = field(default_factory=dict)

    def enter(self, guest: Guest) -> None:
        """A stranger comes in; the oldest from its source, or of all, may have to go."""
        neighbours = self._strangers.get(guest.source, {})
        if len(neighbours) >= self.limits.strangers_per_source:
            self._oust(neighbours)
        if len(self._arrivals) >= self.limits.strangers:
            self._oust(self._arrivals)
        self._strangers.setdefault(guest.source, {})[guest] = None
        self._arrivals[guest] = None

    def recognise(self, guest: Guest, peer: str) -> None:
        """A stranger has proved to be this peer."""
        self.leave(guest)
        guest.peer = peer
        connections = self._peers.setdefault(peer, {})
        if len(connections) >= self.limits.per_peer:
            self._oust(connections)
        self._peers.setdefault(peer, {})[guest] = None

    def leave(self, guest: Guest) -> None:
        """The connection is over, or becomes another kind. Twice is once."""
        self._arrivals.pop(guest, None)
        _drop(self._strangers, guest.source, guest)
        _drop(self._peers, guest.peer, guest)

    def of(self, peer: str) -> list[Guest]:
        """Every connection of that peer."""
        return list(self._peers.get(peer, ()))

    def _oust(self, guests: dict[Guest, None]) -> None:
        oldest = next(iter(guests))
        self.gave_way += 1
        self.leave(oldest)
        oldest.abort()


def source_of(host: str) -> Source:
    """What counts as one source, of a socket's address."""
    address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, IPv6Address):
        return IPv6Network((address, 64), strict=False)
    return IPv4Network(address)


def _drop(table: dict[_K, dict[Guest, None]], key: _K, guest: Guest) -> None:
    guests = table.get(key)
    if guests is not None:
        guests.pop(guest, None)
        if not guests:
            del table[key]

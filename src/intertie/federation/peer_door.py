"""Who may hold how many connections, and make how many.

Nobody is turned away for being new: when a share is used up, its oldest connection gives way. A stranger is a
connection that has not proved to be a peer: still in its handshake, or about to join. Peers have shares of
their own, so that no number of strangers costs a peer its connection, nor one peer another's.

What costs more than memory has a rate as well: a handshake costs a signature, a join the reading of a record. Who
made too many that came to nothing is turned away before the next one; those that a peer proved itself with, and
joins that let somebody in, are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeVar

from intertie.federation.rates import Meter, Rate

_HANDSHAKES = Rate(256, per_second=32.0)
_JOINS = Rate(16, per_second=1.0)
_ALL_JOINS = Rate(128, per_second=16.0)
_CALLS = Rate(2048, per_second=256.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may cost. Times in seconds, sizes in octets."""

    strangers: int = 256
    strangers_per_source: int = 32
    """An IPv4 address or an IPv6 /64: what one machine is usually given."""
    per_peer: int = 8
    handshakes: Rate = _HANDSHAKES
    """Of one source, those that prove no peer."""
    joins: Rate = _JOINS
    """Of one source, those that let nobody in."""
    all_joins: Rate = _ALL_JOINS
    """Of all sources together: what strangers send takes a small part of the agent's time, whoever they are."""
    calls: Rate = _CALLS
    """Of one peer; one of many octets counts as several. Beyond it a peer is not refused, but waits for its turn."""
    octets_of_a_call: int = 64 * 1024
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
    turned_away: int = 0
    """How many connections and joins were refused because too many had come to nothing, ever."""
    _strangers: dict[Source, dict[Guest, None]] = field(default_factory=dict)
    _arrivals: dict[Guest, None] = field(default_factory=dict)
    _peers: dict[str, dict[Guest, None]] = field(default_factory=dict)
    _handshakes: Meter = field(init=False)
    _joins: Meter = field(init=False)
    _all_joins: Meter = field(init=False)
    _calls: Meter = field(init=False)

    def __post_init__(self) -> None:
        self._handshakes = Meter(self.limits.handshakes)
        self._joins = Meter(self.limits.joins)
        self._all_joins = Meter(self.limits.all_joins)
        self._calls = Meter(self.limits.calls)

    def opens(self, source: Source, now: float) -> bool:
        """Whether a connection from there is looked at: before it has cost anything but its acceptance."""
        return self._counted(self._handshakes.take(source, now))

    def may_join(self, guest: Guest, now: float) -> bool:
        """Whether a stranger's request is read."""
        mine = self._joins.wait(guest.source, now) == 0
        return self._counted(mine and self._all_joins.take("", now) and self._joins.take(guest.source, now))

    def joined(self, guest: Guest) -> None:
        """A stranger was let in: neither its connection nor its request was for nothing."""
        self._handshakes.give(guest.source)
        self._joins.give(guest.source)
        self._all_joins.give("")

    def turn(self, peer: str, now: float) -> float:
        """Seconds until the next request of that peer is read."""
        return self._calls.wait(peer, now)

    def called(self, peer: str, octets: int, now: float) -> None:
        """A request of that peer was read."""
        self._calls.charge(peer, now, 1 + octets / self.limits.octets_of_a_call)

    def _counted(self, welcome: bool) -> bool:
        self.turned_away += not welcome
        return welcome

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
        self._handshakes.give(guest.source)
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

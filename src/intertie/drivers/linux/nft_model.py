"""nf_tables' tables, chains, sets and rules as values.

Expressions work on 32-bit registers, numbered 0 to 15 here: a comparison of n octets begins at its register.
All values are in network byte order, but for interface names (NUL-padded to 16) and `meta` numbers that the
kernel keeps in the host's order, which the constants below mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

IFNAMSIZ = 16
LONGEST_COMMENT = 120
"""Octets of a rule's comment: nft(8) reads no more than 128 (the kernel would take twice as many)."""


LEARNT_SECONDS = 300
LEARNT_MOST = 1 << 16


class Family(IntEnum):
    INET = 1
    BRIDGE = 7


class HookPoint(IntEnum):
    PREROUTING = 0
    INPUT = 1
    FORWARD = 2
    OUTPUT = 3
    POSTROUTING = 4


class MetaKey(IntEnum):
    PROTOCOL = 1
    """EtherType, network order."""
    IIFNAME = 6
    OIFNAME = 7
    NFPROTO = 15
    """One octet: 2 for IPv4, 10 for IPv6."""
    L4PROTO = 16
    """One octet; set only where the kernel found a transport header, behind extension headers too."""
    PKTTYPE = 19
    """One octet: 0 to this host, 1 broadcast, 2 multicast, 3 to another host."""


class Base(IntEnum):
    LINK = 0
    NETWORK = 1
    TRANSPORT = 2


class Op(IntEnum):
    EQ = 0
    NE = 1
    LT = 2
    LE = 3
    GT = 4
    GE = 5


class Code(IntEnum):
    DROP = 0
    ACCEPT = 1
    JUMP = -3
    RETURN = -5


@dataclass(frozen=True, slots=True)
class Meta:
    key: MetaKey
    register: int = 0


@dataclass(frozen=True, slots=True)
class Payload:
    """Load `length` octets of the packet. The rule does not match if they are not there."""

    base: Base
    offset: int
    length: int
    register: int = 0


@dataclass(frozen=True, slots=True)
class SetPayload:
    """Write the register into the packet; no checksum is corrected."""

    base: Base
    offset: int
    length: int
    register: int = 0


@dataclass(frozen=True, slots=True)
class Value:
    """Load a constant."""

    value: bytes
    register: int = 0


@dataclass(frozen=True, slots=True)
class Cmp:
    op: Op
    value: bytes
    register: int = 0


@dataclass(frozen=True, slots=True)
class Mask:
    """AND the register with the mask, in place."""

    mask: bytes
    register: int = 0


@dataclass(frozen=True, slots=True)
class Lookup:
    set: str
    invert: bool = False
    register: int = 0


@dataclass(frozen=True, slots=True)
class Learn:
    """Put the register's value into a learnt set, or keep it there for longer."""

    set: str
    register: int = 0


@dataclass(frozen=True, slots=True)
class LimitOver:
    """Matches what exceeds `rate` packets a second after a burst."""

    rate: int
    burst: int


@dataclass(frozen=True, slots=True)
class Verdict:
    code: Code
    chain: str = ""


@dataclass(frozen=True, slots=True)
class Counter:
    """Counts what comes by; the count is no part of the rule."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """An expression that we never write."""

    name: str


Expression = (
    Meta | Payload | SetPayload | Value | Cmp | Mask | Lookup | Learn | LimitOver | Verdict | Counter | Unknown
)


@dataclass(frozen=True, slots=True)
class Rule:
    expressions: tuple[Expression, ...]
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Hook:
    point: HookPoint
    priority: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Accepts what no rule decided. Without a hook it only runs when jumped to."""

    name: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None


class FieldType(IntEnum):
    """What a set holds; the number is what nft(8) shows it as."""

    IPV4 = 7
    IPV6 = 8
    MAC = 9

    @property
    def size(self) -> int:
        return {FieldType.IPV4: 4, FieldType.IPV6: 16, FieldType.MAC: 6}[self]


@dataclass(frozen=True, slots=True)
class Set:
    """A named set of addresses, packed. No intervals: the kernel keeps those in structures that it swaps a moment
    after the rules, so that an edit could lose a packet."""

    name: str
    type: FieldType
    elements: frozenset[bytes] = frozenset()
    learnt: bool = False
    """Filled by `Learn`, forgotten LEARNT_SECONDS after: its elements are no part of it, and survive an edit."""


@dataclass(frozen=True, slots=True)
class Table:
    """Chains and sets have no order but their names': it is put in."""

    family: Family
    name: str
    chains: tuple[Chain, ...] = ()
    sets: tuple[Set, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", tuple(sorted(self.chains, key=lambda chain: chain.name)))
        object.__setattr__(self, "sets", tuple(sorted(self.sets, key=lambda each: each.name)))

    def chain(self, name: str) -> Chain | None:
        return next((chain for chain in self.chains if chain.name == name), None)


def interface(name: str) -> bytes:
    """An interface's name as `meta iifname` compares it."""
    return name.encode().ljust(IFNAMSIZ, b"\0")

"""What each kind of record says. One frozen dataclass a kind; `BODIES` is the whole list."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from intertie.model.errors import Reason
from intertie.model.records import Kind, Order

Address = IPv4Address | IPv6Address
Prefix = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    lat: float
    lon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFacts:
    """What a site can carry, found by probing the machine; `reason` says what is missing when not ok."""

    name: str
    ok: bool
    l2: bool = False
    l3: bool = False
    encrypted: bool = False
    overhead: int = 0
    """Octets that the transport adds to a tenant's packet over this site's underlay."""
    underlay_mtu: int = 1500
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBody:
    """A site's public word on itself. `address` is where peers call it, "" if it cannot be reached."""

    name: str
    version: str
    root: str
    """The site's self-signed root certificate (X.509 DER, base64)."""
    address: str = ""
    underlay: tuple[Address, ...] = ()
    location: Location | None = None
    transports: tuple[TransportFacts, ...] = ()
    cloud: str = ""
    cell: str = ""
    """If the site is one cell of a cloud: which, of which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntroductionBody:
    """The home vouches for `site`: this is its root. A site's own introduction of a peer *is* its pin of it."""

    site: str
    root: str
    address: str = ""
    incarnation: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenBody:
    """The home no longer takes anything from this incarnation (or an earlier one) of `site` (rule 17)."""

    site: str
    incarnation: int
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantBody:
    """A block of numbers, both ends included, handed by the home to `to` (rule 15)."""

    space: str
    first: int
    last: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingBody:
    """Which project of a peer's stands for which of ours, and what it may do. Default deny."""

    peer: str
    theirs: str
    ours: str
    may: tuple[str, ...] = ("l2", "l3", "read")


class VpnKind(StrEnum):
    L2 = "l2"
    L3 = "l3"


class Require(StrEnum):
    ALL = "all"
    ANY = "any"


class Gateway(StrEnum):
    PER_SITE = "per-site"
    ANYCAST = "anycast"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Range:
    """Addresses first..last, both included, of one IP version."""

    first: Address
    last: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """A member's end of a Vpn: `site[/cell][:network]`. `leaving` marks a member that is being removed."""

    site: str
    cell: str = ""
    network: str = ""
    """Name or id of a network at that site; "" for an L2 member that makes its own."""
    prefixes: tuple[Prefix, ...] = ()
    leaving: bool = False
    agreed: bool = False
    """Set by the home once all members had said yes: a later no is shown, and ends nothing that forwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The part of an L2 Vpn's addresses that the record gives to one member, and its gateway there."""

    site: str
    ranges: tuple[Range, ...]
    gateways: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnBody:
    """The inter-site service (rule 5). Kind, VNI, route target, prefixes, MTU and carrier never change."""

    name: str
    kind: VpnKind
    project: str
    transport: str
    vni: int
    route_target: str
    mtu: int
    attachments: tuple[Attachment, ...]
    require: Require = Require.ALL
    gateway: Gateway = Gateway.PER_SITE
    """Only per-site is made yet; no user can ask for the other."""
    network: str = ""
    """L2: the name that a member gives to the network it makes."""
    prefixes: tuple[Prefix, ...] = ()
    """L2: the stretched network's prefixes."""
    shares: tuple[Share, ...] = ()
    created_at: datetime
    refusal: Reason | None = None
    """Set by the home when a member's refusal made it withdraw; shown as phase `refused` until deleted."""
    successors: tuple[str, ...] = ()
    adopted: Order | None = None
    """The version on which the last adoption went: what the home before wrote after it, the adopter did not know."""


class Word(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD = "held"
    DRAINED = "drained"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Endpoint:
    """Where a member's segment is reached: VTEP address and UDP port, and the MAC of its segment device."""

    address: Address
    port: int = 4789
    mac: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gift:
    """Addresses that a member of an L2 Vpn has let go of, and that `to` may take (rule 16). `by` and `number` name
    it: whoever repeats it for a member that has left, nobody takes it twice."""

    by: str
    number: int
    to: str
    stay: int
    """During which membership of `to`: one that was removed and added again is another one."""
    ranges: tuple[Range, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The last gift of `by` that a member took."""

    by: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What a site held that was forgotten. It is nobody's until each of `members` has forgotten it too (rule 17)."""

    site: str
    ranges: tuple[Range, ...]
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """How what a member of an L2 Vpn holds came to differ from its share in the record: by gifts (rules 15, 16)."""

    got: tuple[Range, ...] = ()
    """Held beyond the share."""
    given: tuple[Range, ...] = ()
    """Not to be taken up again because the share has it: only who has it now can give it back."""
    gifts: tuple[Gift, ...] = ()
    """Let go of, and not known to have been taken."""
    taken: tuple[Taken, ...] = ()
    awaited: tuple[Awaited, ...] = ()
    number: int = 0
    """Of the last gift made."""
    stay: int = 0
    """How many times this site had let go of the Vpn and was made a member again."""
    leaves: bool = False
    """Said as a member that is to leave: once it has drained, its home may have passed on what it held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerBody:
    """A member's word on a Vpn that names it (rule 6): promises and facts, never packet status."""

    vpn: str
    order: Order
    digest: str
    word: Word
    reason: Reason | None = None
    ports: int = 0
    """With `held`: how many ports keep it from draining."""
    network: str = ""
    """Id of the network at the member."""
    network_name: str = ""
    project: str = ""
    prefixes: tuple[Prefix, ...] = ()
    ranges: tuple[Range, ...] = ()
    gateways: tuple[Address, ...] = ()
    routes: tuple[Prefix, ...] = ()
    """L3: the other members' prefixes that this site has taken, first come, first held."""
    ledger: Ledger = Ledger()
    free: tuple[int, ...] = ()
    """L2: addresses that are left in each of its prefixes; from 8 on rounded down to a power of two, at most 1024."""
    asks: str = ""
    """L2: the member that is asked for addresses."""
    endpoints: tuple[Endpoint, ...] = ()
    mtu: int = 0
    realised: bool = False
    failed: Reason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalBody:
    """A change asked for at a site that is not the home (rule 13)."""

    vpn: str
    base: Order
    change: str
    """"update" or "delete"."""
    name: str = ""
    attachments: tuple[Attachment, ...] = ()
    force: bool = False
    project: str = ""
    key: str = ""
    not_after: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkBody:
    """A network that this site's own cloud is to hold. Local: goes to nobody."""

    name: str
    project: str
    prefixes: tuple[Prefix, ...]
    mtu: int
    bridge: str = ""
    """An existing bridge to use ("": we make one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBody:
    """A host on one of this site's networks. Local."""

    name: str
    project: str
    network: str
    addresses: tuple[Address, ...]


Body = (
    SiteBody
    | IntroductionBody
    | ForgottenBody
    | GrantBody
    | MappingBody
    | VpnBody
    | AnswerBody
    | ProposalBody
    | NetworkBody
    | HostBody
)

BODIES: dict[Kind, type] = {
    Kind.SITE: SiteBody,
    Kind.INTRODUCTION: IntroductionBody,
    Kind.FORGOTTEN: ForgottenBody,
    Kind.GRANT: GrantBody,
    Kind.MAPPING: MappingBody,
    Kind.VPN: VpnBody,
    Kind.ANSWER: AnswerBody,
    Kind.PROPOSAL: ProposalBody,
    Kind.NETWORK: NetworkBody,
    Kind.HOST: HostBody,
}

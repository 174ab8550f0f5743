"""What users ask for and what the REST API shows: one shape for the agent, its API and the client.

As JSON a name that Python keeps for itself (`from_`) is without its underscore. Times are UTC; RTT is in ms, loss a
share 0..1. Fields may be added: each new one has a default, so that a client reads agents that do not have it yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from intertie.model.bodies import Address, Attachment, Location, Prefix, Range, Require, TransportFacts, VpnKind

# ── Vpns ──────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnRequest:
    """What a user asks for."""

    name: str
    kind: VpnKind
    attachments: tuple[Attachment, ...]
    transport: str = ""
    require: Require = Require.ALL


class Health(StrEnum):
    UNKNOWN = "unknown"
    READY = "ready"
    DOWN = "down"


class Phase(StrEnum):
    WAITING = "waiting"
    READY = "ready"
    DEGRADED = "degraded"
    REFUSED = "refused"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    from_: str
    to: str
    health: Health
    rtt_ms: float | None
    loss: float | None
    probed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    site: str
    network: str
    answer: str
    reason: str
    hint: str
    ranges: tuple[Range, ...]
    free: tuple[int, ...]
    """L2: addresses left for hosts, in each of the Vpn's prefixes; from 8 on rounded down to a power of two."""
    asks: str
    """L2: the member that it asks for more, "" if none."""
    ports_in_use: int
    health: Health
    rtt_ms: float | None
    loss: float | None
    probed_at: datetime | None
    realised: bool
    leaving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalView:
    """A change that was asked for at this site, and what its home says: waiting, or refused and why."""

    proposal: str
    change: str
    name: str
    members: tuple[str, ...]
    """With update: the sites that are to be members."""
    force: bool
    waiting_for: str
    not_after: datetime
    answer: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberWish:
    site: str
    network: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupersededView:
    """A version of this site's that yielded. With `name` and `attachments` it can be asked for again; where it was
    the Vpn's end, `ending` is so."""

    version: str
    at: datetime
    by: str
    what: str
    """How it differs from what stands, in words."""
    name: str
    attachments: tuple[MemberWish, ...]
    ending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnView:
    """A Vpn as the REST API shows it (docs/interface.md)."""

    id: str
    name: str
    kind: str
    project: str
    owner: str
    epoch: int
    version: tuple[int, int]
    transport: str
    vni: int
    route_target: str
    mtu: int
    require: str
    phase: Phase
    reason: str
    hint: str
    """With a refusal: what would make it work."""
    created_at: datetime
    prefixes: tuple[str, ...]
    members: tuple[MemberView, ...]
    pairs: tuple[PairView, ...]
    proposals: tuple[ProposalView, ...] = ()
    """Changes that were asked for here, and that the home, another site, has not applied."""
    superseded: tuple[SupersededView, ...] = ()
    """What this site wrote as its home before it heard that another had adopted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A change that waits for the Vpn's home."""

    proposal: str
    waiting_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingVpn(VpnView):
    """A Vpn whose change waits for its home, another site."""

    pending: Pending


@dataclass(frozen=True, slots=True, kw_only=True)
class EndView:
    """One end of a verified pair."""

    site: str
    host: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPair:
    """What a pair of hosts (or, where there are none, of segments) said when it was asked just now."""

    from_: EndView
    to: EndView
    rtt_ms: float | None
    mtu: int
    """Octets of the largest packet that was proved to cross in one piece; 0 if none."""
    ok: bool
    broken_at: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    ok: bool
    pairs: tuple[VerifiedPair, ...]


# ── Plans ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    site: str
    op: str
    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """What a change would do, at every member. `base_version` names the plan: with it as If-Match (`--base`) the
    change is refused if it would do something else by now."""

    base_version: str
    changes: tuple[PlanChange, ...]
    refusals: tuple[PlanChange, ...] = ()
    """What members would refuse, as far as this site knows."""
    notes: tuple[PlanChange, ...] = ()
    """What is worth knowing before: hosts that send larger packets than cross, what only a member can say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePlan(PlanView):
    """`orphans` carry our mark but no record explains them; `kept` go when nobody's port is on them any more."""

    orphans: tuple[PlanChange, ...]
    kept: tuple[PlanChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Of the orphans: which go (or went), and which stay and why. `base_version` names what was shown."""

    base_version: str
    changes: tuple[PlanChange, ...]
    kept: tuple[PlanChange, ...]


# ── Networks and hosts ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkView:
    """A network of this site (docs/interface.md)."""

    id: str
    name: str
    site: str
    project: str
    prefixes: tuple[Prefix, ...]
    mtu: int
    bridge: str
    addresses_in_use: tuple[Address, ...]
    ranges: tuple[Range, ...]
    """What this site may give to hosts: all that is usable, or its part of an L2 Vpn."""
    gateways: tuple[Address, ...]
    ports: int
    attachable: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostView:
    """A host of this site. `address` is its first."""

    id: str
    name: str
    site: str
    project: str
    network: str
    address: Address
    addresses: tuple[Address, ...]
    mtu: int


# ── Sites ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """This site's word on itself."""

    name: str
    location: Location | None
    cloud: str
    cell: str
    """If the site is one cell of a cloud; attachments may then name it CLOUD/CELL."""
    version: str
    incarnation: int
    root_fingerprint: str
    """SHA-256 of the root key: what a careful peer compares over another channel."""
    address: str
    recovering: bool
    """The store was lost, and peers are giving back what they hold of this site."""
    transports: dict[str, TransportFacts]
    cloned_at: list[str]
    """Peers that hear two agents write as this site (a copied machine): they take nothing of either, and it writes
    nothing, until one of the two is ended."""
    warnings: tuple[str, ...] = ()
    """What the operator should look at; only an admin is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationView:
    """`token` is for the invited site's operator, and shown this once."""

    token: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """A peer as `site list` shows it."""

    name: str
    state: str
    """pending, up, silent, quarantined (two agents write as it: nothing of it is taken) or forgotten."""
    address: str
    last_seen: datetime | None
    rtt_ms: float | None
    introduced_by: str = ""
    """With pending: who vouches for it; it waits for `site approve`."""
    problem: str = ""
    fingerprint: str = ""
    location: Location | None = None
    cloud: str = ""
    cell: str = ""
    transports: tuple[TransportFacts, ...] = ()
    """In the peer's own words, as last heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingView:
    """Which project of a peer's stands for which of ours, and what it may do."""

    peer: str
    theirs: str
    ours: str
    may: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """A token without its secret; `token` is filled only in the answer that makes it."""

    id: str
    project: str
    role: str
    created_at: datetime
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleView:
    """File name → text: JSON, metrics as Prometheus reads them, lines of the log."""

    site: str
    made_at: datetime
    files: dict[str, str]


# ── What happens, and what goes wrong ─────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, as /v1/events tells it."""

    seq: int
    at: datetime
    kind: str
    id: str
    site: str
    what: str
    request: str = ""
    """The user's request that caused it, here or at another site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """What is wrong with one part of a request: `attachments[0].site`, `is missing`."""

    field: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """RFC 9457. `code` is stable and for programs; `detail` and `hint` are for people: what, and what would help."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    hint: str = ""
    sites: tuple[str, ...] = ()
    """The sites that it is about."""
    fields: tuple[FieldProblem, ...] = ()
    """With `invalid`: the parts of the request that are wrong."""

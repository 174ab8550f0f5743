"""What a site's cloud and data plane hold: the items that drivers observe, ensure and remove.

An item is both the wish (compiled from records) and the sight (parsed from the system): the same dataclass,
so that `diff` is an equality. Everything in it can be read back from the system by a driver that remembers
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Interface, IPv6Interface

from intertie.model.bodies import Address, Endpoint, Prefix, Range, TransportFacts, VpnKind

Interface = IPv4Interface | IPv6Interface


class ItemKind(StrEnum):
    NETWORK = "network"
    SEGMENT = "segment"
    HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A tenant network of the site's cloud.

    `bridge` names the Linux bridge that carries it; `own` is False for a bridge that was there before us,
    whose other ports and settings we never touch.
    """

    id: str
    name: str
    project: str
    prefixes: tuple[Prefix, ...]
    mtu: int
    bridge: str
    own: bool = True
    flaw: str = ""
    """As observed: what else is not as `ensure` leaves it, in words ("down, spanning tree on"). Wished: always ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host (a namespace on a `linux` cloud) with one port on a network.

    Interfaces and gateways are kept in order of version and address: a system does not remember another.
    """

    id: str
    name: str
    project: str
    network: str
    bridge: str
    interfaces: tuple[Interface, ...]
    gateways: tuple[Address, ...] = ()
    mtu: int
    flaw: str = ""
    """As a network's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "interfaces", tuple(sorted(set(self.interfaces), key=lambda i: (i.version, i))))
        object.__setattr__(self, "gateways", tuple(sorted(set(self.gateways), key=lambda g: (g.version, g))))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Remote:
    """Another member as this segment reaches it. Its endpoints are also the ingress allow-list."""

    site: str
    endpoints: tuple[Endpoint, ...]
    prefixes: tuple[Prefix, ...] = ()
    """L3: what is routed to it, and the only sources that may come from it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "endpoints", tuple(sorted(self.endpoints, key=lambda e: _rank(e.address))))
        object.__setattr__(self, "prefixes", tuple(sorted(self.prefixes, key=lambda p: (p.version, p))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One Vpn as this site's data plane holds it, keyed by (vpn, network).

    Its lists are kept in order (remotes by site, addresses by version and number): a system remembers no other.
    """

    vpn: str
    kind: VpnKind
    epoch: int
    vni: int
    network: str
    """Id of the network at this site."""
    bridge: str
    local: Endpoint
    mtu: int
    """The Vpn's MTU: what a tenant's packet may have end to end."""
    remotes: tuple[Remote, ...]
    """Sorted."""
    gateways: tuple[Interface, ...] = ()
    """This site's gateway addresses on the network. L3: they are configured on the router. L2: guarded, a
    remote may not claim them."""
    ranges: tuple[Range, ...] = ()
    """L2: addresses held by this site; a remote may not claim them."""
    transport: str = "vxlan"
    """What carries it: the name that sites advertise it by."""
    route_target: str = ""
    """AS:number (RFC 4360 section 4), for transports that know the Vpn by it; the others keep it as a label."""
    blocked: bool = False
    """A loop was seen: the segment is kept but forwards nothing."""
    flaw: str = ""
    """As observed: what the system lacks or has too much, in words ("the port of no bridge"). Wished: always ""."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "remotes", tuple(sorted(self.remotes, key=lambda r: r.site)))
        object.__setattr__(self, "gateways", tuple(sorted(self.gateways, key=lambda g: _rank(g.ip))))
        object.__setattr__(self, "ranges", tuple(sorted(self.ranges, key=lambda r: _rank(r.first))))


def _rank(address: Address) -> tuple[int, int]:
    return address.version, int(address)


Item = Network | Segment | Host
Key = tuple[ItemKind, str]
"""(kind, id): a network's or host's id, a segment's "vpn/network"."""


def key(item: Item) -> Key:
    """The item's identity."""
    match item:
        case Network():
            return (ItemKind.NETWORK, item.id)
        case Host():
            return (ItemKind.HOST, item.id)
        case Segment():
            return (ItemKind.SEGMENT, f"{item.vpn}/{item.network}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFacts:
    """One network as the cloud's inventory shows it: attachable or not, and why."""

    id: str
    name: str
    project: str
    prefixes: tuple[Prefix, ...]
    mtu: int
    bridge: str
    own: bool = True
    addresses_in_use: tuple[Address, ...] = ()
    """Seen on the network by whatever means the cloud has, our own hosts included."""
    gateways: tuple[Address, ...] = ()
    """What its hosts are told is their gateway, where the cloud decides that; (): each prefix's first address."""
    routed_by: str = ""
    """Who answers at its gateway, in words ("router r1"), if not we: an L3 Vpn needs that address here."""
    ports: int = 0
    """Ports of tenants (hosts, virtual machines): ours for Vpns and routers do not count."""
    attachable: bool = True
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What the cloud and the machine offer, as last looked at."""

    networks: tuple[NetworkFacts, ...] = ()
    transports: tuple[TransportFacts, ...] = ()
    underlay: tuple[Address, ...] = ()
    vnis: frozenset[int] = frozenset()
    """Carried by this machine's segments, orphans too."""

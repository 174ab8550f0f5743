"""Networks of the `linux` cloud: bridges, as steps and as items. Pure: no system is touched here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from hashlib import sha256
from ipaddress import ip_network

from intertie.drivers.linux import marks
from intertie.drivers.linux.rtnl import IFLA_BR_MCAST_SNOOPING, IFLA_BR_STP_STATE, Link
from intertie.drivers.linux.steps import AddBridge, AltNames, QuietBridge, SetLink, Setting, Step
from intertie.model.bodies import Address
from intertie.model.items import Network, NetworkFacts

PORT_MTU = 9216
"""MTU of our bridges and their ports: above any underlay's, so that size is judged by the Vpn's device."""

OWN, EXISTING = "network", "attached"
"""First word of a mark: a bridge that we made, and one that was there."""

VPN_PORTS = ("vx", "vr")
"""How the names of ports begin that transports make: they are no tenant's."""


def mac(site: str, id: str) -> str:
    """A MAC for an item of a site: 21 bits tell the site, 24 the item; unicast, locally administered.

    Sites so have distinct bases, and hosts that form their addresses from their MACs stay apart (rule 16). The
    first octet is never 0xFE: a host's port has the host's MAC with 0xFE in its place, and must differ, since a
    bridge keeps to itself what is for the MAC of one of its ports.
    """
    base = sha256(site.encode()).digest()
    return bytes((base[0] & 0xBC | 0x02, base[1], base[2], *sha256(id.encode()).digest()[:3])).hex(":")


def network_mark(item: Network) -> marks.Mark:
    kind = OWN if item.own else EXISTING
    prefixes = ",".join(str(prefix) for prefix in item.prefixes)
    words = (kind, item.id, item.project, str(item.mtu), prefixes, item.name)
    return marks.write(item.bridge, words, alias=item.own)


def parse_network(site: str, link: Link) -> Network | None:
    """The network that a bridge is marked to be; None for any other device."""
    found = marks.read(link.alias, link.altnames)
    if link.kind != "bridge" or found is None or len(found) != 6 or found[0] not in (OWN, EXISTING):
        return None
    kind, id, project, mtu, prefixes, name = found
    try:
        return Network(
            id=id,
            name=name,
            project=project,
            prefixes=tuple(ip_network(prefix) for prefix in prefixes.split(",") if prefix),
            mtu=int(mtu),
            bridge=link.name,
            own=kind == OWN,
            flaw=bridge_flaw(site, id, link) if kind == OWN else "",
        )
    except ValueError:  # somebody has edited the mark: then it is not ours
        return None


def bridge_flaw(site: str, id: str, link: Link) -> str:
    """What is not as we make our bridges."""
    flaws = {
        "down": not link.up,
        f"MAC {link.mac}": link.mac != mac(site, id),
        f"bridge MTU {link.mtu}": link.mtu != PORT_MTU,
        "spanning tree on": link.number(IFLA_BR_STP_STATE) != 0,
        "multicast snooping on": link.number(IFLA_BR_MCAST_SNOOPING) != 0,
        "IPv6 on": link.ipv6,
    }
    return ", ".join(flaw for flaw, there in flaws.items() if there)


def render_network(site: str, item: Network, link: Link | None) -> tuple[Step, ...]:
    """From `link`, the bridge as it is (None: there is none), to `item`. The mark comes last but one: an unmarked
    bridge is a half-made one, and `up` comes with it."""
    mark = network_mark(item)
    steps: list[Step] = []
    if item.own:
        if link is None:
            steps.append(AddBridge(name=item.bridge, mac=mac(site, item.id)))
            link = Link(index=0, name=item.bridge, kind="bridge", mac=mac(site, item.id))
        elif link.number(IFLA_BR_STP_STATE) or link.number(IFLA_BR_MCAST_SNOOPING):
            steps.append(QuietBridge(name=item.bridge))
        if link.ipv6:  # the agent's namespace gains no address on a tenant's network
            steps.append(Setting(path=f"ipv6/conf/{item.bridge}/disable_ipv6", value=1))
        wanted = SetLink(
            name=item.bridge,
            mac=mac(site, item.id) if link.mac != mac(site, item.id) else None,
            mtu=PORT_MTU if link.mtu != PORT_MTU else None,
            alias=mark.alias if link.alias != mark.alias else None,
            up=not link.up,
        )
        if wanted != SetLink(name=item.bridge):
            steps.append(wanted)
    have = marks.ours(link.altnames if link else ())
    remove = tuple(name for name in have if name not in mark.altnames)
    add = tuple(name for name in mark.altnames if name not in have)
    if remove or add:
        steps.append(AltNames(name=item.bridge, remove=remove, add=add))
    return tuple(steps)


def foreign_ports(bridge: Link, links: Iterable[Link]) -> tuple[Link, ...]:
    """Ports of the bridge that are a tenant's: not a transport's, and not hardware (which has no kind)."""
    return tuple(
        link for link in links if link.master == bridge.index and link.kind and not link.name.startswith(VPN_PORTS)
    )


def network_facts(
    network: Network, bridge: Link, ports: Collection[Link], addresses: Iterable[Address]
) -> NetworkFacts:
    reason = ""
    if not bridge.up:
        reason = f"bridge {bridge.name} is down"
    elif bridge.mtu < network.mtu:
        reason = f"bridge {bridge.name} has MTU {bridge.mtu}, the network {network.mtu}"
    return NetworkFacts(
        id=network.id,
        name=network.name,
        project=network.project,
        prefixes=network.prefixes,
        mtu=network.mtu,
        bridge=network.bridge,
        own=network.own,
        addresses_in_use=tuple(sorted(set(addresses), key=lambda a: (a.version, int(a)))),
        ports=len(ports),
        attachable=not reason,
        reason=reason,
    )


def bridges(site: str, links: Iterable[Link]) -> Mapping[str, tuple[Network, Link]]:
    """The marked bridges by network id. If two claim one id, the first by device index stands."""
    found: dict[str, tuple[Network, Link]] = {}
    for link in links:
        network = parse_network(site, link)
        if network is not None:
            found.setdefault(network.id, (network, link))
    return found

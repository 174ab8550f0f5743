"""The cable between a network's bridge of ours and the cloud's integration bridge. Rendering and parsing are pure.

    vx65537, vr…  ──  ib…  ──  ig… ═════ io…  ──  br-int
    transport       bridge       cable         Open vSwitch

Frames go through as they are: bridge and cable carry more than any tenant's packet, so that size is judged where the
Vpn begins; nothing on them has an address of its own. Where Open vSwitch forwards in user space, both ends fill in
checksums (see `drivers.linux.ethtool`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from intertie.drivers.linux import marks
from intertie.drivers.linux.ethtool import leaves_checksums
from intertie.drivers.linux.rtnl import IFLA_BR_MCAST_SNOOPING, IFLA_BR_STP_STATE, Link, Reader
from intertie.drivers.linux.steps import (
    AddBridge,
    AddVeth,
    DelLink,
    FillInChecksums,
    QuietBridge,
    SetLink,
    Setting,
    Step,
)
from intertie.planning.identity import bridge_name

MTU = 9216
"""Above any underlay's."""
MARK = "gateway"
"""First word of the mark on a bridge that was made for a gateway port."""
INNER, OUTER = "ig", "io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """What there is of it; None for what is not there."""

    bridge: Link | None = None
    inner: Link | None = None
    outer: Link | None = None
    bare: frozenset[str] = frozenset()
    """Ends that hand packets over without a checksum."""


def inner_name(site: str, network: str) -> str:
    """The end on the bridge."""
    return INNER + _digest(site, network)[:5].hex()


def outer_name(site: str, network: str) -> str:
    """The end that is plugged into the integration bridge."""
    return OUTER + _digest(site, network)[:5].hex()


def bridge_mac(site: str, network: str) -> str:
    return _mac(0x02, site, f"{network} bridge")


def end_mac(name: str) -> str:
    """High first octets, as of every port of ours: a bridge takes the lowest for its own."""
    return bytes((0xFE, 0xFF, *sha256(name.encode()).digest()[:4])).hex(":")


def _mac(first: int, site: str, what: str) -> str:
    return bytes((first, *_digest(site, what)[:5])).hex(":")


def _digest(site: str, what: str) -> bytes:
    return sha256(f"{site} {what}".encode()).digest()


def mark_of(site: str, network: str) -> str:
    return marks.write(bridge_name(network), (MARK, site, network)).alias


def networks(site: str, links: Iterable[Link]) -> Mapping[str, Link]:
    """The bridges that were made for gateway ports of this site, by network."""
    found: dict[str, Link] = {}
    for link in links:
        words = marks.read(link.alias, ()) if link.kind == "bridge" else None
        if words is not None and words[:2] == (MARK, site) and len(words) == 3:
            found.setdefault(words[2], link)
    return found


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


def look(site: str, network: str) -> Cable:
    """In the calling thread's namespace."""
    with Reader() as reader:
        links = {link.index: link for name in _names(site, network) if (link := reader.link(name)) is not None}
    return cable_of(site, network, links.values())


def look_all(site: str) -> dict[str, Cable]:
    """By network, in the calling thread's namespace: of every bridge that is marked as ours."""
    with Reader() as reader:
        links = reader.links()
    by_name = {link.name: link for link in links}
    return {
        network: cable_of(site, network, (by_name[n] for n in _names(site, network) if n in by_name))
        for network in networks(site, links)
    }


def cable_of(site: str, network: str, links: Iterable[Link]) -> Cable:
    by_name = {link.name: link for link in links}
    bridge, inner, outer = (by_name.get(name) for name in _names(site, network))
    ends = [end for end in (inner, outer) if end is not None]
    return Cable(bridge=bridge, inner=inner, outer=outer, bare=frozenset(e.name for e in ends if _bare(e.name)))


def _bare(name: str) -> bool:
    try:
        return leaves_checksums(name)
    except OSError:  # it has just gone
        return False


def _names(site: str, network: str) -> tuple[str, str, str]:
    return bridge_name(network), inner_name(site, network), outer_name(site, network)


# ── What is wanted ─────────────────────────────────────────────────────────────────────────────────────────


def flaws(site: str, network: str, have: Cable, userspace: bool) -> list[str]:
    """What is not as `render` makes it, in words."""
    if have.bridge is None or have.inner is None or have.outer is None:
        return ["the cable to the integration bridge is not there"]
    found = []
    if _bridge_steps(site, network, have.bridge):
        found.append("its bridge is not as it should be")
    if _end_steps(have.inner, have.bridge, have.bare if userspace else frozenset()):
        found.append("the cable's end on the bridge is not as it should be")
    if _end_steps(have.outer, None, have.bare if userspace else frozenset()):
        found.append("the cable's end on the integration bridge is not as it should be")
    return found


def render(site: str, network: str, have: Cable, userspace: bool) -> tuple[Step, ...]:
    """From what there is to what there should be."""
    steps: list[Step] = []
    bridge = have.bridge
    name, inner, outer = _names(site, network)
    if bridge is None:
        steps.append(AddBridge(name=name, mac=bridge_mac(site, network)))
        bridge = Link(index=-1, name=name, kind="bridge", mac=bridge_mac(site, network))
    steps += _bridge_steps(site, network, bridge)
    bare = have.bare
    ends = [have.inner, have.outer]
    if None in ends:
        steps += [DelLink(name=end.name) for end in ends if end is not None]
        steps.append(
            AddVeth(
                name=inner,
                mac=end_mac(inner),
                mtu=MTU,
                peer=outer,
                peer_ns=None,
                peer_mac=end_mac(outer),
                peer_mtu=MTU,
            )
        )
        ends = [Link(index=-1, name=n, mac=end_mac(n), mtu=MTU) for n in (inner, outer)]
        bare = frozenset((inner, outer))
    for end, master in zip(ends, (bridge, None), strict=True):
        if end is not None:
            steps += _end_steps(end, master, bare if userspace else frozenset())
    return tuple(steps)


def unrender(site: str, network: str) -> tuple[Step, ...]:
    """To nothing. One end takes the other with it."""
    bridge, inner, _ = _names(site, network)
    return (DelLink(name=inner), DelLink(name=bridge))


def _bridge_steps(site: str, network: str, bridge: Link) -> list[Step]:
    steps: list[Step] = []
    made = bridge.index == -1
    if not made and (bridge.number(IFLA_BR_STP_STATE) or bridge.number(IFLA_BR_MCAST_SNOOPING)):
        steps.append(QuietBridge(name=bridge.name))
    if bridge.ipv6:
        steps.append(Setting(path=f"ipv6/conf/{bridge.name}/disable_ipv6", value=1))
    mac, mark = bridge_mac(site, network), mark_of(site, network)
    return steps + _set(
        SetLink(
            name=bridge.name,
            mac=mac if bridge.mac != mac else None,
            mtu=MTU if bridge.mtu != MTU else None,
            alias=mark if bridge.alias != mark else None,
            up=not bridge.up,
        )
    )


def _end_steps(end: Link, master: Link | None, bare: frozenset[str]) -> list[Step]:
    steps: list[Step] = []
    if end.ipv6:
        steps.append(Setting(path=f"ipv6/conf/{end.name}/disable_ipv6", value=1))
    if end.name in bare:
        steps.append(FillInChecksums(name=end.name))
    joined = master is None or (end.master == master.index and master.index != -1)
    return steps + _set(
        SetLink(
            name=end.name,
            mac=end_mac(end.name) if end.mac != end_mac(end.name) else None,
            mtu=MTU if end.mtu != MTU else None,
            master=None if joined or master is None else master.name,
            up=not end.up,
        )
    )


def _set(wanted: SetLink) -> list[Step]:
    return [wanted] if wanted != SetLink(name=wanted.name) else []

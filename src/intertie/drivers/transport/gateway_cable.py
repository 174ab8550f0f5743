"""The cable between a network's bridge of ours and the cloud's integration bridge. Rendering and parsing are pure.

    vx65537, vr…  ──  ib…  ──  ig… ═════ io…  ──  br-int
    transport       bridge       cable         Open vSwitch

Frames go through as they are: bridge and cable carry more than any tenant's packet, so that size is judged where the
Vpn begins; nothing on them has an address of its own. Where Open vSwitch forwards in user space, both ends fill in
checksums (see `drivers.linux.ethtool`).
"""

from __future__ import annotations

from collections.abc import Collection
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

MTU = 9216
"""Above any underlay's."""
MARK = "gateway"
"""First word of the mark on a bridge that was made for a gateway port."""
INNER, OUTER = "ig", "io"
FEW = 20
"""Cables up to which asking for the devices of each costs less than asking for all."""


@dataclass(frozen=True, slots=True)
class Course:
    """Where a network's cable runs: from which bridge of the site."""

    site: str
    network: str
    bridge: str

    @property
    def inner(self) -> str:
        """The end on the bridge."""
        return INNER + self._digest("cable")[:5].hex()

    @property
    def outer(self) -> str:
        """The end that is plugged into the integration bridge."""
        return OUTER + self._digest("cable")[:5].hex()

    @property
    def names(self) -> tuple[str, str, str]:
        return self.bridge, self.inner, self.outer

    @property
    def mac(self) -> str:
        """The bridge's."""
        return bytes((0x02, *self._digest("bridge")[:5])).hex(":")

    @property
    def mark(self) -> str:
        return marks.write(self.bridge, (MARK, self.site, self.network)).alias

    def _digest(self, what: str) -> bytes:
        return sha256(f"{self.site} {self.network} {what}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """What there is of it; None for what is not there."""

    bridge: Link | None = None
    inner: Link | None = None
    outer: Link | None = None
    bare: frozenset[str] = frozenset()
    """Ends that hand packets over without a checksum."""


def end_mac(name: str) -> str:
    """High first octets, as of every port of ours: a bridge takes the lowest for its own."""
    return bytes((0xFE, 0xFF, *sha256(name.encode()).digest()[:4])).hex(":")


def look(courses: Collection[Course]) -> dict[Course, Cable]:
    """In the calling thread's namespace."""
    with Reader() as reader:
        if len(courses) > FEW:
            links = {link.name: link for link in reader.links()}
        else:
            named = (reader.link(name) for course in courses for name in course.names)
            links = {link.name: link for link in named if link is not None}
    return {course: _cable(*(links.get(name) for name in course.names)) for course in courses}


def _cable(bridge: Link | None, inner: Link | None, outer: Link | None) -> Cable:
    ends = [end.name for end in (inner, outer) if end is not None]
    return Cable(bridge=bridge, inner=inner, outer=outer, bare=frozenset(end for end in ends if _bare(end)))


def _bare(name: str) -> bool:
    try:
        return leaves_checksums(name)
    except OSError:  # it has just gone
        return False


# ── What is wanted ─────────────────────────────────────────────────────────────────────────────────────────


def flaws(course: Course, have: Cable, userspace: bool) -> list[str]:
    """What is not as `render` makes it, in words."""
    if have.bridge is None or have.inner is None or have.outer is None:
        return ["the cable to the integration bridge is not there"]
    found = []
    if _bridge_steps(course, have.bridge):
        found.append("its bridge is not as it should be")
    if _end_steps(have.inner, have.bridge, have.bare if userspace else frozenset()):
        found.append("the cable's end on the bridge is not as it should be")
    if _end_steps(have.outer, None, have.bare if userspace else frozenset()):
        found.append("the cable's end on the integration bridge is not as it should be")
    return found


def render(course: Course, have: Cable, userspace: bool) -> tuple[Step, ...]:
    """From what there is to what there should be."""
    steps: list[Step] = []
    bridge = have.bridge
    name, inner, outer = course.names
    if bridge is None:
        steps.append(AddBridge(name=name, mac=course.mac))
        bridge = Link(index=-1, name=name, kind="bridge", mac=course.mac)
    steps += _bridge_steps(course, bridge)
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


def unrender(course: Course) -> tuple[Step, ...]:
    """To nothing. One end takes the other with it."""
    bridge, inner, _ = course.names
    return (DelLink(name=inner), DelLink(name=bridge))


def _bridge_steps(course: Course, bridge: Link) -> list[Step]:
    steps: list[Step] = []
    made = bridge.index == -1
    if not made and (bridge.number(IFLA_BR_STP_STATE) or bridge.number(IFLA_BR_MCAST_SNOOPING)):
        steps.append(QuietBridge(name=bridge.name))
    if bridge.ipv6:
        steps.append(Setting(path=f"ipv6/conf/{bridge.name}/disable_ipv6", value=1))
    mac, mark = course.mac, course.mark
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

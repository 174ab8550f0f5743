"""Changes to the kernel's network state as values: what a driver renders, a golden test reads, and `perform` does.

Each step belongs to one namespace and is a netlink message or a setting. `str(step)` is what an operator would
have typed. Performing raises OSError or pyroute2's NetlinkError, which carries the kernel's errno as `code`.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from intertie.drivers.linux.announce import announce
from intertie.drivers.linux.ethtool import fill_in_checksums
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.bodies import Address
from intertie.model.items import Interface

IFA_F_NODAD = 0x02
SETTINGS = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddBridge:
    """A bridge without spanning tree or multicast snooping, still down. Its MTU is set later, or it would follow
    its ports: the kernel takes only a change for somebody's word."""

    name: str
    mac: str

    def __str__(self) -> str:
        return f"link add {self.name} address {self.mac} type bridge stp_state 0 mcast_snooping 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVeth:
    """A veth pair, down, its other end in namespace `peer_ns` (None: the same)."""

    name: str
    mac: str
    mtu: int
    peer: str
    peer_ns: Netns | None
    peer_mac: str
    peer_mtu: int

    def __str__(self) -> str:
        where = f" netns {self.peer_ns}" if self.peer_ns is not None else ""
        peer = f"peer name {self.peer}{where} address {self.peer_mac} mtu {self.peer_mtu}"
        return f"link add {self.name} address {self.mac} mtu {self.mtu} type veth {peer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLink:
    """Settings of a device; None leaves one as it is. `master` names a bridge of the same namespace."""

    name: str
    mtu: int | None = None
    mac: str | None = None
    alias: str | None = None
    master: str | None = None
    up: bool = False

    def __str__(self) -> str:
        words = [f"link set {self.name}"]
        words += [f"mtu {self.mtu}"] if self.mtu is not None else []
        words += [f"address {self.mac}"] if self.mac is not None else []
        words += [f"master {self.master}"] if self.master is not None else []
        words += [f"alias '{self.alias}'"] if self.alias is not None else []
        words += ["up"] if self.up else []
        return " ".join(words)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietBridge:
    """Spanning tree and multicast snooping off on a bridge that is there."""

    name: str

    def __str__(self) -> str:
        return f"link set {self.name} type bridge stp_state 0 mcast_snooping 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class FillInChecksums:
    """A device that hands no packet over without its checksum (see `ethtool`)."""

    name: str

    def __str__(self) -> str:
        return f"link set {self.name} tx-checksumming off"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelLink:
    """A device to delete, if it is there."""

    name: str

    def __str__(self) -> str:
        return f"link del {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AltNames:
    """Alternative names to take off a device, then to put on it."""

    name: str
    remove: tuple[str, ...] = ()
    add: tuple[str, ...] = ()

    def __str__(self) -> str:
        removed = [f"link property del dev {self.name} altname {name}" for name in self.remove]
        return "\n".join((*removed, *(f"link property add dev {self.name} altname {name}" for name in self.add)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A sysctl below net: "ipv6/conf/eth0/accept_dad"."""

    path: str
    value: int

    def __str__(self) -> str:
        return f"sysctl net/{self.path}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAddress:
    """An address, usable at once: without duplicate address detection."""

    device: str
    interface: Interface

    def __str__(self) -> str:
        return f"address add {self.interface} dev {self.device}" + " nodad" * (self.interface.version == 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class DelAddress:
    device: str
    interface: Interface

    def __str__(self) -> str:
        return f"address del {self.interface} dev {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddDefault:
    device: str
    gateway: Address
    metric: int

    def __str__(self) -> str:
        return f"route add default via {self.gateway} dev {self.device} metric {self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DelDefault:
    device: str
    gateway: Address
    metric: int

    def __str__(self) -> str:
        return f"route del default via {self.gateway} dev {self.device} metric {self.metric}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """Tell the neighbours where addresses are."""

    device: str
    addresses: tuple[Address, ...]

    def __str__(self) -> str:
        return f"announce {' '.join(map(str, self.addresses))} dev {self.device}"


Step = (
    AddBridge
    | AddVeth
    | SetLink
    | QuietBridge
    | FillInChecksums
    | DelLink
    | AltNames
    | Setting
    | AddAddress
    | DelAddress
    | AddDefault
    | DelDefault
    | Announce
)
Script = tuple[tuple[Netns | None, Step], ...]
"""Steps in order, each with its namespace."""


def words(script: Script) -> str:
    """The script as an operator would type it, one command a line."""
    return "\n".join(
        f"{'ip' if ns is None else f'ip -n {ns}'} {line}" for ns, step in script for line in str(step).splitlines()
    )


async def perform(spaces: Namespaces, script: Script) -> None:
    """Carry out the steps in order; the first that fails ends it."""
    for ns, group in groupby(script, key=lambda placed: placed[0]):
        steps = [step for _, step in group]
        await spaces.netlink(ns, partial(_perform_all, spaces.directory, steps))


def _perform_all(directory: Path, steps: Iterable[Step], nl: IPRoute) -> None:
    for step in steps:
        match step:
            case AddBridge() | AddVeth() | SetLink() | QuietBridge() | DelLink() | AltNames():
                _perform_link(nl, directory, step)
            case FillInChecksums():
                fill_in_checksums(step.name)
            case Setting():
                (SETTINGS / step.path).write_text(str(step.value))
            case AddAddress() | DelAddress() | AddDefault() | DelDefault():
                _perform_ip(nl, step)
            case Announce():
                announce(step.device, step.addresses)


def _perform_link(
    nl: IPRoute, directory: Path, step: AddBridge | AddVeth | SetLink | QuietBridge | DelLink | AltNames
) -> None:
    quiet = {"br_stp_state": 0, "br_mcast_snooping": 0}
    match step:
        case AddBridge():
            nl.link("add", ifname=step.name, kind="bridge", address=step.mac, **quiet)
        case AddVeth():
            peer = {"ifname": step.peer, "address": step.peer_mac, "mtu": step.peer_mtu}
            if step.peer_ns is not None:
                peer["net_ns_fd"] = str(directory / step.peer_ns)
            nl.link("add", ifname=step.name, kind="veth", address=step.mac, mtu=step.mtu, peer=peer)
        case QuietBridge():
            nl.link("set", index=_index(step.name), kind="bridge", **quiet)
        case DelLink():
            _delete(nl, step.name)
        case AltNames():
            index = _index(step.name)
            if step.remove:
                nl.link("property_del", index=index, altname=list(step.remove))
            if step.add:
                nl.link("property_add", index=index, altname=list(step.add))
        case SetLink():
            _set_link(nl, step)


def _delete(nl: IPRoute, name: str) -> None:
    """Gone already is success: a veth goes by itself when the namespace of its other end does."""
    try:
        nl.link("del", index=_index(name))
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    except OSError:  # from _index: there is no such name
        return


def _set_link(nl: IPRoute, step: SetLink) -> None:
    fields: dict[str, int | str] = {"index": _index(step.name)}
    if step.mtu is not None:
        fields["mtu"] = step.mtu
    if step.mac is not None:
        fields["address"] = step.mac
    if step.alias is not None:
        fields["ifalias"] = step.alias
    if step.master is not None:
        fields["master"] = _index(step.master)
    if step.up:
        fields["state"] = "up"
    nl.link("set", **fields)


def _perform_ip(nl: IPRoute, step: AddAddress | DelAddress | AddDefault | DelDefault) -> None:
    index = _index(step.device)
    match step:
        case AddAddress(interface=interface) | DelAddress(interface=interface):
            action = "add" if isinstance(step, AddAddress) else "del"
            flags = {"flags": IFA_F_NODAD} if action == "add" and interface.version == 6 else {}
            nl.addr(action, index=index, address=str(interface.ip), prefixlen=interface.network.prefixlen, **flags)
        case AddDefault() | DelDefault():
            action = "add" if isinstance(step, AddDefault) else "del"
            dst = "0.0.0.0/0" if step.gateway.version == 4 else "::/0"
            nl.route(action, dst=dst, gateway=str(step.gateway), oif=index, priority=step.metric)


def _index(name: str) -> int:
    """The index of a device of the namespace that the thread is in; OSError when it is not there."""
    return socket.if_nametoindex(name)

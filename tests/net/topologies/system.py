"""What stands in the kernel at a site: devices, bridges, filters, the driver's own view of its segments."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from pyroute2 import IPRoute

from intertie.drivers.linux import nft
from intertie.drivers.linux.netns import Namespaces
from intertie.drivers.transport.vxlan import VxlanTransport
from intertie.model.items import Segment
from tests.net.topologies.rig import Rig

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """Everything at a site that a Vpn could leave behind."""

    devices: frozenset[str]
    namespaces: frozenset[str]
    filters: frozenset[str]


def remains(rig: Rig, site: str) -> Remains:
    network = rig.at(site)
    devices = network.netlink(lambda nl: [str(link.get_attr("IFLA_IFNAME")) for link in nl.get_links()])
    tables = network.run(lambda: [f"{family.name} {name}" for family, name in nft.read()])
    return Remains(devices=frozenset(devices), namespaces=frozenset(rig.names(site)), filters=frozenset(tables))


def device(rig: Rig, site: str, name: str) -> dict[str, Any]:
    """All that an operator has set on a device: MAC, MTU, state, master, addresses, and a bridge's settings."""

    def look(nl: IPRoute) -> dict[str, Any]:
        names = {link["index"]: link.get_attr("IFLA_IFNAME") for link in nl.get_links()}
        link = nl.get_links(ifname=name)[0]
        facts: dict[str, Any] = {
            word: link.get_attr(f"IFLA_{word}") for word in ("ADDRESS", "MTU", "TXQLEN", "IFALIAS", "PROMISCUITY")
        }
        facts["up"] = bool(link["flags"] & 1)
        facts["master"] = names.get(link.get_attr("IFLA_MASTER"))
        facts["addresses"] = sorted(str(a.get_attr("IFA_ADDRESS")) for a in nl.get_addr(index=link["index"]))
        info = link.get_attr("IFLA_LINKINFO")
        data = info.get_attr("IFLA_INFO_DATA") if info else None
        if data is not None and info.get_attr("IFLA_INFO_KIND") == "bridge":
            facts["settings"] = {word: value for word, value in data["attrs"] if not _moves(word)}
        properties = link.get_attr("IFLA_PROP_LIST")
        facts["other names"] = sorted(v for _, v in properties["attrs"]) if properties else []
        return facts

    return rig.at(site).netlink(look)


def _moves(word: str) -> bool:
    """Timers, counters and what spanning tree computes."""
    return any(part in word for part in ("TIMER", "TOPOLOGY", "ROOT", "BRIDGE_ID", "FDB_N_LEARNED", "UNSPEC"))


def ports(rig: Rig, site: str, bridge: str) -> set[str]:
    def look(nl: IPRoute) -> set[str]:
        return {str(link.get_attr("IFLA_IFNAME")) for link in nl.get_links(master=nl.link_lookup(ifname=bridge)[0])}

    return rig.at(site).netlink(look)


def with_driver(rig: Rig, site: str, act: Callable[[VxlanTransport], Awaitable[T]]) -> T:
    """Run `act` with a driver of this test's own in the site's place: it remembers nothing, so it is as good."""

    async def main() -> T:
        spaces = Namespaces(Path(f"/proc/{rig[site].anchor}/root/run/netns"))
        try:
            return await act(VxlanTransport(site=site, namespaces=spaces, underlay=ip_address(rig[site].underlay)))
        finally:
            await spaces.close()

    return rig.at(site).run(lambda: asyncio.run(main()))


def segments(rig: Rig, site: str) -> tuple[Segment, ...]:
    """The segments at a site as the kernel bears them out."""

    async def look(driver: VxlanTransport) -> tuple[Segment, ...]:
        return tuple(item for item in await driver.observe(None) if isinstance(item, Segment))

    return with_driver(rig, site, look)


def put_back(rig: Rig, site: str, segment: Segment) -> None:
    with_driver(rig, site, lambda driver: driver.ensure(segment))


def is_vxlan(frame: bytes, source: str, vni: int) -> bool:
    """Whether a frame of the underlay (IPv4) is from `source`, to the VXLAN port, of that VNI."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17:
        return False
    start = 14 + (frame[14] & 0x0F) * 4
    port, number = frame[start + 2 : start + 4], frame[start + 12 : start + 15]
    return frame[26:30] == ip_address(source).packed and port == b"\x12\xb5" and number == vni.to_bytes(3, "big")

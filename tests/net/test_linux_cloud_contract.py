"""The `linux` cloud keeps the contract, on the kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from pyroute2 import IPRoute

from intertie.drivers.cloud.linux import LinuxCloud
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.model.items import Host
from intertie.testing.driver_suite import CloudContract

pytestmark = pytest.mark.net
T = TypeVar("T")


class CountedNamespaces(Namespaces):
    """Counts visits with a netlink socket: drivers read with sockets of their own, so these are writes."""

    visits = 0

    async def netlink(self, ns: Netns | None, fn: Callable[[IPRoute], T]) -> T:
        self.visits += 1
        return await super().netlink(ns, fn)


class LinuxRig:
    """Bridges are made and occupied in a namespace of the rig's own, where the agent is."""

    def __init__(self, directory: Path) -> None:
        self.spaces = CountedNamespaces(directory)

    def cloud(self) -> LinuxCloud:
        return LinuxCloud("nantes", self.spaces)

    async def writes(self) -> int:
        return self.spaces.visits

    async def lose_addresses(self, host: Host) -> None:
        ns = await self.cloud().namespace(host.id)
        await Namespaces.netlink(self.spaces, ns, flush)

    async def occupy(self, bridge: str, port: str) -> None:
        def plug(nl: IPRoute) -> None:
            nl.link("add", ifname=port, kind="veth", peer=f"{port}-vm", mtu=1500)
            nl.link("set", ifname=port, master=nl.link_lookup(ifname=bridge)[0], state="up")

        await Namespaces.netlink(self.spaces, None, plug)

    async def make_bridge(self, name: str) -> None:
        await Namespaces.netlink(self.spaces, None, lambda nl: nl.link("add", ifname=name, kind="bridge", state="up"))

    async def has_bridge(self, name: str) -> bool:
        return bool(await Namespaces.netlink(self.spaces, None, lambda nl: nl.link_lookup(ifname=name)))

    async def clear(self) -> None:
        for ns in await self.spaces.list():
            await self.spaces.remove(ns)

        def unplug(nl: IPRoute) -> None:
            for link in nl.get_links():
                kind = (link.get_attr("IFLA_LINKINFO") or link).get_attr("IFLA_INFO_KIND")
                if kind in ("bridge", "veth") and nl.link_lookup(index=link["index"]):
                    nl.link("del", index=link["index"])

        await Namespaces.netlink(self.spaces, None, unplug)
        await self.spaces.close()


def flush(nl: IPRoute) -> None:
    index = nl.link_lookup(ifname="eth0")[0]
    for held in list(nl.get_addr(index=index)):
        if held["scope"] == 0:
            nl.addr("del", index=index, address=held.get_attr("IFA_ADDRESS"), prefixlen=held["prefixlen"])


@pytest.fixture
async def rig(tmp_path: Path):
    rig = LinuxRig(tmp_path / "netns")
    yield rig
    await rig.clear()


class TestLinuxCloud(CloudContract):
    pass

"""The integration bridge of this host (`br-int`), as far as ports of ours are on it.

A port is told to the cloud's network agent by three words on its interface, as hypervisors do it: `iface-id`, the
UUID of the Neutron port, `attached-mac`, and `iface-status`. Whoever runs the data plane then makes it part of its
network: `ovn-controller` writes `ovn-installed`, the Open vSwitch agent gives the port a VLAN tag of its own.
What is ours is known by words that begin with `intertie-`, which nobody else reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from intertie.drivers.openstack import ovsdb
from intertie.drivers.openstack.ovsdb import Named, Ovsdb
from intertie.model.errors import Conflict, NotFound, Unavailable

BRIDGE = "br-int"
SITE, NETWORK, INDEX = "intertie-site", "intertie-network", "intertie-ifindex"
IFACE_ID, MAC, STATUS, INSTALLED = "iface-id", "attached-mac", "iface-status", "ovn-installed"
OPEN = 3.0
"""Seconds in which `ovs-vswitchd` must have taken a new port."""
POLL = 0.02
DEAD_VLAN = 4095
"""The tag that the Open vSwitch agent gives to ports which belong to no network of its."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plug:
    """A port of ours on the bridge. `port` is the Neutron port's UUID."""

    device: str
    network: str
    port: str
    mac: str
    bridge: str = BRIDGE
    index: int
    """Of the device when it was plugged. One that was deleted and made again has another, and Open vSwitch goes on
    holding what is gone."""
    flaw: str = ""
    """As observed, in words. Wished: always ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What Open vSwitch says of itself and of the bridge."""

    name: str
    """By which the cloud knows this host; "" if that is not told."""
    ovn: bool
    """An OVN chassis; else a host of the Open vSwitch agent, or of nobody."""
    bridge: bool
    userspace: bool
    """The bridge's packets are forwarded by a process and not by the kernel."""
    version: str = ""


class Switch:
    """The bridge, through its database. It remembers nothing."""

    def __init__(self, database: Ovsdb, site: str, bridge: str = BRIDGE) -> None:
        self._database = database
        self._site = site
        self.bridge = bridge

    async def host(self) -> Host:
        """Unavailable if the database cannot be reached."""
        own, bridges = await self._database.transact(
            ovsdb.select("Open_vSwitch", (), ("external_ids", "ovs_version")),
            ovsdb.select("Bridge", (("name", "==", self.bridge),), ("datapath_type",)),
        )
        said = next(iter(ovsdb.rows(own)), {})
        found = ovsdb.rows(bridges)
        ids = said.get("external_ids", {})
        return Host(
            name=ids.get("hostname", ""),
            ovn=bool(ids.get("ovn-remote")),
            bridge=bool(found),
            userspace=any(row["datapath_type"] == "netdev" for row in found),
            version=_text(said.get("ovs_version")),
        )

    async def plugs(self) -> Mapping[str, Plug]:
        """This site's ports by network, as they are. A port that lost its bridge has an empty `bridge`."""
        interfaces, ports, bridges, own = await self._database.transact(
            ovsdb.select("Interface", (("external_ids", "includes", {SITE: self._site}),), INTERFACE),
            ovsdb.select("Port", (("external_ids", "includes", {SITE: self._site}),), ("_uuid", "name", "tag")),
            ovsdb.select("Bridge", (("name", "==", self.bridge),), ("name", "ports")),
            ovsdb.select("Open_vSwitch", (), ("external_ids",)),
        )
        on = {uuid: row["name"] for row in ovsdb.rows(bridges) for uuid in _set(row["ports"])}
        by_name = {row["name"]: (on.get(row["_uuid"], ""), row["tag"]) for row in ovsdb.rows(ports)}
        ovn = any(row["external_ids"].get("ovn-remote") for row in ovsdb.rows(own))
        found: dict[str, Plug] = {}
        for row in ovsdb.rows(interfaces):
            bridge, tag = by_name.get(row["name"], ("", frozenset()))
            found[row["external_ids"].get(NETWORK, "")] = _plug(row, bridge, tag, ovn)
        return found

    async def plug(self, want: Plug) -> bool:
        """Make the port so, in place where that can be; whether something was written. The device must be there.
        NotFound without the bridge; Conflict if Open vSwitch cannot use the device, in its words."""
        have = (await self.plugs()).get(want.network)
        if have is not None and replace(have, flaw="") == want and STATUS not in have.flaw:
            return False
        ids = self._ids(want)
        if have is not None and (have.device, have.bridge, have.index) == (want.device, want.bridge, want.index):
            changes = ("delete", frozenset(ids)), ("insert", ids)  # other people's words beside ours stay
            await self._database.transact(
                ovsdb.mutate("Interface", (("name", "==", want.device),), "external_ids", *changes)
            )
        else:
            if have is not None:
                await self.unplug(have.device)
            await self._noticed()  # also of what was unplugged a moment ago
            await self._insert(want, ids)
        await self._taken(want.device)
        return True

    async def joined(self, network: str, within: float) -> None:
        """Wait until the port is part of its network. Unavailable, saying what is missing, if it is not in time."""
        until = asyncio.get_running_loop().time() + within
        while True:
            plug = (await self.plugs()).get(network)
            if plug is not None and not plug.flaw:
                return
            if asyncio.get_running_loop().time() >= until:
                raise Unavailable(plug.flaw if plug is not None else f"not plugged into {self.bridge}")
            await asyncio.sleep(POLL)

    async def unplug(self, device: str) -> bool:
        """Take a port of ours off; whether it was there."""
        [found] = await self._database.transact(
            ovsdb.select(
                "Port", (("name", "==", device), ("external_ids", "includes", {SITE: self._site})), ("_uuid",)
            )
        )
        uuids = frozenset(row["_uuid"] for row in ovsdb.rows(found))
        for uuid in uuids:
            await self._database.transact(
                ovsdb.mutate("Bridge", (("ports", "includes", uuid),), "ports", ("delete", uuid))
            )
        return bool(uuids)

    async def changes(self) -> AsyncIterator[Collection[str]]:
        """The networks of this site whose ports changed; all of them ("") when the news begins. Unavailable when it
        ends."""
        columns = {"Interface": ("name", "external_ids", "ofport", "error"), "Port": ("name", "external_ids", "tag")}
        async for tables in self._database.news(columns):
            if not tables:
                yield ("",)
            elif named := set(self._named(tables)):
                yield named

    def _named(self, tables: Mapping[str, Any]) -> Iterator[str]:
        for changed in tables.values():
            for change in changed.values():
                for row in (change.get("old"), change.get("new")):
                    ids = ovsdb.parsed((row or {}).get("external_ids"))
                    if isinstance(ids, dict) and ids.get(SITE) == self._site:
                        yield ids.get(NETWORK, "")

    async def _insert(self, want: Plug, ids: Mapping[str, str]) -> None:
        """Where VLANs part the networks, the port is dead until the agent gives it one: without any it would be part
        of all of them."""
        mark = {k: v for k, v in ids.items() if k in (SITE, NETWORK)}
        port: dict[str, object] = {"name": want.device, "interfaces": Named("interface"), "external_ids": mark}
        if not (await self.host()).ovn:
            port["tag"] = DEAD_VLAN
        written = await self._database.transact(
            ovsdb.insert("Interface", "interface", {"name": want.device, "external_ids": dict(ids)}),
            ovsdb.insert("Port", "port", port),
            ovsdb.mutate("Bridge", (("name", "==", want.bridge),), "ports", ("insert", Named("port"))),
        )
        if not written[2].get("count"):
            raise NotFound(f"Open vSwitch has no bridge {want.bridge}")

    async def _noticed(self) -> None:
        """Wait until `ovs-vswitchd` has done all that is written: a port that goes and comes between two of its looks
        has never gone for it, and it would go on holding the device that is no more."""
        _, [row] = (
            ovsdb.rows(each)
            for each in await self._database.transact(
                ovsdb.mutate("Open_vSwitch", (), "next_cfg", ("+=", 1)),
                ovsdb.select("Open_vSwitch", (), ("next_cfg",)),
            )
        )
        try:
            async with asyncio.timeout(OPEN):
                while True:
                    [now] = await self._database.transact(ovsdb.select("Open_vSwitch", (), ("cur_cfg",)))
                    if all(each["cur_cfg"] >= row["next_cfg"] for each in ovsdb.rows(now)):
                        return
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            raise Unavailable(
                f"Open vSwitch did nothing within {OPEN:g} s", hint="is ovs-vswitchd running?"
            ) from error

    async def _taken(self, device: str) -> None:
        """Wait until `ovs-vswitchd` has opened the device, or says why it cannot."""
        try:
            async with asyncio.timeout(OPEN):
                while True:
                    [found] = await self._database.transact(
                        ovsdb.select("Interface", (("name", "==", device),), ("ofport", "error"))
                    )
                    for row in ovsdb.rows(found):
                        if error := _text(row["error"]):
                            raise Conflict(f"Open vSwitch cannot use {device}: {error}")
                        if isinstance(row["ofport"], int) and row["ofport"] > 0:
                            return
                    await asyncio.sleep(POLL)
        except TimeoutError as error:
            raise Unavailable(
                f"Open vSwitch did not take {device} within {OPEN:g} s", hint="is ovs-vswitchd running?"
            ) from error

    def _ids(self, want: Plug) -> dict[str, str]:
        return {
            IFACE_ID: want.port,
            MAC: want.mac,
            STATUS: "active",
            SITE: self._site,
            NETWORK: want.network,
            INDEX: str(want.index),
        }


INTERFACE = ("name", "external_ids", "ofport", "error")


def _plug(row: Mapping[str, Any], bridge: str, tag: Any, ovn: bool) -> Plug:
    ids = row["external_ids"]
    flaws = []
    if error := _text(row["error"]):
        flaws.append(f"Open vSwitch cannot use {row['name']}: {error}")
    if ids.get(STATUS) != "active":
        flaws.append(f"{STATUS} is not active")
    if not bridge:
        flaws.append("the port of no integration bridge")
    elif not flaws and not _joined(ids, tag, ovn):
        flaws.append(
            f"{'ovn-controller' if ovn else 'the Open vSwitch agent'} has not joined the port to its network"
        )
    return Plug(
        device=row["name"],
        network=ids.get(NETWORK, ""),
        port=ids.get(IFACE_ID, ""),
        mac=ids.get(MAC, ""),
        bridge=bridge,
        index=int(ids[INDEX]) if ids.get(INDEX, "").isdigit() else 0,
        flaw="; ".join(flaws),
    )


def _joined(ids: Mapping[str, str], tag: Any, ovn: bool) -> bool:
    if ovn:
        return ids.get(INSTALLED) == "true"
    return isinstance(tag, int) and tag != DEAD_VLAN


def _set(value: Any) -> frozenset[Any]:
    return value if isinstance(value, frozenset) else frozenset((value,))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

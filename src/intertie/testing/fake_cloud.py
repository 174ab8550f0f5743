"""A cloud in memory that passes the cloud contract (`testing.driver_suite`).

`FakeSystem` is the world: bridges, hosts, other people's ports. `FakeCloud` is a driver on it that remembers
nothing, so an agent can be killed and another opened on the same system. It evaluates: it guards removal as a
real one does, and what is not on a bridge is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace

from intertie.model.bodies import Address
from intertie.model.errors import Refused
from intertie.model.items import Host, Item, Key, Network, NetworkFacts, key

Hindrance = Callable[[str, Key | None], Awaitable[None]]
"""Called before each (verb, key), to wait or to raise. Verbs: observe, inventory, ensure, remove."""


@dataclass(slots=True)
class FakeBridge:
    own: bool
    network: Network | None = None
    foreign: set[str] = field(default_factory=set)
    """Ports of somebody else's virtual machines."""
    addresses: set[Address] = field(default_factory=set)
    """Seen on it besides our hosts'."""


async def _unhindered(verb: str, k: Key | None) -> None:
    return None


Watch = Callable[[Item | None, Item | None], None]
"""Called after each change that a driver made: (before, after)."""


def _unwatched(before: Item | None, after: Item | None) -> None:
    return None


@dataclass(slots=True)
class FakeSystem:
    """The world. Everything in it may be changed by a test, which then calls `tell` if the system would."""

    bridges: dict[str, FakeBridge] = field(default_factory=dict)
    hosts: dict[str, Host] = field(default_factory=dict)
    writes: int = 0
    hindrance: Hindrance = _unhindered
    watch: Watch = _unwatched
    listeners: list[asyncio.Queue[Key]] = field(default_factory=list)

    def tell(self, k: Key) -> None:
        for listener in self.listeners:
            listener.put_nowait(k)

    def occupy(self, bridge: str, port: str) -> None:
        """Somebody else's port comes to a bridge."""
        self.bridges[bridge].foreign.add(port)
        network = self.bridges[bridge].network
        if network is not None:
            self.tell(key(network))

    def vacate(self, bridge: str, port: str) -> None:
        """Somebody else's port goes."""
        self.bridges[bridge].foreign.discard(port)
        network = self.bridges[bridge].network
        if network is not None:
            self.tell(key(network))

    def wrote(self, before: Item | None, after: Item | None) -> None:
        self.writes += 1
        self.watch(before, after)
        item = before or after
        assert item is not None
        self.tell(key(item))

    def hosts_on(self, bridge: str) -> list[Host]:
        return [host for host in self.hosts.values() if host.bridge == bridge]


class FakeCloud:
    """Satisfies `agent.ports.Cloud`."""

    def __init__(self, system: FakeSystem) -> None:
        self._system = system

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        await self._system.hindrance("observe", None)
        networks = [bridge.network for bridge in self._system.bridges.values() if bridge.network is not None]
        items: list[Item] = [*networks, *self._system.hosts.values()]
        return tuple(item for item in items if keys is None or key(item) in keys)

    async def free_bridges(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, bridge in self._system.bridges.items() if bridge.network is None))

    async def inventory(self) -> tuple[NetworkFacts, ...]:
        await self._system.hindrance("inventory", None)
        return tuple(self._facts(name, bridge) for name, bridge in self._system.bridges.items() if bridge.network)

    async def changes(self) -> AsyncIterator[Key]:
        news: asyncio.Queue[Key] = asyncio.Queue()
        self._system.listeners.append(news)
        try:
            while True:
                yield await news.get()
        finally:
            self._system.listeners.remove(news)

    async def ensure(self, item: Item) -> None:
        await self._system.hindrance("ensure", key(item))
        match item:
            case Network():
                self._ensure_network(item)
            case Host():
                self._ensure_host(item)
            case _:
                raise TypeError(f"a cloud holds networks and hosts, not {item!r}")

    async def remove(self, item: Item) -> None:
        await self._system.hindrance("remove", key(item))
        match item:
            case Network():
                self._remove_network(item)
            case Host():
                gone = self._system.hosts.pop(item.id, None)
                if gone is not None:
                    self._system.wrote(gone, None)
            case _:
                raise TypeError(f"a cloud holds networks and hosts, not {item!r}")

    def _ensure_network(self, item: Network) -> None:
        bridge = self._system.bridges.get(item.bridge)
        if bridge is None and not item.own:
            raise Refused(f"network {item.name}: there is no bridge {item.bridge}", code="unknown-network")
        if bridge is None:
            bridge = self._system.bridges[item.bridge] = FakeBridge(own=True)
        if bridge.network != item:
            before, bridge.network = bridge.network, item
            self._system.wrote(before, item)

    def _ensure_host(self, item: Host) -> None:
        if item.bridge not in self._system.bridges:
            raise Refused(f"host {item.name}: there is no bridge {item.bridge}", code="unknown-network")
        before = self._system.hosts.get(item.id)
        if before != item:
            self._system.hosts[item.id] = item
            self._system.wrote(before, item)

    def _remove_network(self, item: Network) -> None:
        bridge = self._system.bridges.get(item.bridge)
        if bridge is None or bridge.network is None or bridge.network.id != item.id:
            return
        ports = [host.name for host in self._system.hosts_on(item.bridge)]
        ports += sorted(bridge.foreign) if bridge.own else []
        if ports:
            raise Refused(f"network {item.name} has ports: {', '.join(ports)}", code="in-use")
        gone = bridge.network
        if bridge.own:
            del self._system.bridges[item.bridge]
        else:
            bridge.network = None
        self._system.wrote(gone, None)

    def _facts(self, name: str, bridge: FakeBridge) -> NetworkFacts:
        network = bridge.network
        assert network is not None
        hosts = self._system.hosts_on(name)
        addresses = {interface.ip for host in hosts for interface in host.interfaces} | bridge.addresses
        return NetworkFacts(
            id=network.id,
            name=network.name,
            project=network.project,
            prefixes=network.prefixes,
            mtu=network.mtu,
            bridge=name,
            own=network.own,
            addresses_in_use=tuple(sorted(addresses, key=lambda a: (a.version, int(a)))),
            ports=len(hosts) + len(bridge.foreign),
        )


class FakeRig:
    """The fake, as `testing.driver_suite` asks for it."""

    def __init__(self) -> None:
        self.system = FakeSystem()

    def cloud(self) -> FakeCloud:
        return FakeCloud(self.system)

    async def writes(self) -> int:
        return self.system.writes

    async def lose_addresses(self, host: Host) -> None:
        self.system.hosts[host.id] = replace(self.system.hosts[host.id], interfaces=())
        self.system.tell(key(host))

    async def occupy(self, bridge: str, port: str) -> None:
        self.system.occupy(bridge, port)

    async def make_bridge(self, name: str) -> None:
        self.system.bridges[name] = FakeBridge(own=False)

    async def has_bridge(self, name: str) -> bool:
        return name in self.system.bridges

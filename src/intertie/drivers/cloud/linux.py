"""The `linux` cloud: networks are bridges, hosts are namespaces with one port.

A network that we make is a bridge of ours, `ib…`; its port devices and itself carry more than any tenant's
packet, so that an oversized one reaches the Vpn's device, which answers with "packet too big"; only the host's
own interface has the network's MTU. A network may also be a bridge that was there before: then we put a mark on
it (see `marks`) and otherwise leave it alone, down to its MAC and MTU, which a careless new port would change.

A host is the namespace `<site>-<name>` with `eth0`, whose other end `ih…` is a port of the bridge. Nothing is
remembered: what a network or host is, stands in the mark on its bridge or port; addresses, routes and MTU are
read where they work, inside the host.

What to do is rendered, and what is seen is parsed, by pure functions in `linux_network` and `linux_host`; here is
what looks and performs.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial

from intertie.drivers.cloud.linux_host import (
    NO_MAC,
    Inside,
    host_names,
    look_inside,
    parse_host,
    port_name,
    read_host_mark,
    render_host,
)
from intertie.drivers.cloud.linux_network import (
    VPN_PORTS,
    bridges,
    foreign_ports,
    network_facts,
    parse_network,
    render_network,
)
from intertie.drivers.linux import marks
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.drivers.linux.rtnl import HeldAddress, Link, Neighbour, Reader, link_news
from intertie.drivers.linux.steps import AltNames, DelLink, SetLink, Step, perform
from intertie.model.bodies import Address
from intertie.model.errors import Refused
from intertie.model.items import Host, Item, ItemKind, Key, Network, NetworkFacts, key
from intertie.planning.identity import bridge_name

FEW = 100
"""Items up to which asking for each costs less than asking for all."""


class LinuxCloud:
    """The cloud of one site, in the namespace that its agent runs in. Satisfies `agent.ports.Cloud`."""

    def __init__(self, site: str, namespaces: Namespaces) -> None:
        self._site = site
        self._spaces = namespaces

    async def observe(self, keys: Collection[Key] | None) -> Sequence[Network | Host]:
        """Our networks and hosts as they are: all of them, or those among `keys`. OSError if the kernel refuses."""
        links = await self._spaces.run(None, partial(_read_some, keys) if keys is not None else _read_links)
        items: list[Network | Host] = [network for network, _ in bridges(self._site, links).values()]
        items += await self._hosts(links, keys)
        return [item for item in items if keys is None or key(item) in keys]

    async def free_bridges(self) -> tuple[str, ...]:
        """Bridges of this machine that are no network yet, and could be one."""
        links = await self._spaces.run(None, _read_links)
        taken = {bridge.name for _, bridge in bridges(self._site, links).values()}
        return tuple(sorted(link.name for link in links if link.kind == "bridge" and link.name not in taken))

    async def inventory(self) -> tuple[NetworkFacts, ...]:
        """The networks that can be attached, with the addresses and ports seen on them."""
        links, held, neighbours, forwarding = await self._spaces.run(None, _read_surroundings)
        hosts = await self._hosts(links, None)
        remote = _behind_vpns(links, forwarding)
        facts = []
        for network, bridge in bridges(self._site, links).values():
            addresses: list[Address] = [i.ip for host in hosts if host.bridge == bridge.name for i in host.interfaces]
            addresses += [address.interface.ip for address in held if address.index == bridge.index]
            addresses += [
                seen.address
                for seen in neighbours
                if seen.index == bridge.index and seen.address and not seen.address.is_multicast
                if seen.mac not in remote
            ]
            inside = (a for a in addresses if any(a in prefix for prefix in network.prefixes))
            facts.append(network_facts(network, bridge, foreign_ports(bridge, links), inside))
        return tuple(facts)

    async def namespace(self, host: str) -> Netns | None:
        """Where the host of that id is, to look out of it; None if it is not there."""
        port = await self._link(port_name(host))
        mark = read_host_mark(port) if port else None
        return mark.ns if mark else None

    async def changes(self) -> AsyncIterator[Key]:
        """Keys of what the kernel says has moved: a bridge, a host's port, a port that came to or left a network."""
        links = await self._spaces.run(None, _read_links)
        known = {link.index: k for link in links if (k := self._key(link))}
        async for news in link_news(self._spaces):
            if news is None:  # some were lost: all that is there, and all that was
                seen = [key(item) for item in await self.observe(None)]
                for k in dict.fromkeys((*known.values(), *seen)):
                    yield k
                continue
            there, link = news
            own = self._key(link)
            if own is not None:
                known[link.index] = own
            if link.index in known:
                yield known[link.index]
            elif link.master in known and not link.name.startswith(VPN_PORTS):
                yield known[link.master]
            if own is not None and not there:
                del known[link.index]

    async def ensure(self, item: Item) -> None:
        """Make it so, in place; what is as it should be is not written. Refused: `unknown-network` without the
        bridge that the item stands on."""
        match item:
            case Network():
                await self._ensure_network(item)
            case Host():
                await self._ensure_host(item)
            case _:
                raise TypeError(f"a cloud holds networks and hosts, not {item!r}")

    async def remove(self, item: Item) -> None:
        """Take it away; absent already is success. Refused: `in-use`, a network with ports."""
        match item:
            case Network():
                await self._remove_network(item)
            case Host():
                await self._remove_host(item)
            case _:
                raise TypeError(f"a cloud holds networks and hosts, not {item!r}")

    def _key(self, link: Link) -> Key | None:
        if network := parse_network(self._site, link):
            return key(network)
        if host := read_host_mark(link):
            return (ItemKind.HOST, host.id)
        return None

    # ── Networks ───────────────────────────────────────────────────────────────────────────────────────────

    async def _ensure_network(self, item: Network) -> None:
        link = await self._link(item.bridge)
        if link is None and not item.own:
            raise Refused(
                f"network {item.name}: there is no bridge {item.bridge}",
                code="unknown-network",
                hint=f"create the bridge {item.bridge}, or name another",
            )
        if link is not None and link.kind != "bridge":
            raise Refused(f"network {item.name}: {item.bridge} is a {link.kind or 'device'}, not a bridge")
        await self._perform_own(render_network(self._site, item, link))

    async def _remove_network(self, item: Network) -> None:
        links = await self._spaces.run(None, _read_links)
        link = next((link for link in links if link.name == item.bridge and link.kind == "bridge"), None)
        if link is None:
            return
        marked = parse_network(self._site, link)
        if marked.id != item.id if marked else not item.own:
            return
        ports = [port for port in links if port.master == link.index and (item.own or read_host_mark(port))]
        if ports:
            raise Refused(
                f"network {item.name} has ports: {', '.join(sorted(_port_words(port) for port in ports))}",
                code="in-use",
                hint="remove the hosts on it first",
            )
        if item.own:
            await self._perform_own((DelLink(name=link.name),))
        else:
            await self._perform_own((AltNames(name=link.name, remove=marks.ours(link.altnames)),))

    # ── Hosts ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _ensure_host(self, item: Host) -> None:
        bridge = await self._link(item.bridge)
        if bridge is None or bridge.kind != "bridge":
            raise Refused(f"host {item.name}: there is no bridge {item.bridge}", code="unknown-network")
        port = await self._link(port_name(item.id))
        mark = read_host_mark(port) if port else None
        inside = await self._inside(mark.ns) if mark else None
        ns = mark.ns if mark else await self._free_name(item)
        if inside is None:
            await self._spaces.create(ns)
        script = render_host(self._site, item, ns, bridge, (port, inside) if port else None)
        if script and port is None and bridge.mac != NO_MAC and await self._lonely(bridge):
            script = ((None, SetLink(name=bridge.name, mac=bridge.mac)), *script)
        if script:
            await perform(self._spaces, script)

    async def _lonely(self, bridge: Link) -> bool:
        """Whether it is somebody else's bridge without a port: one that made up its MAC, and would drop it with the
        first port that comes and goes, unless told to keep it."""
        if (network := parse_network(self._site, bridge)) and network.own:
            return False
        return not any(link.master == bridge.index for link in await self._spaces.run(None, _read_links))

    async def _free_name(self, item: Host) -> Netns:
        """The first name whose namespace is not there or empty: left by an agent that was killed at this place."""
        *first, last = host_names(self._site, item)
        for ns in first:
            if not await self._spaces.exists(ns) or len(await self._spaces.run(ns, _read_links)) == 1:
                return ns
        return last

    async def _remove_host(self, item: Host) -> None:
        port = await self._link(port_name(item.id))
        mark = read_host_mark(port) if port else None
        if port is None:
            return
        if mark is not None:  # before the port, whose mark is what leads to the namespace
            await self._spaces.remove(mark.ns)
        await self._perform_own((DelLink(name=port.name),))

    async def _hosts(self, links: Collection[Link], keys: Collection[Key] | None) -> Sequence[Host]:
        names: Mapping[int, str] = {link.index: link.name for link in links}
        hosts = []
        for link in links:
            mark = read_host_mark(link)
            if mark is not None and (keys is None or (ItemKind.HOST, mark.id) in keys):
                host = parse_host(link, names.get(link.master, ""), await self._inside(mark.ns))
                hosts += [host] if host else []
        return hosts

    # ── The system ─────────────────────────────────────────────────────────────────────────────────────────

    async def _inside(self, ns: Netns) -> Inside | None:
        try:
            return await self._spaces.run(ns, _look_inside)
        except FileNotFoundError:
            return None

    async def _link(self, name: str) -> Link | None:
        def read() -> Link | None:
            with Reader() as reader:
                return reader.link(name)

        return await self._spaces.run(None, read)

    async def _perform_own(self, steps: Sequence[Step]) -> None:
        if steps:
            await perform(self._spaces, tuple((None, step) for step in steps))


def _read_links() -> tuple[Link, ...]:
    with Reader() as reader:
        return reader.links()


def _read_some(keys: Collection[Key]) -> tuple[Link, ...]:
    """The devices of these items, by name; all devices when that does not find them or they are many."""
    found: dict[int, Link] = {}
    if len(keys) > FEW:
        return _read_links()
    with Reader() as reader:
        for kind, id in keys:
            link = reader.link(port_name(id) if kind is ItemKind.HOST else bridge_name(id))
            if link is None and kind is ItemKind.NETWORK:  # gone, or on a bridge that was there before
                return reader.links()
            bridge = reader.link_at(link.master) if link and link.master else None
            found |= {there.index: there for there in (link, bridge) if there}
    return tuple(found.values())


def _look_inside() -> Inside | None:
    with Reader() as reader:
        return look_inside(reader)


def _read_surroundings() -> tuple[
    tuple[Link, ...], tuple[HeldAddress, ...], tuple[Neighbour, ...], tuple[Neighbour, ...]
]:
    with Reader() as reader:
        return reader.links(), reader.addresses(), reader.neighbours(), reader.neighbours(socket.AF_BRIDGE)


def _behind_vpns(links: Collection[Link], forwarding: Collection[Neighbour]) -> frozenset[str]:
    """MACs that a bridge has learnt on a Vpn's port: other sites' hosts, whose addresses are not ours to count."""
    vpns = {link.index for link in links if link.name.startswith(VPN_PORTS)}
    return frozenset(entry.mac for entry in forwarding if entry.index in vpns)


def _port_words(port: Link) -> str:
    mark = read_host_mark(port)
    return f"{mark.name} (host)" if mark else port.name

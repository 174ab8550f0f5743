"""Transport `vxlan`: segments over plain VXLAN (RFC 7348), with head-end replication and no daemon.

L2. The device `vx<vni>` is a port of the network's bridge. What is for everybody goes once to each remote; what is
learnt comes from remotes only, since the filter (`vxlan_rules`) lets nobody else in.

L3. One namespace per network is its router (`vxlan_router`): a port on the network's bridge carries the gateways,
and one `vx<vni>` per Vpn leads to the remotes. The device is made here and moved there, so it keeps sending from
here: the router never sees the underlay.

`observe` looks at the kernel and at nothing else. A segment is what its labels say as far as the kernel bears
them out; what it does not is `flaw`, in words. `ensure` edits in place, in an order in which nothing is let in
before its filter stands and nothing that stays is ever without its forwarding entry.

VXLAN is not encrypted and its outer source can be forged: between sites that do not trust the network between
them, an encrypted underlay belongs beneath it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

from pyroute2 import IPRoute

from intertie.drivers.linux import nft
from intertie.drivers.linux.frames import Place
from intertie.drivers.linux.netns import Namespaces, Netns
from intertie.drivers.linux.nft_model import Family
from intertie.drivers.linux.watch import Watch, Where
from intertie.drivers.transport import vxlan_kernel as kernel
from intertie.drivers.transport import vxlan_names as names
from intertie.drivers.transport import vxlan_probe
from intertie.drivers.transport import vxlan_router as router
from intertie.drivers.transport import vxlan_rules as rules
from intertie.drivers.transport.vxlan_kernel import Device, Entry
from intertie.drivers.transport.vxlan_router import Inside, Port
from intertie.drivers.transport.vxlan_sight import Sight, Tables, owner, places, routed, segment_of, tables_of, vnis
from intertie.model.bodies import Address, TransportFacts, VpnKind
from intertie.model.errors import Conflict, NotFound, Refused
from intertie.model.items import Interface, Item, ItemKind, Key, Segment, key


class VxlanTransport:
    """The driver. `home` is the namespace of the underlay and the bridges; None: the agent's own."""

    def __init__(self, *, site: str, namespaces: Namespaces, underlay: Address, home: Netns | None = None) -> None:
        self.site = site
        self.underlay = underlay
        self._namespaces = namespaces
        self._home = home
        self._watch: Watch | None = None
        self._places: dict[Where, set[Key]] = {}

    async def probe(self) -> TransportFacts:
        """What this machine can do, tried out; `reason` says what it lacks."""
        return await vxlan_probe.probe(self.site, self._namespaces, self.underlay, self._home)

    def place(self, segment: Segment) -> Place:
        """Where a segment's probes are sent and heard."""
        if segment.kind is VpnKind.L2:
            return Place(netns=self._home, device=segment.bridge)
        return Place(netns=names.router_name(self.site, segment.network), device=names.device_name(segment.vni))

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        """This site's segments as they are; with `keys` only the routers of those are entered."""
        if keys is None:
            self._places.clear()
        found, ports = await self._namespaces.run(self._home, lambda: (_look(), router.ports()))
        insides = {ns: await self._look_inside(ns) for ns in await self._routers(keys)}
        devices = [d for d, _ in found] + [p.device for inside in insides.values() for p in inside.paths.values()]
        tables = await self._tables(_chosen(self.site, devices, keys))
        sights = [Sight(device=d, static=static, tables=tables_of(tables, d.vni)) for d, static in found]
        for inside in insides.values():
            sights += [routed(path, inside, ports, tables) for path in inside.paths.values()]
        missing = vnis(tables) - {device.vni for device in devices}
        sights += [Sight(device=None, tables=tables_of(tables, vni)) for vni in missing]
        segments = [segment for sight in sights if (segment := self._remember(sight)) is not None]
        return [segment for segment in segments if keys is None or key(segment) in keys]

    async def changes(self) -> AsyncIterator[Key]:
        """The segments whose devices, entries, routers or filters the kernel says have changed, by whomever."""
        watch = self._watch = Watch(self._namespaces)
        try:
            await watch.follow(self._home)
            await self.observe(None)
            async for ns, place in watch.news():
                lost = {k for (where, _), keys in self._places.items() if where == ns for k in keys}
                for each in sorted(self._places.get((ns, place), set()) if place else lost):
                    yield each
        finally:
            self._watch = None
            watch.close()

    async def ensure(self, item: Item) -> None:
        """Make the segment so. NotFound without its bridge; Conflict if the VNI is another's here."""
        segment = _segment(item)
        first = await self._ensure_filter(segment)
        try:
            if segment.kind is VpnKind.L2:
                await self._namespaces.netlink(self._home, lambda nl: _ensure_l2(nl, self.site, segment))
            else:
                await self._ensure_l3(segment)
        except (Conflict, NotFound):
            if first:  # whoever has the VNI gets his packets back
                await self._namespaces.run(self._home, lambda: self._remove_filter(segment))
            raise

    async def remove(self, item: Item) -> None:
        """Take the segment away: first its device, so that nothing is let in on the way. The last segment of a
        router takes the router with it."""
        segment = _segment(item)
        await self._namespaces.netlink(self._home, lambda nl: self._remove_device(nl, segment))
        if segment.kind is VpnKind.L3:
            await self._remove_l3(segment)
        await self._namespaces.run(self._home, lambda: self._remove_filter(segment))

    # ── Routers ────────────────────────────────────────────────────────────────────────────────────────

    async def _routers(self, keys: Collection[Key] | None) -> Collection[Netns]:
        there = await self._namespaces.list(names.router_prefix(self.site))
        if keys is None:
            return there
        wanted = {names.router_name(self.site, identity.split("/", 1)[1]) for _, identity in keys if "/" in identity}
        return [ns for ns in there if ns in wanted]

    async def _look_inside(self, ns: Netns) -> Inside:
        if self._watch is not None:
            await self._watch.follow(ns)
        return await self._namespaces.netlink(ns, router.look)

    async def _ensure_l3(self, segment: Segment) -> None:
        ns = names.router_name(self.site, segment.network)
        where = self._namespaces.directory / ns
        await self._namespaces.create(ns)
        sharing, held = await self._namespaces.run(ns, lambda: (kernel.devices(), router.port(router.LAN)))
        gateways = self._gateways(segment, await self._tables([each.vni for each in sharing.values()]))
        mtu = await self._namespaces.netlink(
            self._home, lambda nl: router.fit_outside(nl, self.site, segment, where, held is not None)
        )
        want = kernel.wanted_device(self.site, segment)
        lan = router.wanted_ports(self.site, segment, mtu)[1]
        if not await self._namespaces.netlink(ns, lambda nl: _fit_router(nl, lan, gateways, want)):
            await self._namespaces.netlink(self._home, lambda nl: _send_in(nl, want, where))
        await self._namespaces.netlink(ns, lambda nl: _fit_path(nl, segment, want))

    def _gateways(self, segment: Segment, tables: Tables) -> frozenset[Interface]:
        """The gateways of all segments that share the router."""
        told = (names.parse_facts(table) for (family, _), table in tables.items() if family is Family.INET)
        others = (each[1] for each in told if each is not None and each[0] == self.site)
        sharing = [
            o for o in others if o.kind is VpnKind.L3 and o.network == segment.network and o.vni != segment.vni
        ]
        return frozenset(gateway for each in (segment, *sharing) for gateway in each.gateways)

    async def _remove_l3(self, segment: Segment) -> None:
        ns = names.router_name(self.site, segment.network)
        if not await self._namespaces.exists(ns):
            return

        def leave(nl: IPRoute) -> bool:
            self._remove_device(nl, segment)
            return not kernel.devices()

        if await self._namespaces.netlink(ns, leave):
            port = names.router_port(self.site, segment.network)
            await self._namespaces.netlink(self._home, lambda nl: kernel.remove(nl, port))
            if self._watch is not None:
                self._watch.leave(ns)
            await self._namespaces.remove(ns)

    def _remember(self, sight: Sight) -> Segment | None:
        segment = segment_of(self.site, sight)
        if segment is not None:
            for where in places(self.site, self._home, segment, sight):
                self._places.setdefault(where, set()).add(key(segment))
        return segment

    # ── Filters and labels ─────────────────────────────────────────────────────────────────────────────

    async def _tables(self, vnis: Collection[int] | None = None) -> Tables:
        """All segments' tables, or those of some VNIs, where the underlay is."""

        def some(wanted: Collection[int]) -> Tables:
            return {k: t for vni in wanted for k, t in nft.read_tables(names.table_name(vni)).items()}

        return await self._namespaces.run(self._home, lambda: nft.read(names.PREFIX) if vnis is None else some(vnis))

    async def _ensure_filter(self, segment: Segment) -> bool:
        """Whether there was none before. Conflict if the VNI is another's here, as far as that can be seen."""
        want = rules.tables(self.site, segment)
        have = tables_of(await self._tables([segment.vni]), segment.vni)
        name = names.device_name(segment.vni)
        device = await self._namespaces.netlink(self._home, lambda _: kernel.device(name))
        if other := owner(self.site, segment, Sight(device=device, tables=have)):
            raise Conflict(f"VNI {segment.vni} is used on this machine by {other}")
        if have != want:
            await self._namespaces.run(self._home, lambda: nft.replace(want))
        return not have

    def _remove_device(self, nl: IPRoute, segment: Segment) -> None:
        device = kernel.device(names.device_name(segment.vni))
        alias = names.parse_alias(device.alias) if device else None
        if device and alias and (alias.site, alias.vpn, alias.network) == (self.site, segment.vpn, segment.network):
            kernel.remove(nl, device.name)

    def _remove_filter(self, segment: Segment) -> None:
        name = names.table_name(segment.vni)
        tables = nft.read_tables(name)
        told = next((names.parse_facts(t) for k, t in tables.items() if k == (Family.INET, name)), None)
        if told is None or (told[0], key(told[1])) == (self.site, key(segment)):
            nft.delete(list(tables))


def _chosen(site: str, devices: Collection[Device], keys: Collection[Key] | None) -> Collection[int] | None:
    """The VNIs of these segments; None, for all, unless each of them has a device by whose alias it is known."""
    if keys is None:
        return None
    known: dict[Key, int] = {}
    for device in devices:
        alias = names.parse_alias(device.alias)
        if alias is not None and alias.site == site:
            known[ItemKind.SEGMENT, f"{alias.vpn}/{alias.network}"] = device.vni
    return [known[k] for k in keys] if set(keys) <= set(known) else None


def _segment(item: Item) -> Segment:
    if not isinstance(item, Segment):
        raise Refused(f"a transport carries segments, not {type(item).__name__}")
    return item


def _look() -> list[tuple[Device, frozenset[Entry]]]:
    """The VXLAN devices of the calling thread's namespace, with their static entries."""
    found = kernel.devices()
    forwarding = kernel.entries(found.values())
    return [(device, forwarding[name][0]) for name, device in found.items()]


def _fit_router(nl: IPRoute, lan: Port, gateways: Collection[Interface], want: Device) -> bool:
    """Whether the segment's device is there and can stay."""
    router.fit_lan(nl, lan, gateways)
    have = kernel.device(want.name)
    if have is None:
        return False
    if kernel.unchangeable(have, want):
        kernel.remove(nl, have.name)
        return False
    return True


def _send_in(nl: IPRoute, want: Device, where: Path) -> None:
    """Make the device where its underlay is, unless a crash left it there, and move it into the router."""
    have = kernel.device(want.name)
    if have is not None and kernel.unchangeable(have, want):
        kernel.remove(nl, have.name)
        have = None
    have = have or kernel.create(nl, want)
    with where.open() as there:
        nl.link("set", index=have.index, net_ns_fd=there.fileno())


def _fit_path(nl: IPRoute, segment: Segment, want: Device) -> None:
    have = kernel.devices()[want.name]
    static, _ = kernel.entries([have])[have.name]
    kernel.fit_entries(nl, have, static, kernel.wanted_entries(segment))
    if not have.up:
        kernel.silence(nl, have.index)
    kernel.fit_device(nl, have, want, 0)
    router.fit_path(nl, segment, have)


def _ensure_l2(nl: IPRoute, site: str, segment: Segment) -> None:
    master, mtu = kernel.bridge(segment.bridge)
    want = kernel.wanted_device(site, segment, mtu)
    have = kernel.device(want.name)
    if have is not None and kernel.unchangeable(have, want):
        kernel.remove(nl, want.name)
        have = None
    if have is None:
        have = kernel.create(nl, want)
    static, learnt = kernel.entries([have])[have.name]
    kernel.fit_entries(nl, have, static, kernel.wanted_entries(segment))
    allowed = {e.address for remote in segment.remotes for e in remote.endpoints}
    for entry in learnt:
        if entry.address not in allowed:
            kernel.forget(nl, have, entry)
    kernel.fit_device(nl, have, want, master)

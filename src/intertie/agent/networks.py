"""Networks and hosts of this site's own cloud: what an operator or tenant makes here, and what is found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from intertie.agent.access import Caller, Role
from intertie.agent.agent import Agent
from intertie.agent.ports import Cloud, Look
from intertie.model.bodies import Address, HostBody, NetworkBody, Prefix, Range
from intertie.model.codec import check_name
from intertie.model.errors import Conflict, NotFound, Refused
from intertie.model.items import Host, Network, NetworkFacts
from intertie.model.records import Draft, Kind, State
from intertie.model.views import HostView, NetworkView
from intertie.planning import gifts, ranges
from intertie.planning.admit import Situation, attachment_of, gateways_of, held_here, overlapping
from intertie.planning.change import common_mtu
from intertie.planning.compile import network_ranges, wanted_networks
from intertie.planning.faults import apart
from intertie.planning.identity import made_network
from intertie.planning.plausible import usable_prefix
from intertie.planning.take_up import hint_of, remedy, taken_up, taken_up_with_hosts


class Networks:
    """The use cases."""

    def __init__(self, agent: Agent, cloud: Cloud, look: Look) -> None:
        self.agent = agent
        self._cloud = cloud
        self._look = look

    # ── Networks ───────────────────────────────────────────────────────────────────────────────────────────

    def all(self, caller: Caller) -> list[NetworkView]:
        wished = wanted_networks(self.agent.table)
        return [self._view(n, wished) for n in self._seen(caller, wished)]

    def get(self, caller: Caller, wanted: str) -> NetworkView:
        """By id, or by name, first in the caller's project."""
        wished = wanted_networks(self.agent.table)
        found = [n for n in self._seen(caller, wished) if wanted in (n.id, n.name)]
        if not found:
            raise NotFound(f"no network {wanted}", hint="intertie network list")
        return self._view(min(found, key=lambda n: (n.id != wanted, n.project != caller.project)), wished)

    def _seen(self, caller: Caller, wished: Mapping[str, Network]) -> list[NetworkFacts]:
        found = {n.id: n for n in self.agent.inventory.networks}
        for network in wished.values():
            # Wanted, but not there yet: the next round makes it.
            found.setdefault(network.id, _facts(network, self.agent.failures.get(network.id, "")))
        return [n for _, n in sorted(found.items()) if caller.sees(n.project)]

    async def create(
        self, caller: Caller, name: str, prefixes: Sequence[Prefix], bridge: str = "", mtu: int = 0
    ) -> NetworkView:
        """A new network of the caller's project; with `bridge`, one that uses an existing Linux bridge."""
        caller.needs(Role.ADMIN if bridge else Role.MEMBER)
        check_name(name)
        _check_prefixes(prefixes)
        id = f"{self.agent.site}.{self.agent.ports.ids.new()}"
        most = common_mtu(self.agent.situation, [self.agent.site], "vxlan")
        if mtu and not 1280 <= mtu <= 9216:
            raise Refused(f"an MTU of {mtu} is out of range", hint="1280 (RFC 8200 section 5) to 9216")
        body = NetworkBody(
            name=name, project=caller.project, prefixes=tuple(prefixes), mtu=mtu or most, bridge=bridge
        )
        if orphan := taken_up(self.agent.situation, body, mtu):
            # What a lost store no longer explains, under the name and with the prefixes that it has: it is that one.
            hosts = [i for i in await self._cloud.observe(None) if isinstance(i, Host)]
            await self.agent.write(lambda s: taken_up_with_hosts(s, orphan, hosts))
            return self.get(caller, orphan.id)
        free = await self._cloud.free_bridges() if bridge else ()
        await self.agent.write(lambda s: [_new_network(s, id, body, free)])
        await self._until(id, True)
        return self.get(caller, id)

    async def _until(self, id: str, there: bool) -> None:
        """A moment for the round, so that who makes a network finds it attachable, and who deletes one finds it
        gone; it goes on without that too."""
        for _ in range(20):
            if any(n.id == id for n in self.agent.inventory.networks) is there or id in self.agent.failures:
                return
            await self.agent.news.wait(0.25)

    async def delete(self, caller: Caller, wanted: str) -> None:
        """In use by ports or by a Vpn: Conflict."""
        caller.needs(Role.MEMBER)
        network = self.get(caller, wanted)
        if network.project != caller.project and caller.role is not Role.ADMIN:
            raise NotFound(f"no network {wanted}")
        self.agent.inventory = replace(await self._look(), vnis=self.agent.inventory.vnis)
        await self.agent.write(lambda s: [_network_gone(s, network)])
        await self._until(network.id, False)

    def _view(self, n: NetworkFacts, wished: Mapping[str, Network]) -> NetworkView:
        table = self.agent.table
        network = wished.get(n.id) or Network(
            id=n.id, name=n.name, project=n.project, prefixes=n.prefixes, mtu=n.mtu, bridge=n.bridge, own=n.own
        )
        return NetworkView(
            id=n.id,
            name=n.name,
            site=self.agent.site,
            project=n.project,
            prefixes=n.prefixes,
            mtu=n.mtu,
            bridge=n.bridge,
            addresses_in_use=n.addresses_in_use,
            ranges=network_ranges(table, network),
            gateways=gateways_of(table, n.id, n.prefixes),
            ports=n.ports,
            attachable=n.attachable,
            reason=n.reason,
        )

    # ── Hosts ──────────────────────────────────────────────────────────────────────────────────────────────

    def hosts(self, caller: Caller) -> list[HostView]:
        networks = wanted_networks(self.agent.table)
        found: list[HostView] = []
        for record, body in self.agent.table.bodies(Kind.HOST, HostBody):
            with apart(self.agent.table.faults, record.id):
                if caller.sees(body.project):
                    found.append(self._host_view(record.id, body, networks.get(body.network)))
        return found

    def host(self, caller: Caller, wanted: str) -> HostView:
        """By id or name. NotFound also for what is another project's."""
        for found in self.hosts(caller):
            if wanted in (found.id, found.name):
                return found
        raise NotFound(f"no host {wanted}", hint="intertie host list")

    def _host_view(self, id: str, b: HostBody, network: Network | None) -> HostView:
        return HostView(
            id=id,
            name=b.name,
            site=self.agent.site,
            project=b.project,
            network=network.name if network else b.network,
            address=b.addresses[0],
            addresses=b.addresses,
            mtu=network.mtu if network else 0,
        )

    async def create_host(
        self, caller: Caller, name: str, network: str, addresses: Sequence[Address] = ()
    ) -> HostView:
        """A host with an address of each IP version from what this site holds of the network."""
        caller.needs(Role.MEMBER)
        check_name(name)
        # The part of a network that is this site's may have changed since what it remembers (rule 18).
        self.agent.needs_its_past()
        facts = self.get(caller, network)
        id = f"{self.agent.site}.{self.agent.ports.ids.new()}"
        written = await self.agent.write(lambda s: [_new_host(s, id, name, facts, addresses)])
        body = written[0].body
        assert isinstance(body, HostBody)
        return self._host_view(id, body, wanted_networks(self.agent.table).get(facts.id))

    async def delete_host(self, caller: Caller, wanted: str) -> None:
        caller.needs(Role.MEMBER)
        id = self.host(caller, wanted).id
        await self.agent.write(lambda s: [_host_gone(s, id)])


def _facts(network: Network, reason: str) -> NetworkFacts:
    return NetworkFacts(
        id=network.id,
        name=network.name,
        project=network.project,
        prefixes=network.prefixes,
        mtu=network.mtu,
        bridge=network.bridge,
        own=network.own,
        attachable=False,
        reason=reason or "being made",
    )


def _check_prefixes(prefixes: Sequence[Prefix]) -> None:
    if not prefixes:
        raise Refused("a network needs a prefix", hint="for example 10.20.0.0/24, or 2001:db8::/64")
    for prefix in prefixes:
        first, last = ranges.usable(prefix)
        if last - first < 1:
            raise Refused(
                f"{prefix} has no room for a gateway and a host",
                code="prefix-too-small",
                hint="the smallest that would do is a /31 (IPv4, RFC 3021) or a /126 (IPv6)",
            )
        if not usable_prefix(prefix):
            raise Refused(f"{prefix} cannot be a network's prefix: it has another purpose")
    for i, prefix in enumerate(prefixes):
        if pair := overlapping((prefix,), prefixes[:i]):
            raise Refused(f"{pair[0]} overlaps {pair[1]}", code="overlap")


def _new_network(situation: Situation, id: str, body: NetworkBody, free: Collection[str]) -> Draft:
    bridges = {n.bridge: n.name for n in situation.inventory.networks}
    bridges |= {n.bridge: n.name for n in wanted_networks(situation.table).values()}
    if body.bridge in bridges:
        raise Conflict(f"bridge {body.bridge} is network {bridges[body.bridge]} already", code="in-use")
    if body.bridge and body.bridge not in free:
        raise Refused(
            f"{situation.site} has no bridge {body.bridge}",
            hint=f"one of {', '.join(free)}" if free else "there is none",
        )
    for found in situation.inventory.networks:
        if found.project != body.project:
            continue
        if found.name == body.name:
            raise Conflict(
                f"there is a network {body.name} already", code="name-taken", hint=hint_of(situation, found)
            )
    for network in wanted_networks(situation.table).values():
        if (network.name, network.project) == (body.name, body.project):
            raise Conflict(f"there is a network {body.name} already", code="name-taken", hint="intertie network list")
    return Draft(kind=Kind.NETWORK, id=id, body=body)


def _network_gone(situation: Situation, network: NetworkView) -> Draft:
    for record, body in held_here(situation.table):
        if situation.table.answers(record.id)[situation.site].network == network.id:
            raise Conflict(
                f"network {network.name} is in Vpn {body.name}",
                code="in-use",
                hint=f"intertie vpn delete {body.name}, or remove this site from it",
            )
    record_here = situation.table.get(network.id)
    made = any(network.id == made_network(situation.site, r.id) for r in situation.table.all_of(Kind.VPN))
    if not made and (record_here is None or record_here.header.kind is not Kind.NETWORK):
        raise Refused(
            f"network {network.name} is an orphan: its record was lost with this site's database",
            code="in-use",
            hint=remedy(network.name, network.prefixes),
        )
    hosts = [b.name for _, b in situation.table.bodies(Kind.HOST, HostBody) if b.network == network.id]
    # A bridge that was there before keeps its other ports: they are no reason to keep it.
    ports = next((n.ports for n in situation.inventory.networks if n.id == network.id and n.own), 0)
    if hosts or ports:
        raise Conflict(
            f"network {network.name} has ports in use ({max(len(hosts), ports)})",
            code="in-use",
            hint=f"delete the hosts first: {', '.join(hosts)}" if hosts else "",
        )
    if record_here is None or made:
        raise Refused(f"network {network.name} was made for a Vpn and ends with it", code="in-use")
    return Draft(
        kind=Kind.NETWORK, id=record_here.id, state=State.WITHDRAWN, body=record_here.body, base=record_here.order
    )


def _new_host(situation: Situation, id: str, name: str, network: NetworkView, wanted: Sequence[Address]) -> Draft:
    table = situation.table
    for _, other in table.bodies(Kind.HOST, HostBody):
        if other.name == name and other.project == network.project:
            raise Conflict(f"there is a host {name} already", code="name-taken", hint="intertie host list")
    _not_leaving(situation, network)
    here = wanted_networks(table).get(network.id)
    if here is None:
        # An orphan of a lost store (rule 19) is kept as it is; the round would never make a host on it.
        raise Conflict(
            f"no record of {situation.site} explains network {network.name}: it is kept, and takes no new hosts",
            code="in-use",
            hint=remedy(network.name, network.prefixes),
        )
    held = network_ranges(table, here)
    taken = {*gateways_of(table, network.id, network.prefixes), *_seen(situation, network.id)}
    taken |= {a for _, b in table.bodies(Kind.HOST, HostBody) if b.network == network.id for a in b.addresses}
    addresses = tuple(_asked(a, network, held, taken) for a in wanted) or tuple(
        _free(situation, network, held, taken)
    )
    body = HostBody(name=name, project=network.project, network=network.id, addresses=addresses)
    return Draft(kind=Kind.HOST, id=id, body=body)


def _seen(situation: Situation, network: str) -> Iterable[Address]:
    return next((n.addresses_in_use for n in situation.inventory.networks if n.id == network), ())


def _not_leaving(situation: Situation, network: NetworkView) -> None:
    for record, body in held_here(situation.table):
        answer = situation.table.answers(record.id)[situation.site]
        attachment = attachment_of(body, situation.site)
        leaving = record.header.state is State.CLOSING or (attachment is not None and attachment.leaving)
        if answer.network == network.id and leaving:
            raise Conflict(
                f"network {network.name} is being removed with Vpn {body.name}: it takes no new ports", code="in-use"
            )


def _asked(address: Address, network: NetworkView, held: Sequence[Range], taken: set[Address]) -> Address:
    if not any(address.version == p.version and address in p for p in network.prefixes):
        raise Refused(f"{address} is in none of {', '.join(str(p) for p in network.prefixes)}")
    if not ranges.within(address, held):
        words = ", ".join(f"{r.first}–{r.last}" for r in held if r.first.version == address.version)
        raise Conflict(
            f"{address} is held by another site of the Vpn", code="in-use", hint=f"this site holds {words}"
        )
    if address in taken:
        raise Conflict(f"{address} is in use", code="in-use")
    return address


def _free(
    situation: Situation, network: NetworkView, held: Sequence[Range], taken: set[Address]
) -> Iterable[Address]:
    for prefix in network.prefixes:
        address = ranges.next_address(prefix, held, taken)
        if address is None:
            others = gifts.others_words(situation, network.id, prefix)
            asked = any(word.endswith("is asked") for word in others)
            raise Conflict(
                "; ".join([f"{situation.site} has no address left in {prefix}", *others]),
                code="quota",
                hint="try again in a moment" if asked else "delete a host, or make the Vpn of a larger network",
            )
        yield address


def _host_gone(situation: Situation, id: str) -> Draft:
    record = situation.table.get(id)
    if record is None or not record.live:
        raise NotFound(f"no host {id}")
    return Draft(kind=Kind.HOST, id=id, state=State.WITHDRAWN, body=record.body, base=record.order)

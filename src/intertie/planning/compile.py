"""Records → the items that this site must hold now: a function of what is known, not of the order it came in."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_interface

from intertie.model.bodies import (
    Address,
    AnswerBody,
    Endpoint,
    HostBody,
    NetworkBody,
    Prefix,
    Range,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.items import Host, Interface, Item, ItemKind, Key, Network, Remote, Segment, key
from intertie.model.records import Kind, Record, State
from intertie.planning import ranges, trust
from intertie.planning.admit import attachment_of, gateways_of, l2_answers
from intertie.planning.faults import apart
from intertie.planning.held import AGREED, has_left, routed
from intertie.planning.identity import bridge_name, made_network
from intertie.planning.table import Table


def compile_site(table: Table, blocked: Collection[str] = ()) -> frozenset[Item]:
    """All that this site must hold; `blocked` are Vpns (ids) in whose segment here a loop was seen."""
    # Most rounds find no new record: they compare what they see with what was made before.
    return table.derived("site", Kind, lambda: _compile(table, blocked), given=frozenset(blocked))


def _compile(table: Table, blocked: Collection[str]) -> frozenset[Item]:
    networks = wanted_networks(table)
    items: set[Item] = set(networks.values())
    for vpn, body in table.vpns():
        with apart(table.faults, vpn.id):
            segment = segment_of(table, vpn, body, blocked)
            if segment is not None:
                items.add(segment)
    items |= set(_hosts(table, networks))
    return frozenset(items)


# ── Networks ───────────────────────────────────────────────────────────────────────────────────────────────


def wanted_networks(table: Table) -> Mapping[str, Network]:
    """id → network: those of this site's records, and those that its accepted L2 Vpns make."""
    return table.derived("networks", Kind, lambda: _wanted_networks(table))


def _wanted_networks(table: Table) -> Mapping[str, Network]:
    found = {r.id: _own_network(r.id, b) for r, b in table.bodies(Kind.NETWORK, NetworkBody)}
    in_use = {b.network for _, b in table.bodies(Kind.HOST, HostBody)}
    for record in table.all_of(Kind.VPN):
        with apart(table.faults, record.id):
            network = _made_network(table, record)
            # A network on which hosts of ours live outlasts its Vpn (a forced delete destroys nothing in use).
            if network is not None and (_stands(table, record) or network.id in in_use):
                found[network.id] = network
    return found


def _own_network(id: str, body: NetworkBody) -> Network:
    return Network(
        id=id,
        name=body.name,
        project=body.project,
        prefixes=body.prefixes,
        mtu=body.mtu,
        bridge=body.bridge or bridge_name(id),
        own=not body.bridge,
    )


def _made_network(table: Table, record: Record) -> Network | None:
    """The network that this site makes, or made, for an L2 Vpn."""
    body = record.body
    assert isinstance(body, VpnBody)
    answer = table.answer_record(record.id, table.site)
    said = answer.body if answer is not None else None
    id = made_network(table.site, record.id)
    if body.kind is not VpnKind.L2 or not isinstance(said, AnswerBody) or said.network != id:
        return None
    return Network(
        id=id,
        name=said.network_name,
        project=said.project,
        prefixes=said.prefixes,
        mtu=said.mtu,
        bridge=bridge_name(id),
    )


def _stands(table: Table, record: Record) -> bool:
    return record.live and _agreed(table, record) is not None


def _agreed(table: Table, vpn: Record) -> AnswerBody | None:
    """This site's own answer, if it is a yes that still holds for the version that stands."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    answer = table.own_answer(vpn.id)
    if answer is None or answer.word not in AGREED or attachment_of(body, table.site) is None:
        return None
    return answer


# ── Segments ───────────────────────────────────────────────────────────────────────────────────────────────


def segment_of(table: Table, vpn: Record, body: VpnBody, blocked: Collection[str] = ()) -> Segment | None:
    """This site's segment of a standing Vpn; None while it has not said yes, or has no underlay address."""
    answer = _agreed(table, vpn)
    if answer is None or not answer.endpoints or vpn.header.state is State.WITHDRAWN:
        return None
    network = bridge_of(table, answer.network)
    return Segment(
        vpn=vpn.id,
        kind=body.kind,
        epoch=vpn.order.epoch,
        vni=body.vni,
        network=answer.network,
        bridge=network,
        local=answer.endpoints[0],
        mtu=body.mtu,
        remotes=tuple(_remotes(table, vpn, body, answer.endpoints[0])),
        gateways=interfaces(answer.gateways, answer.prefixes),
        ranges=answer.ranges,
        transport=body.transport,
        route_target=body.route_target,
        blocked=vpn.id in blocked,
    )


def bridge_of(table: Table, network: str) -> str:
    """The bridge of one of this site's networks: an existing one if its record says so."""
    record = table.get(network)
    if record is not None and isinstance(record.body, NetworkBody) and record.body.bridge:
        return record.body.bridge
    return bridge_name(network)


def _remotes(table: Table, vpn: Record, body: VpnBody, local: Endpoint) -> Iterable[Remote]:
    """The other members that have said yes and are trusted still: with nobody else a packet is exchanged."""
    pinned = trust.pins(table)
    prefixes = routed(table, vpn) if body.kind is VpnKind.L3 else {}
    for site, answer in table.answers(vpn.id).items():
        member = attachment_of(body, site)
        if site == table.site or member is None or site not in pinned or answer.word not in AGREED:
            continue
        if answer.order == vpn.order and answer.digest != vpn.digest:
            # The home told it another version under the same number (rule 2): nothing of that is applied.
            continue
        endpoints = tuple(e for e in answer.endpoints if (e.address, e.port) != (local.address, local.port))
        if endpoints:
            yield Remote(site=site, endpoints=endpoints, prefixes=tuple(prefixes.get(site, ())))


def interfaces(addresses: Iterable[Address], prefixes: Iterable[Prefix]) -> tuple[Interface, ...]:
    """Each address with the length of the prefix it lies in."""
    prefixes = tuple(prefixes)
    return tuple(
        ip_interface(f"{a}/{p.prefixlen}") for a in addresses for p in prefixes if a.version == p.version and a in p
    )


# ── Hosts ──────────────────────────────────────────────────────────────────────────────────────────────────


def _hosts(table: Table, networks: Mapping[str, Network]) -> Iterable[Host]:
    for record, body in table.bodies(Kind.HOST, HostBody):
        network = networks.get(body.network)
        if network is None:
            continue
        host: Host | None = None
        with apart(table.faults, record.id):
            host = _host(table, record.id, body, network)
        if host is not None:
            yield host


def _host(table: Table, id: str, body: HostBody, network: Network) -> Host:
    return Host(
        id=id,
        name=body.name,
        project=body.project,
        network=network.id,
        bridge=network.bridge,
        interfaces=interfaces(body.addresses, network.prefixes),
        gateways=tuple(
            g
            for g in _last_gateways(table, network.id) or gateways_of(table, network.id, network.prefixes)
            if any(a.version == g.version for a in body.addresses)
        ),
        mtu=network.mtu,
    )


def _last_gateways(table: Table, network: str) -> tuple[Address, ...]:
    """Of a network that was made for a Vpn which has ended: its hosts keep the gateways that they have."""
    if table.get(network) is not None or any(True for _ in l2_answers(table, network)):
        return ()
    made = (r for r in table.all_of(Kind.VPN) if made_network(table.site, r.id) == network)
    answers = (table.answer_record(r.id, table.site) for r in made)
    return next((a.body.gateways for a in answers if a is not None and isinstance(a.body, AnswerBody)), ())


def network_ranges(table: Table, network: Network) -> tuple[Range, ...]:
    """The addresses that this site may give to hosts: its range in the L2 Vpn; without one, all that is usable."""
    for answer in l2_answers(table, network.id):
        return answer.ranges
    return ranges.whole(network.prefixes)


# ── Evidence ───────────────────────────────────────────────────────────────────────────────────────────────


def retained(
    table: Table, wanted: Iterable[Item], seen: Iterable[Item], unsure: Callable[[str], bool] = lambda vpn: False
) -> frozenset[Item]:
    """`wanted`, with the remotes that segments have and that nothing says are gone. Where this site is `unsure` of a
    Vpn (id), what it knows says nothing.

    The same rule as for whole items (rule 19): a site whose store is filling again knows some members before others,
    and must not stop exchanging packets with those that it will hear of next.
    """
    have = {key(i): i for i in seen}
    return frozenset(
        _with_remotes_of(table, item, old, unsure(item.vpn))
        if isinstance(item, Segment) and isinstance(old, Segment)
        else item
        for item in wanted
        for old in [have.get(key(item))]
    )


def _with_remotes_of(table: Table, segment: Segment, seen: Segment, unsure: bool) -> Segment:
    known = {r.site for r in segment.remotes}
    kept = [r for r in seen.remotes if r.site not in known and (unsure or not _has_left(table, segment.vpn, r.site))]
    return replace(segment, remotes=(*segment.remotes, *kept)) if kept else segment


def _has_left(table: Table, id: str, site: str) -> bool:
    """Whether anything says that `site` no longer exchanges packets in this Vpn: the record without it, its own
    word, or this site's forgetting of it."""
    vpn = table.get(id)
    if vpn is None or not isinstance(vpn.body, VpnBody) or not vpn.live:
        return True
    forgotten = site in trust.forgotten(table) and site not in trust.pins(table)
    return forgotten or attachment_of(vpn.body, site) is None or table.answer_record(id, site) is not None


def may_go(table: Table, key: Key) -> bool:
    """Whether there is evidence that the item may be removed (rule 19): a record that says that it ended, or that
    this site is no longer part of it. An item that no record explains is an orphan and stays."""
    kind, id = key
    if id.split("/", 1)[0] in table.faults:
        return False  # nobody knows what it says
    if kind is ItemKind.SEGMENT:
        vpn = table.get(id.split("/", 1)[0])
        return vpn is not None and not _stands_here(table, vpn, id.split("/", 1)[1])
    record = table.get(id)
    if record is not None and record.header.kind in (Kind.NETWORK, Kind.HOST):
        return not record.live
    if kind is ItemKind.NETWORK:
        return any(
            made_network(table.site, vpn.id) == id and not _stands(table, vpn) and _ended(table, vpn)
            for vpn in table.all_of(Kind.VPN)
            if vpn.id not in table.faults
        )
    return False


def _stands_here(table: Table, vpn: Record, network: str) -> bool:
    if not vpn.live or has_left(table, vpn):
        return False
    answer = table.own_answer(vpn.id)
    body = vpn.body
    assert isinstance(body, VpnBody)
    if attachment_of(body, table.site) is None:
        return False
    # Named, but not answered yet (an empty store that is filling again): keep what is there.
    return answer is None or (answer.word is not Word.REFUSED and answer.network == network)


def _ended(table: Table, vpn: Record) -> bool:
    body = vpn.body
    assert isinstance(body, VpnBody)
    if not vpn.live or attachment_of(body, table.site) is None or has_left(table, vpn):
        return True
    answer = table.own_answer(vpn.id)
    return answer is not None and answer.word is Word.REFUSED

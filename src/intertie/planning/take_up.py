"""Taking up again what a lost store no longer explains: a network of this site's own, with its hosts.

Networks and hosts are in no peer's hands (they are local records), so with the store their records are gone for good,
and only what stands on the machine tells of them. Whoever asks for a network of the same name, project and prefixes
gets that one, under the id that its mark has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from intertie.model.bodies import HostBody, NetworkBody, Prefix
from intertie.model.items import Host, NetworkFacts
from intertie.model.records import Draft, Kind
from intertie.planning.admit import Situation
from intertie.planning.compile import wanted_networks
from intertie.planning.identity import made_network

MADE = made_network("", "")[: len(".net-")]


@dataclass(frozen=True, slots=True)
class TakenUp:
    """An orphan that is to be a network of this site's again."""

    id: str
    body: NetworkBody


def taken_up(situation: Situation, wish: NetworkBody, mtu: int = 0) -> TakenUp | None:
    """The orphan that `wish` is meant for; None if there is none. `mtu` 0 leaves its MTU as it is."""
    for found in orphans(situation):
        same = (found.project, found.name, set(found.prefixes)) == (wish.project, wish.name, set(wish.prefixes))
        bridge = "" if found.own else found.bridge
        if same and not _made(situation, found.id) and wish.bridge in ("", bridge):
            body = NetworkBody(
                name=found.name, project=found.project, prefixes=found.prefixes, mtu=mtu or found.mtu, bridge=bridge
            )
            return TakenUp(found.id, body)
    return None


def taken_up_with_hosts(situation: Situation, network: TakenUp, seen: Iterable[Host]) -> list[Draft]:
    """The network's record, and those of the hosts that are on it and that none explains either."""
    table = situation.table
    if table.get(network.id) is not None:
        return []  # somebody was faster
    names = {(b.project, b.name) for _, b in table.bodies(Kind.HOST, HostBody)}
    drafts = [Draft(kind=Kind.NETWORK, id=network.id, body=network.body)]
    for host in sorted(seen, key=lambda h: h.id):
        known = table.get(host.id) is not None or (host.project, host.name) in names
        if host.network != network.id or known or not host.interfaces:
            continue
        names.add((host.project, host.name))
        addresses = tuple(i.ip for i in host.interfaces)
        body = HostBody(name=host.name, project=host.project, network=network.id, addresses=addresses)
        drafts.append(Draft(kind=Kind.HOST, id=host.id, body=body))
    return drafts


def orphans(situation: Situation) -> Collection[NetworkFacts]:
    """The networks here that no record explains."""
    wanted = wanted_networks(situation.table)
    return [n for n in situation.inventory.networks if n.id not in wanted and situation.table.get(n.id) is None]


def hint_of(situation: Situation, found: NetworkFacts) -> str:
    """What helps whoever wants the name that a network has."""
    if found.id not in {n.id for n in orphans(situation)}:
        return "intertie network list"
    if _made(situation, found.id):
        return "it was made for a Vpn that no record tells of: intertie gc --plan"
    return remedy(found.name, found.prefixes)


def remedy(name: str, prefixes: Sequence[Prefix]) -> str:
    words = ",".join(str(p) for p in prefixes)
    return f"intertie network create {name} {words} takes it up again; intertie gc --plan shows what would remove it"


def _made(situation: Situation, id: str) -> bool:
    """Whether its id is one of those that networks get which are made for a Vpn: that comes back with the Vpn."""
    return id.startswith(f"{situation.site}{MADE}")

"""What sites tell each other beside records: measured health, hosts that can be reached, outcomes of a verify."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import islice

from intertie.agent.agent import Agent
from intertie.agent.health import Health
from intertie.agent.ports import Guards, HostPing, Unguarded
from intertie.model.bodies import Address, AnswerBody, HostBody, VpnBody
from intertie.model.items import Segment
from intertie.model.records import Kind, Record
from intertie.model.wire import NOTHING, ToldHost, ToldPair, Volatile
from intertie.planning import trust
from intertie.planning.compile import segment_of
from intertie.planning.status import UNPROBED

PING_TIMEOUT = 1.0
PARALLEL = 32
MOST_HOSTS = 16
"""Hosts of a Vpn that a site names to the others for verify: a sample proves the path."""


class Whispers:
    """Tells peers the volatile status of what concerns them, keeps theirs, and verifies pairs on request."""

    def __init__(self, agent: Agent, health: Health, ping: HostPing, guards: Guards | None = None) -> None:
        self.agent = agent
        self.health = health
        self._ping = ping
        self._guards = guards if guards is not None else Unguarded()
        self._hosts: dict[tuple[str, str], tuple[ToldHost, ...]] = {}
        self._limit = asyncio.Semaphore(PARALLEL)

    def tell(self, peer: str) -> Volatile:
        """For one peer: only of Vpns that name it, and only while it is trusted."""
        if peer not in trust.pins(self.agent.table):
            return NOTHING
        hosts = [
            ToldHost(vpn=vpn.id, name=body.name, addresses=body.addresses)
            for vpn, _ in self.agent.table.vpns()
            if peer in vpn.header.names
            for _, body in islice(self.local_hosts(vpn), MOST_HOSTS)
        ]
        # Differences to what was told before are told by one: of several agents by the one that leads.
        sights = self.health.tell(peer) if self.agent.leads else ()
        return Volatile(sights=sights, hosts=tuple(hosts))

    def unheard(self, peer: str) -> None:
        """A call to the peer failed: what it was told last is told again."""
        self.health.unheard(peer)

    def heard(self, peer: str, said: Volatile) -> None:
        self.health.heard(peer, said.sights)
        by_vpn: dict[str, list[ToldHost]] = {}
        for host in said.hosts:
            by_vpn.setdefault(host.vpn, []).append(host)
        for key in [k for k in self._hosts if k[1] == peer]:
            del self._hosts[key]
        for vpn, hosts in by_vpn.items():
            record = self.agent.table.get(vpn)
            if record is not None and peer in record.header.names:
                self._hosts[(vpn, peer)] = tuple(hosts)

    def strangers(self, ids: Iterable[str]) -> set[str]:
        """Other members of these Vpns of whose hosts nothing is known here."""
        vpns = [v for v in map(self.agent.table.get, ids) if v is not None]
        return {s for v in vpns for s in v.header.names if s != self.agent.site and (v.id, s) not in self._hosts}

    def local_hosts(self, vpn: Record) -> Iterable[tuple[Record, HostBody]]:
        """This site's hosts on the network that it attaches to `vpn`."""
        answer = self.agent.table.answers(vpn.id).get(self.agent.site)
        if isinstance(answer, AnswerBody) and answer.network:
            for record, body in self.agent.table.bodies(Kind.HOST, HostBody):
                if body.network == answer.network:
                    yield record, body

    async def verify(self, ids: Iterable[str], asked_by: str) -> tuple[ToldPair, ...]:
        """Run every pair that begins at this site, now. Only for Vpns that name the asking site."""
        pairs: list[ToldPair] = []
        for id in ids:
            vpn = self.agent.table.get(id)
            if vpn is None or asked_by not in vpn.header.names or not isinstance(vpn.body, VpnBody):
                continue
            segment = segment_of(self.agent.table, vpn, vpn.body, self.agent.blocked)
            others = sorted(set(vpn.header.names) - {self.agent.site})
            found = await asyncio.gather(*(self._member(vpn, vpn.body, segment, o) for o in others))
            pairs += [p for ps in found for p in ps]
        return tuple(pairs)

    async def _member(self, vpn: Record, body: VpnBody, segment: Segment | None, other: str) -> list[ToldPair]:
        reached = segment is not None and any(r.site == other for r in segment.remotes)
        if segment is None or not reached:
            why = "no segment yet" if segment is None else f"{other} has not accepted"
            hint = f"{why}: intertie vpn show {body.name}"
            if other not in trust.pins(self.agent.table):
                hint = f"{other} is no peer of {self.agent.site}: intertie site list"
            return [ToldPair(vpn=vpn.id, to_site=other, broken_at="records", hint=hint)]
        if body.transport in UNPROBED:
            why = f"no probe crosses {body.transport}: it has no port of ours here"
            hint = f"{why}; {await self._kept_out(segment, other) or 'ping between two machines'}"
            return [ToldPair(vpn=vpn.id, to_site=other, broken_at="unknown", hint=hint)]
        segment_rtt = await self.health.segment_probe(vpn.id, other, body.mtu)
        mine = list(self.local_hosts(vpn))
        theirs = self._hosts.get((vpn.id, other), ())
        targets = [(r, b, t, a) for r, b in mine for t in theirs for a in t.addresses if _same_family(b, a)]
        if not targets:
            return [await self._segment_only(vpn, segment, other, segment_rtt)]
        return list(
            await asyncio.gather(*(self._hosts_pair(vpn, segment, other, segment_rtt, target) for target in targets))
        )

    async def _kept_out(self, segment: Segment, other: str) -> str:
        """What the cloud here keeps from its machines of what comes from there, though the segment lets it in."""
        prefixes = next((r.prefixes for r in segment.remotes if r.site == other), ())
        return await self._guards.kept_out(segment.network, prefixes)

    async def _segment_only(self, vpn: Record, segment: Segment, other: str, rtt: float | None) -> ToldPair:
        ok = rtt is not None
        broken, hint = ("", await self._kept_out(segment, other)) if ok else await self._where(segment, other, None)
        return ToldPair(
            vpn=vpn.id, to_site=other, rtt_ms=rtt, mtu=segment.mtu if ok else 0, ok=ok, broken_at=broken, hint=hint
        )

    async def _hosts_pair(
        self,
        vpn: Record,
        segment: Segment,
        other: str,
        segment_rtt: float | None,
        target: tuple[Record, HostBody, ToldHost, Address],
    ) -> ToldPair:
        record, body, told, address = target
        async with self._limit:
            full = await self._ping.ping(record.id, address, segment.mtu, PING_TIMEOUT)
            small = full if full.rtt_ms is not None else await self._ping.ping(record.id, address, 84, PING_TIMEOUT)
        ok = full.rtt_ms is not None
        broken, hint = "", ""
        if not ok and small.rtt_ms is not None:
            broken = "mtu"
            why = full.problem or "lost"
            hint = f"small packets cross, {segment.mtu} octets do not ({why}): check the underlay's MTU"
        elif not ok:
            broken, hint = await self._where(segment, other, segment_rtt)
            hint = (
                hint
                or f"the segment carries probes: look at {told.name} and its port ({small.problem or 'no reply'})"
            )
        return ToldPair(
            vpn=vpn.id,
            from_host=body.name,
            from_address=str(next(a for a in body.addresses if a.version == address.version)),
            to_site=other,
            to_host=told.name,
            to_address=str(address),
            rtt_ms=small.rtt_ms,
            mtu=segment.mtu if ok else 0,
            ok=ok,
            broken_at=broken,
            hint=hint,
        )

    async def _where(self, segment: Segment, other: str, segment_rtt: float | None) -> tuple[str, str]:
        """(layer, where to look) of a pair that does not answer: host, segment or link, from the inside out."""
        if segment.blocked:
            return "loop", f"a loop was seen at {self.agent.site}: two sites' networks are joined a second time"
        if segment_rtt is not None:
            return "host", ""
        if await self.health.link(segment, other) is not None:
            return "segment", f"the link to {other} answers, its segment does not: intertie vpn plan, at both sites"
        if self.agent.peer(other).failures and not self.health.seen_by_others(segment.vpn, other):
            # Probes are answered by agents: without one there, nothing can be told of the packets of tenants.
            return "agent", f"the agent of {other} answers nothing: does it run? if so, check the path to it"
        return "link", f"{other} does not answer on the underlay either: check the path from {segment.local.address}"


def _same_family(body: HostBody, address: Address) -> bool:
    return any(a.version == address.version for a in body.addresses)

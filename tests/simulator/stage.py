"""A federation of paper for the oracle: disks, clouds and data planes that a test fills by hand, event by event."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_network
from typing import Any

from intertie.agent.access import Caller
from intertie.model.bodies import (
    AnswerBody,
    Attachment,
    Endpoint,
    HostBody,
    IntroductionBody,
    MappingBody,
    NetworkBody,
    VpnBody,
    VpnKind,
    Word,
)
from intertie.model.codec import encode
from intertie.model.items import Host, Item, Network, Segment, key
from intertie.model.records import Header, Kind, Order, Record, State
from intertie.model.views import Health, HostView, NetworkView, VpnView
from intertie.planning import ranges
from intertie.planning.admit import project_here
from intertie.planning.compile import compile_site
from intertie.planning.identity import answer_id, introduction_id, made_network, segment_mac
from intertie.planning.status import Sight, view
from intertie.planning.table import Table
from intertie.testing.fake_cloud import FakeBridge, FakeSystem
from intertie.testing.fake_transport import FakeUnderlay
from intertie.testing.simulator.oracle import Oracle
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.watch import Told

SITES = ("nantes", "lyon", "rennes")
PREFIX = ip_network("10.0.0.0/24")
NET = "nantes.net1"
VPN = "nantes.vpn1"


class Stage:
    """Satisfies `Outside`; `oracle` looks at it. Everything that is said goes through its methods."""

    def __init__(self) -> None:
        self.now = 0.0
        self.disks: dict[str, dict[str, Record]] = {s: {} for s in SITES}
        self.systems = {s: FakeSystem() for s in SITES}
        self.plane = FakeUnderlay(segments={s: {} for s in SITES})
        self.addresses = {s: IPv4Address(f"192.0.2.{n + 1}") for n, s in enumerate(SITES)}
        self.seqs = dict.fromkeys(SITES, 0)
        self.incarnations = dict.fromkeys(SITES, 1)
        self.down: set[str] = set()
        self.boast = False
        """Whether every Vpn is shown with all its pairs ready, whatever crosses."""
        self.leak = False
        """Whether everybody is shown everything."""
        self.oracle = Oracle(self)
        for site in SITES:
            for peer in SITES:
                if peer != site:
                    self.pin(site, peer)
                    mapping = MappingBody(peer=peer, theirs="demo", ours="demo")
                    self.say(self.record(site, Kind.MAPPING, f"{site}.mapping.{peer}.demo", mapping), site)

    # ── Outside ────────────────────────────────────────────────────────────────────────────────────────────

    def sites(self) -> Sequence[str]:
        return SITES

    def runs(self, site: str) -> bool:
        return site not in self.down

    def system(self, site: str) -> FakeSystem:
        return self.systems[site]

    def underlay(self) -> FakeUnderlay:
        return self.plane

    def records(self, site: str) -> Mapping[str, Record]:
        return self.disks[site]

    def genuine(self, record: Record) -> bool:
        return record.signature == _signature(record.home)

    def vpns(self, site: str, caller: Caller) -> Sequence[VpnView]:
        table = Table(site, self.disks[site].values())
        found = []
        for record, body in table.vpns():
            project = project_here(table, record)
            sites = [a.site for a in body.attachments]
            crosses = self.plane.crosses
            sights = {
                (record.id, a, b): Sight(
                    health=Health.READY
                    if self.boast or (crosses(record.id, a, b) and crosses(record.id, b, a))
                    else Health.DOWN
                )
                for a in sites
                for b in sites
                if a != b
            }
            if self.leak or caller.sees(project):
                found.append(view(table, record, sights, project))
        return found

    def networks(self, site: str, caller: Caller) -> Sequence[NetworkView]:
        return ()

    def hosts(self, site: str, caller: Caller) -> Sequence[HostView]:
        return ()

    # ── Records ────────────────────────────────────────────────────────────────────────────────────────────

    def record(
        self, home: str, kind: Kind, id: str, body: Any, *, order: Order | None = None, **header: Any
    ) -> Record:
        """The next record of a home, or one at a place of the test's own choice."""
        if order is None:
            self.seqs[home] += 1
            order = Order(0, "", self.incarnations[home], self.seqs[home])
        head = Header(kind=kind, id=id, home=home, order=order, **header)
        return Record(head, body, encode(head, body), _signature(home))

    def say(self, record: Record, *sites: str) -> Record:
        """Forced at its home first, then at all whom it concerns; or only at `sites`."""
        for site in sites or (record.home, *(s for s in SITES if s != record.home and record.concerns(s))):
            self.disks[site][record.id] = record
            self.oracle.wrote(self.now, site, {record.id: record})
        return record

    def pin(self, site: str, peer: str) -> None:
        body = IntroductionBody(site=peer, root=peer, address=f"{self.addresses[peer]}:7576")
        self.say(self.record(site, Kind.INTRODUCTION, introduction_id(site, peer), body))

    def again(self, record: Record, *sites: str, state: State | None = None, **changes: Any) -> Record:
        """The next version of a record by its home, with another body; `owes` and `names` stay."""
        return self.say(self.next(record, state=state, **changes), *sites)

    def next(self, record: Record, state: State | None = None, **changes: Any) -> Record:
        header = record.header
        body = replace(record.body, **changes)
        names = tuple(sorted(a.site for a in body.attachments)) if isinstance(body, VpnBody) else header.names
        owes = tuple(sorted(({*header.names, *header.owes} - set(names)) if isinstance(body, VpnBody) else ()))
        return self.record(
            record.home, header.kind, record.id, body, state=state or header.state, names=names, owes=owes
        )

    # ── An L2 Vpn as it should be ──────────────────────────────────────────────────────────────────────────

    def network(self, id: str = NET, name: str = "blue", prefix: str = "10.0.0.0/24") -> Record:
        body = NetworkBody(name=name, project="demo", prefixes=(ip_network(prefix),), mtu=1450)
        site = id.partition(".")[0]
        self.ask(Verb.NETWORK, site, name, id=id)
        return self.say(self.record(site, Kind.NETWORK, id, body))

    def vpn(self, *members: str, id: str = VPN, agreed: bool = True, **changes: Any) -> Record:
        """Its first version, on which all have `agreed`; members but nantes make their networks."""
        sites = ("nantes", *(members or ("lyon",)))
        body = VpnBody(
            name="stretch",
            kind=VpnKind.L2,
            project="demo",
            transport="vxlan",
            vni=4096,
            route_target="64512:4096",
            mtu=1450,
            attachments=tuple(
                Attachment(site=s, network="blue" if s == "nantes" else "", agreed=agreed) for s in sites
            ),
            network="blue",
            prefixes=(PREFIX,),
            shares=ranges.cut((PREFIX,), sites, ()),
            created_at=datetime(2030, 1, 1, tzinfo=UTC),
        )
        return self.say(self.record("nantes", Kind.VPN, id, replace(body, **changes), names=tuple(sorted(sites))))

    def word(self, vpn: Record, site: str, word: Word = Word.ACCEPTED, **changes: Any) -> AnswerBody:
        """What the site says on the Vpn when nothing is wrong."""
        share = next((s for s in vpn.body.shares if s.site == site), None)
        body = AnswerBody(
            vpn=vpn.id,
            order=vpn.order,
            digest=vpn.digest,
            word=word,
            network=NET if site == "nantes" else made_network(site, vpn.id),
            network_name="blue",
            project="demo",
            prefixes=vpn.body.prefixes,
            ranges=share.ranges if share else (),
            gateways=share.gateways if share else (),
            endpoints=(Endpoint(address=self.addresses[site], mac=segment_mac(site, vpn.id)),),
            mtu=1450,
        )
        return replace(body, **changes)

    def answer(
        self,
        vpn: Record,
        site: str,
        word: Word = Word.ACCEPTED,
        *sites: str,
        state: State = State.LIVE,
        **changes: Any,
    ) -> Record:
        body = self.word(vpn, site, word, **changes)
        names = tuple(sorted({*vpn.header.names, vpn.home} - {site}))
        id = answer_id(site, vpn.id)
        return self.say(self.record(site, Kind.ANSWER, id, body, state=state, names=names), *sites)

    def standing(self, *members: str) -> Record:
        """An L2 Vpn that works."""
        self.network()
        vpn = self.vpn(*members)
        for site in vpn.header.names:
            self.answer(vpn, site)
        self.rounds()
        return vpn

    def host(self, site: str, name: str, network: str, address: str) -> Record:
        body = HostBody(name=name, project="demo", network=network, addresses=(IPv4Address(address),))
        return self.say(self.record(site, Kind.HOST, f"{site}.{name}", body))

    # ── Clouds and data planes ─────────────────────────────────────────────────────────────────────────────

    def rounds(self) -> None:
        """Every site makes its cloud and data plane as its records say."""
        for site in SITES:
            wanted = {key(i): i for i in compile_site(Table(site, self.disks[site].values()))}
            have = {key(i): i for i in self._have(site)}
            for k in sorted(wanted.keys() | have.keys()):
                if wanted.get(k) != have.get(k):
                    self.put(site, have.get(k), wanted.get(k))

    def _have(self, site: str) -> list[Item]:
        system = self.systems[site]
        networks = [b.network for b in system.bridges.values() if b.network is not None]
        return [*networks, *system.hosts.values(), *self.plane.segments[site].values()]

    def put(self, site: str, before: Item | None, after: Item | None) -> None:
        """A thing comes, changes or goes."""
        system, segments = self.systems[site], self.plane.segments[site]
        item = after or before
        if isinstance(item, Segment):
            segments.pop(key(item), None)
            if isinstance(after, Segment):
                segments[key(item)] = after
            assert before is None or isinstance(before, Segment)
            assert after is None or isinstance(after, Segment)
            self.oracle.forwarded(self.now, site, before, after)
            return
        if isinstance(item, Network):
            system.bridges.pop(item.bridge, None)
            if isinstance(after, Network):
                system.bridges[item.bridge] = FakeBridge(own=True, network=after)
        if isinstance(item, Host):
            system.hosts.pop(item.id, None)
            if isinstance(after, Host):
                system.hosts[item.id] = after
        self.oracle.changed(self.now, site, before, after)

    def segment(self, site: str, vpn: str = VPN) -> Segment:
        return next(s for s in self.plane.segments[site].values() if s.vpn == vpn)

    def item(self, site: str, name: str) -> Item:
        return next(i for i in self._have(site) if not isinstance(i, Segment) and i.name == name)

    # ── Users, faults, the end ─────────────────────────────────────────────────────────────────────────────

    def ask(self, verb: Verb, site: str, name: str = "", code: str = "ok", **more: Any) -> Step:
        """A user asks, and is answered at once; `code` "" leaves the question open."""
        told = {k: more.pop(k) for k in ("id", "answer", "detail") if k in more}
        step = Step(at=self.now, verb=verb, site=site, name=name, **more)
        begun = self.now
        self.oracle.asked(begun, step)
        if code:
            self.oracle.told(Told(step=step, begun=begun, at=self.now, code=code, **told))
        return step

    def strike(self, verb: Verb, site: str, **more: Any) -> None:
        if verb is Verb.LOSE_STORE:
            self.disks[site] = {}
            self.incarnations[site] += 1
        self.oracle.struck(self.now, Step(at=self.now, verb=verb, site=site, **more))

    def rest(self) -> None:
        self.now += 300.0
        self.oracle.rested(self.now)

    def broken(self) -> set[str]:
        """The invariants that were broken."""
        return {v.invariant for v in self.oracle.violations}


def told_of(step: Step, at: float, code: str) -> Told:
    """The answer to a step that was left open."""
    return Told(step=step, begun=step.at, at=at, code=code)


def _signature(site: str) -> bytes:
    return f"signed by {site}".encode()

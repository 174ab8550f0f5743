"""A federation on paper: tables and decisions only; no agent, store, clock or network. Messages go when asked to."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from intertie.model.bodies import (
    Address,
    AnswerBody,
    Attachment,
    GrantBody,
    HostBody,
    IntroductionBody,
    MappingBody,
    NetworkBody,
    Require,
    SiteBody,
    TransportFacts,
    VpnBody,
    VpnKind,
)
from intertie.model.codec import decode, encode
from intertie.model.items import Inventory, NetworkFacts
from intertie.model.records import Draft, Header, Kind, Order, Record
from intertie.model.views import VpnRequest
from intertie.planning import numbers
from intertie.planning.admit import Situation
from intertie.planning.advertise import advertise
from intertie.planning.change import changed_vpn, closed_vpn, new_vpn
from intertie.planning.enrol import pin
from intertie.planning.hearing import acceptable, concerning
from intertie.planning.identity import bridge_name, grant_id
from intertie.planning.proposals import decide
from intertie.planning.table import Table

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VXLAN = TransportFacts(name="vxlan", ok=True, l2=True, l3=True, overhead=50, underlay_mtu=1500)
PROJECT = "red"


@dataclass
class Site:
    """What one site knows, and its pen."""

    name: str
    underlay: Address
    table: Table = field(init=False)
    networks: dict[str, NetworkFacts] = field(default_factory=dict)
    incarnation: int = 1
    seq: int = 0
    rejected: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = Table(self.name)

    @property
    def situation(self) -> Situation:
        inventory = Inventory(networks=tuple(self.networks.values()), transports=(VXLAN,), underlay=(self.underlay,))
        return Situation(self.table, inventory)

    def write(self, drafts: Iterable[Draft]) -> list[Record]:
        """Sign and keep, as the store would: compare and set, one place after the other."""
        written = []
        for draft in drafts:
            standing = self.table.get(draft.id)
            assert draft.base == (standing.order if standing else None), draft
            self.seq += 1
            order = Order(draft.epoch, draft.adopter, self.incarnation, self.seq)
            assert standing is None or order > standing.order
            record = sealed(self.name, draft, order)
            self.table.apply(record)
            written.append(record)
        return written

    def hear(self, peer: str, record: Record) -> bool:
        """Take what may be taken, by the store's rule: only a higher order replaces what stands."""
        problem = acceptable(self.table, peer, record)
        if problem is not None:
            self.rejected.append(problem)
            return False
        standing = self.table.get(record.id)
        if standing is None or record.order > standing.order:
            self.table.apply(record)
        return True

    def say(self) -> list[Record]:
        """One turn: everything that is to be said now."""
        drafts = decide(self.situation, NOW) or advertise(self.situation)
        return self.write(drafts)

    def network(self, name: str, *prefixes: str, project: str = PROJECT, **facts: Any) -> str:
        """A network of this site's cloud, there already."""
        id = f"{self.name}.n-{project}-{name}"
        found = tuple(ip_network(p) for p in prefixes)
        facts = {"mtu": 1450, **facts}
        self.networks[id] = NetworkFacts(
            id=id, name=name, project=project, prefixes=found, bridge=bridge_name(id), **facts
        )
        body = NetworkBody(name=name, project=project, prefixes=found, mtu=facts["mtu"])
        self.write([Draft(kind=Kind.NETWORK, id=id, body=body)])
        return id

    def uses(self, network: str, *addresses: str, ports: int = 0) -> None:
        """Addresses are seen on a network."""
        facts = self.networks[network]
        seen = tuple(ip_address(a) for a in addresses)
        self.networks[network] = replace(facts, addresses_in_use=seen, ports=ports or facts.ports)

    def host(self, name: str, network: str, *addresses: str) -> None:
        body = HostBody(
            name=name, project=PROJECT, network=network, addresses=tuple(ip_address(a) for a in addresses)
        )
        self.write([Draft(kind=Kind.HOST, id=f"{self.name}.h-{name}", body=body)])

    def answer(self, vpn: str, site: str = "") -> AnswerBody:
        return self.table.answers(vpn)[site or self.name]

    def body(self, id: str) -> Any:
        record = self.table.get(id)
        assert record is not None
        return record.body


def sealed(home: str, draft: Draft, order: Order) -> Record:
    header = Header(
        kind=draft.kind, id=draft.id, home=home, order=order, state=draft.state, names=draft.names, owes=draft.owes
    )
    return decode(encode(header, draft.body), b"")


class Paper:
    """Sites that have pinned each other and mapped project `red` to `red`."""

    def __init__(self, *names: str) -> None:
        self.sites = {n: Site(n, IPv4Address(f"192.0.2.{i + 1}")) for i, n in enumerate(names)}
        self.count = 0
        for name, site in self.sites.items():
            site.write([site_draft(site)])
            for other in self.sites:
                if other != name:
                    site.write([pin(site.table, IntroductionBody(site=other, root=root(other)))])
                    self.map(name, other)
        first = names[0]
        self[first].write([grant(first, numbers.founding(first))])
        for name in names[1:]:
            block = numbers.block_for(self[first].table, first, name, ())
            self[first].write([grant(first, block)])
        self.settle()

    def __getitem__(self, name: str) -> Site:
        return self.sites[name]

    def map(self, at: str, peer: str, theirs: str = PROJECT, ours: str = PROJECT) -> None:
        body = MappingBody(peer=peer, theirs=theirs, ours=ours)
        self[at].write([Draft(kind=Kind.MAPPING, id=f"{at}.mapping.{peer}.{theirs}", body=body)])

    def news(self, a: str, b: str) -> list[Record]:
        """What `a` has to tell `b` that `b` has not got."""
        held = self[b].table
        told = concerning(self[a].table, b, type(self[a].table.last())())
        return [r for r in told if (h := held.get(r.id)) is None or h.order < r.order]

    def tell(self, a: str, b: str) -> int:
        """Carry everything from `a` to `b`. How much was taken."""
        return sum(self[b].hear(a, r) for r in self.news(a, b))

    def settle(self, *only: str, turns: int = 30) -> None:
        """Everybody (of `only`) speaks and hears until nobody has anything to say."""
        names = only or tuple(self.sites)
        for _ in range(turns):
            said = sum(len(self[n].say()) for n in names)
            told = sum(self.tell(a, b) for a in names for b in names if a != b)
            if not said and not told:
                return
        raise AssertionError(f"not settled after {turns} turns")

    def vpn(
        self, home: str, kind: str, *attachments: str, name: str = "", require: Require = Require.ALL, **more: Any
    ) -> str:
        """The id of a new Vpn; nobody but its home knows it yet."""
        self.count += 1
        id = f"{home}.v{self.count}"
        request = VpnRequest(
            name=name or f"v{self.count}",
            kind=VpnKind(kind),
            attachments=tuple(attachment(a) for a in attachments),
            require=require,
        )
        project = more.get("project", PROJECT)
        self[home].write([new_vpn(self[home].situation, request, project, id, NOW)])
        return id

    def change(self, id: str, *attachments: str, at: str = "") -> None:
        site = self[at or id.split(".")[0]]
        record = site.table.get(id)
        assert record is not None
        wanted = [attachment(a) for a in attachments]
        site.write([changed_vpn(site.situation, record, record.body.name, wanted)])

    def close(self, id: str, at: str = "") -> None:
        site = self[at or id.split(".")[0]]
        record = site.table.get(id)
        assert record is not None
        site.write([closed_vpn(record)])

    def forge(self, home: str, base: Record, **changes: Any) -> Record:
        """A higher version of a record as a lying home would sign it: header and body fields as given."""
        site = self[home]
        site.seq += 1
        order = replace(base.order, seq=site.seq + 1000, incarnation=site.incarnation)
        of_header = {k: v for k, v in changes.items() if k in Header.__slots__}
        header = replace(base.header, **{"home": home, "order": order, **of_header})
        body = replace(base.body, **{k: v for k, v in changes.items() if k not in Header.__slots__})
        return decode(encode(header, body), b"")


def attachment(text: str) -> Attachment:
    place, _, network = text.partition(":")
    site, _, cell = place.partition("/")
    return Attachment(site=site, cell=cell, network=network)


def root(site: str) -> str:
    return b64encode(f"root of {site}".encode()).decode()


def grant(site: str, body: GrantBody) -> Draft:
    return Draft(kind=Kind.GRANT, id=grant_id(site, body.space, body.to, body.first), body=body)


def site_draft(site: Site) -> Draft:
    body = SiteBody(name=site.name, version="0", root=root(site.name), underlay=(site.underlay,), transports=(VXLAN,))
    return Draft(kind=Kind.SITE, id=f"{site.name}.site", body=body)


def shares_of(body: VpnBody) -> Sequence[Any]:
    return body.shares

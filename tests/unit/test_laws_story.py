"""Any story of four sites: they come to rest, and no address, prefix or number ever has two holders."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import ip_address
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from intertie.model.bodies import Address, Prefix, Require, Word
from intertie.model.errors import IntertieError, Refused
from intertie.model.items import Segment
from intertie.model.records import Kind, Record
from intertie.planning import ranges
from intertie.planning.admit import AGREED
from intertie.planning.advertise import advertise
from intertie.planning.change import adopted_vpn, changed_vpn, closed_vpn
from intertie.planning.compile import compile_site, may_go
from intertie.planning.diff import diff
from intertie.planning.enrol import forgetting
from intertie.planning.held import overlapping
from intertie.planning.status import view
from tests.unit.paper import Paper, Site, attachment

NAMES = ("nantes", "lyon", "rennes", "brest")


MOVES = ("l2", "l3", "change", "close", "host", "forget", "tell", "say", "adopt", "seen")


class Story:
    """Random moves in a federation of four; checks after each that nothing is held twice."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.paper = Paper(*NAMES)
        self.hosts = 0
        self.ended: set[str] = set()
        for n, site in enumerate(self.paper.sites.values()):
            for name in ("one", "two"):
                site.network(name, f"10.{n if name == 'one' else 7}.0.0/26")

    def pick(self, *what: str) -> str:
        return self.chance.choice(what)

    def site(self) -> Site:
        return self.paper[self.pick(*NAMES)]

    def members(self, home: str, named: bool) -> list[str]:
        others = self.chance.sample([n for n in NAMES if n != home], self.chance.randint(1, 3))
        return [f"{home}:{self.pick('one', 'two')}"] + [
            f"{o}:{self.pick('one', 'two')}" if named else o for o in others
        ]

    def move(self) -> None:
        with suppress(IntertieError):
            getattr(self, f"_{self.pick(*MOVES)}")()
        for site in self.paper.sites.values():
            check_one(site)

    def _l2(self) -> None:
        home = self.pick(*NAMES)
        self.paper.vpn(home, "l2", *self.members(home, False), require=Require(self.pick("all", "any")))

    def _l3(self) -> None:
        home = self.pick(*NAMES)
        self.paper.vpn(home, "l3", *self.members(home, True), require=Require(self.pick("all", "any")))

    def vpn(self, site: Site) -> Record:
        found = [r for r, _ in site.table.vpns() if r.home == site.name]
        if not found:
            raise Refused("none")
        return self.chance.choice(found)

    def _change(self) -> None:
        site = self.site()
        vpn = self.vpn(site)
        named = vpn.body.kind.value == "l3"
        had = {a.site: a.network for a in vpn.body.attachments}
        wanted = [attachment(m) for m in self.members(site.name, named)]
        wanted = [attachment(f"{a.site}:{had[a.site]}") if a.site in had else a for a in wanted]
        site.write([changed_vpn(site.situation, vpn, vpn.body.name, wanted)])

    def _close(self) -> None:
        site = self.site()
        site.write([closed_vpn(self.vpn(site))])

    def _adopt(self) -> None:
        site = self.site()
        found = [r for r, _ in site.table.vpns() if r.home != site.name]
        if found:
            site.write([adopted_vpn(site.table, self.chance.choice(found))])

    def _host(self) -> None:
        site = self.site()
        for vpn, _ in site.table.vpns():
            answer = site.table.answers(vpn.id).get(site.name)
            if answer is not None and answer.word is Word.ACCEPTED and answer.ranges:
                taken = [*answer.gateways, *site_addresses(site, answer.network)]
                free = ranges.next_address(answer.prefixes[0], answer.ranges, taken)
                if free is not None:
                    self.hosts += 1
                    site.host(f"h{self.hosts}", answer.network, str(free))
                return

    def _seen(self) -> None:
        site = self.site()
        network = self.chance.choice(sorted(site.networks))
        base = int(site.networks[network].prefixes[0].network_address)
        seen = [self.chance.randint(2, 60) for _ in range(self.chance.randint(0, 4))]
        site.uses(network, *(str(ip_address(base + n)) for n in seen))

    def _forget(self) -> None:
        if self.chance.random() < 0.1:
            site = self.site()
            site.write(forgetting(site.table, self.pick(*(n for n in NAMES if n != site.name))))

    def _tell(self) -> None:
        for _ in range(self.chance.randint(1, 8)):
            self.paper.tell(*self.chance.sample(NAMES, 2))

    def _say(self) -> None:
        self.site().say()


def site_addresses(site: Site, network: str) -> list[Address]:
    facts = site.networks.get(network)
    bodies = [r.body for r in site.table.all_of(Kind.HOST) if r.body.network == network]
    return [*(facts.addresses_in_use if facts else ()), *(a for b in bodies for a in b.addresses)]


def check_one(site: Site) -> None:
    """What must hold at every site at every moment, whatever it has heard so far."""
    items = compile_site(site.table)
    mine = [i for i in items if isinstance(i, Segment)]
    assert len({s.vni for s in mine}) == len(mine)
    contexts: dict[str, list[Prefix]] = {}
    for segment in mine:
        record = site.table.get(segment.vpn)
        assert record is not None
        members = {a.site for a in record.body.attachments}
        answers = site.table.answers(segment.vpn)
        for remote in segment.remotes:
            assert remote.site in members
            assert answers[remote.site].word in AGREED
            for prefix in remote.prefixes:
                others = contexts.setdefault(segment.network, [*answers[site.name].prefixes])
                assert not overlapping((prefix,), others), "a route overlaps the network's own, or another"
                others.append(prefix)
    for vpn, _ in site.table.vpns():
        view(site.table, vpn, {})
    plan = diff(items, items, lambda k: may_go(site.table, k))
    assert not plan
    assert not plan.orphans


def check_all(paper: Paper) -> None:
    """Across sites: no address of a Vpn has two holders (I1)."""
    for id in {r.id for s in paper.sites.values() for r, _ in s.table.vpns()}:
        held: list[tuple[str, int, int]] = []
        for name, site in paper.sites.items():
            answer = site.table.answers(id).get(name)
            if answer is not None and answer.word in (Word.ACCEPTED, Word.HELD):
                held += [(name, int(r.first), int(r.last)) for r in answer.ranges]
        for i, (a, first, last) in enumerate(held):
            for b, low, high in held[i + 1 :]:
                assert a == b or last < low or high < first, f"{id}: {a} and {b} hold the same addresses"


@settings(max_examples=60)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_whatever_happens_nothing_is_held_twice(chance: Random, moves: int) -> None:
    story = Story(chance)
    for _ in range(moves):
        story.move()
        check_all(story.paper)
    story.paper.settle(turns=60)
    check_all(story.paper)
    for site in story.paper.sites.values():
        check_one(site)
        # Said once: a second look says nothing.
        assert advertise(site.situation) == []

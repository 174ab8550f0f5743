"""Laws of addresses that move from holder to holder: whatever is heard late or lost, nobody holds what another holds,
and once all is heard they are where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intertie.model.bodies import AnswerBody, Gift, Prefix, Range, Word
from intertie.model.errors import IntertieError
from intertie.model.items import NetworkFacts
from intertie.model.records import Draft, Kind, Record
from intertie.planning import ranges
from intertie.planning.change import adopted_vpn
from intertie.planning.compile import network_ranges, wanted_networks
from intertie.planning.gifts import LOW
from intertie.planning.held import promised
from intertie.planning.identity import answer_id
from tests.unit.paper import Paper, Site

NAMES = ("nantes", "lyon", "rennes")
MEMBERS = ("nantes:blue", "lyon", "rennes")
IPV4, IPV6 = ip_network("10.0.0.0/28"), ip_network("fd00::/124")


def stretched(*prefixes: Prefix) -> tuple[Paper, str]:
    paper = Paper(*NAMES)
    paper["nantes"].network("blue", *(str(p) for p in prefixes))
    id = paper.vpn("nantes", "l2", *MEMBERS)
    paper.settle()
    look(paper)
    return paper, id


def look(paper: Paper) -> None:
    """Each site's cloud has made what it was to make, and shows it."""
    for site in paper.sites.values():
        for n in wanted_networks(site.table).values():
            facts = NetworkFacts(
                id=n.id, name=n.name, project=n.project, prefixes=n.prefixes, mtu=n.mtu, bridge=n.bridge
            )
            site.networks.setdefault(n.id, facts)


def host(site: Site, id: str) -> bool:
    """One more host on the stretched network, as the agent makes it; whether there was an address."""
    answer = site.table.own_answer(id)
    if answer is None or answer.word is not Word.ACCEPTED:
        return False
    network = wanted_networks(site.table)[answer.network]
    taken = {*answer.gateways, *promised(site.table, network.id)}
    held = network_ranges(site.table, network)
    found = [ranges.next_address(p, held, taken) for p in answer.prefixes]
    if None in found:
        return False
    site.host(f"{site.seq}", network.id, *(str(a) for a in found))
    return True


def holdings(paper: Paper, id: str) -> dict[str, AnswerBody]:
    """Each site's own last word."""
    words = {n: s.table.own_answer(id) for n, s in paper.sites.items()}
    return {n: w for n, w in words.items() if w is not None and w.word in (Word.ACCEPTED, Word.HELD)}


def nobody_twice(paper: Paper, id: str, prefix: Prefix) -> None:
    taken: ranges.Spans = ()
    for name, word in holdings(paper, id).items():
        mine = ranges.spans_of(word.ranges, prefix)
        assert ranges.subtract(taken, mine) == taken, f"{name} holds what another one holds"
        taken = ranges.union([*taken, *mine])
        hosts = [a for a in promised(paper[name].table, word.network) if a in prefix]
        assert all(ranges.within(a, word.ranges) for a in hosts), f"{name} has hosts where it holds nothing"


def all_there(paper: Paper, id: str, prefix: Prefix) -> None:
    """I2: what is held and what is on its way is the whole range."""
    words = holdings(paper, id)
    parts = [ranges.spans_of(w.ranges, prefix) for w in words.values()]
    for name, word in words.items():
        for gift in word.ledger.gifts:
            to = words.get(gift.to)
            took = to is not None and any(t.by == name and t.number >= gift.number for t in to.ledger.taken)
            parts += [] if took else [ranges.spans_of(gift.ranges, prefix)]
    assert ranges.union(s for spans in parts for s in spans) == (ranges.usable(prefix),)
    assert sum(ranges.size(spans) for spans in parts) == ranges.size((ranges.usable(prefix),))


@pytest.mark.parametrize("prefixes", [(IPV4,), (IPV6,), (IPV4, IPV6)])
def test_one_member_gets_what_the_others_have_free(prefixes: Sequence[Prefix]) -> None:
    paper, id = stretched(*prefixes)
    made = 0
    while host(paper["lyon"], id):
        made += 1
        paper.settle()
    usable = min(ranges.size((ranges.usable(p),)) for p in prefixes)
    assert made >= usable - 3 - 2, "but for the gateways, and one that each of the others keeps"
    for prefix in prefixes:
        nobody_twice(paper, id, prefix)
        all_there(paper, id, prefix)
    assert paper["lyon"].say() == [], "and it comes to rest"


steps = st.lists(
    st.tuples(st.just("host"), st.sampled_from(NAMES))
    | st.tuples(st.just("say"), st.sampled_from(NAMES))
    | st.tuples(st.just("tell"), st.sampled_from(NAMES), st.sampled_from(NAMES))
    | st.tuples(st.just("tell"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    max_size=60,
)


def play(paper: Paper, id: str, told: Sequence[tuple[str, ...]], prefix: Prefix) -> None:
    for step in told:
        site = paper[step[1]]
        if step[0] == "host":
            host(site, id)
        elif step[0] == "say":
            look(paper)
            site.say()
        elif step[1] != step[2]:
            paper.tell(step[1], step[2])
        nobody_twice(paper, id, prefix)


def change(paper: Paper, id: str, members: Sequence[str], at: str = "nantes") -> None:
    """As the agent does it: what follows from the change is said before anything else is decided."""
    paper.change(id, *members, at=at)
    while paper[at].say():
        pass


@given(steps)
@settings(max_examples=40, deadline=None)
def test_whatever_is_heard_late_nobody_holds_what_another_holds(told: list[tuple[str, ...]]) -> None:
    paper, id = stretched(IPV4)
    play(paper, id, told, IPV4)
    all_there(paper, id, IPV4)
    paper.settle()
    all_there(paper, id, IPV4)
    free = {n: w.free[0] for n, w in holdings(paper, id).items()}
    assert all(n >= LOW or max(free.values()) - n < 2 for n in free.values()), free


@given(steps, steps, steps, st.sampled_from(("lyon", "rennes")))
@settings(max_examples=40, deadline=None)
def test_nor_when_somebody_adopts_who_has_not_seen_it(
    first: list[tuple[str, ...]], second: list[tuple[str, ...]], third: list[tuple[str, ...]], heir: str
) -> None:
    paper, id = stretched(IPV4)
    play(paper, id, first, IPV4)
    site = paper[heir]
    record = site.table.get(id)
    assert record is not None
    site.write([adopted_vpn(site.table, record)])
    play(paper, id, second, IPV4)
    other = next(n for n in ("lyon", "rennes") if n != heir)
    record = site.table.get(id)
    assert record is not None
    members = [a for a in MEMBERS if a.partition(":")[0] != other]
    change(paper, id, members, heir)
    play(paper, id, third, IPV4)
    paper.settle()
    nobody_twice(paper, id, IPV4)


@given(steps, steps, steps)
@settings(max_examples=40, deadline=None)
def test_who_leaves_brings_back_what_it_has_and_nothing_that_it_gave(
    first: list[tuple[str, ...]], second: list[tuple[str, ...]], third: list[tuple[str, ...]]
) -> None:
    paper, id = stretched(IPV4)
    play(paper, id, first, IPV4)
    rest = [a for a in MEMBERS if a != "lyon"]
    change(paper, id, rest)
    play(paper, id, second, IPV4)
    with suppress(IntertieError):  # too little may be left to add it again
        change(paper, id, MEMBERS)
    play(paper, id, third, IPV4)
    paper.settle()
    nobody_twice(paper, id, IPV4)


def says(paper: Paper, name: str, id: str, **changes: object) -> Record:
    """A later Answer of a site, as it would sign it, whatever is true."""
    record = paper[name].table.answer_record(id, name)
    assert record is not None
    return paper.forge(name, record, **changes)


def lent(paper: Paper, id: str, by: str, to: str, what: tuple[Range, ...], number: int = 1) -> Record:
    """`by` offers `what` and holds it no longer, as it says."""
    word = paper[by].table.own_answer(id)
    assert word is not None
    gift = Gift(by=by, number=number, to=to, stay=paper[to].answer(id).ledger.stay, ranges=what)
    ledger = replace(word.ledger, gifts=(gift,), number=number, given=what)
    return says(paper, by, id, ledger=ledger, ranges=ranges.minus(word.ranges, what, word.prefixes))


def test_what_another_member_holds_is_not_taken_from_a_liar() -> None:
    """I16: rennes offers lyon addresses of nantes, with nantes's word at hand or without."""
    paper, id = stretched(IPV4)
    share = paper["nantes"].answer(id).ranges
    before = paper["lyon"].answer(id).ranges
    paper["lyon"].hear("rennes", lent(paper, id, "rennes", "lyon", share[:1]))
    paper["lyon"].say()
    assert paper["lyon"].answer(id).ranges == before
    paper["lyon"].table.drop(answer_id("nantes", id))
    paper["lyon"].say()
    assert paper["lyon"].answer(id).ranges == before


def test_what_a_member_offers_and_still_holds_is_not_taken() -> None:
    paper, id = stretched(IPV4)
    word, before = paper["rennes"].answer(id), paper["lyon"].answer(id).ranges
    forged = lent(paper, id, "rennes", "lyon", word.ranges[:1])
    paper["lyon"].hear("rennes", paper.forge("rennes", forged, ranges=word.ranges))
    paper["lyon"].say()
    assert paper["lyon"].answer(id).ranges == before


def test_a_gift_is_taken_once_though_it_is_offered_for_long() -> None:
    """lyon takes it, and has given it on, when rennes, which has not heard of that, says the same again."""
    paper, id = stretched(IPV4)
    word = paper["rennes"].answer(id)
    high = ranges.upper(word.ranges, 1, IPV4, 1)
    paper["lyon"].hear("rennes", lent(paper, id, "rennes", "lyon", high))
    paper["lyon"].say()
    assert ranges.within(high[0].first, paper["lyon"].answer(id).ranges)
    record = paper["lyon"].table.answer_record(id, "lyon")
    assert record is not None
    mine = record.body
    passed = replace(mine, ranges=ranges.minus(mine.ranges, high, (IPV4,)))
    passed = replace(passed, ledger=replace(mine.ledger, got=(), given=high))
    paper["lyon"].write(
        [Draft(kind=Kind.ANSWER, id=record.id, names=record.header.names, body=passed, base=record.order)]
    )
    paper["lyon"].hear("rennes", lent(paper, id, "rennes", "lyon", high))
    paper["lyon"].say()
    assert not ranges.within(high[0].first, paper["lyon"].answer(id).ranges)


def test_a_gift_to_an_earlier_stay_is_not_taken() -> None:
    paper, id = stretched(IPV4)
    high = ranges.upper(paper["rennes"].answer(id).ranges, 1, IPV4, 1)
    offer = lent(paper, id, "rennes", "lyon", high)
    paper.change(id, "nantes:blue", "rennes")
    paper.settle("nantes", "lyon")
    paper.change(id, *MEMBERS)
    paper.settle("nantes", "lyon")
    assert paper["lyon"].hear("rennes", offer)
    paper["lyon"].say()
    assert not ranges.within(high[0].first, paper["lyon"].answer(id).ranges)

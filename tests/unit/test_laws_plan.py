"""Laws of compile and diff: a function of what is known; nothing is removed without evidence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from intertie.model.items import Host, Item, ItemKind, Key, Network, Remote, Segment, key
from intertie.model.records import Kind, Record
from intertie.planning.compile import compile_site, may_go
from intertie.planning.diff import Plan, diff
from intertie.planning.enrol import forgetting
from intertie.planning.table import Table
from tests.unit import arbitrary
from tests.unit.paper import Paper, Site

SITES = ("nantes", "lyon", "rennes")
few = st.sampled_from(["a", "b", "c", "d"])


def items() -> st.SearchStrategy[dict[Key, Item]]:
    """Items of few names, so that what is wanted and what is seen meet."""
    networks = arbitrary.of(Network).flatmap(lambda n: few.map(lambda id: replace(n, id=id, name=id, flaw="")))
    hosts = arbitrary.of(Host).flatmap(
        lambda h: st.tuples(few, few).map(lambda t: replace(h, id=t[0], network=t[1], flaw=""))
    )
    segments = arbitrary.of(Segment).flatmap(
        lambda s: st.tuples(few, few).map(lambda t: replace(s, vpn=t[0], network=t[1], remotes=(), flaw=""))
    )
    return st.lists(networks | hosts | segments, max_size=8).map(lambda found: {key(i): i for i in found})


class System:
    """What a plan leads to."""

    def __init__(self, have: dict[Key, Item]) -> None:
        self.items = dict(have)

    def carry_out(self, plan: Plan) -> None:
        for change in plan.changes:
            if change.op == "-":
                del self.items[key(change.item)]
            else:
                self.items[key(change.item)] = change.item


@given(items(), items(), st.data())
def test_a_plan_leads_to_what_is_wanted_and_keeps_what_nothing_explains(
    want: dict[Key, Item], have: dict[Key, Item], data: st.DataObject
) -> None:
    evidence = set(data.draw(st.lists(st.sampled_from(sorted(have)), unique=True))) if have else set()
    counts = {n: data.draw(st.integers(0, 2)) for n in "abcd"}
    plan = diff(want.values(), have.values(), evidence.__contains__, lambda n: counts.get(n, 0))
    system = System(have)
    system.carry_out(plan)
    kept = {key(i): i for i in (*plan.orphans, *plan.kept)}
    assert system.items == {**kept, **want}
    # Nothing is removed without evidence, and no network on which tenants have ports that stay.
    removed = [c.item for c in plan.changes if c.op == "-"]
    assert all(key(i) in evidence and key(i) not in want for i in removed)
    assert all(key(i) not in evidence for i in plan.orphans)
    hosts_gone = [i.network for i in removed if isinstance(i, Host)]
    for item in removed:
        if isinstance(item, Network) and item.own:
            assert counts.get(item.id, 0) <= hosts_gone.count(item.id)
    again = diff(want.values(), system.items.values(), evidence.__contains__, lambda n: counts.get(n, 0))
    assert not [c for c in again.changes if c.op != "-"]
    str(plan)


@given(items(), items())
def test_ensure_goes_bottom_up_and_what_joins_goes_before_what_would_be_joined(
    want: dict[Key, Item], have: dict[Key, Item]
) -> None:
    turns = [
        ("+", ItemKind.NETWORK),
        ("-", ItemKind.SEGMENT),
        ("+", ItemKind.SEGMENT),
        ("+", ItemKind.HOST),
        ("-", ItemKind.HOST),
        ("-", ItemKind.NETWORK),
    ]
    changes = diff(want.values(), have.values(), lambda k: True).changes
    places = [turns.index(("-" if c.op == "-" else "+", key(c.item)[0])) for c in changes]
    assert places == sorted(places)


@given(items())
def test_what_is_as_wanted_needs_no_plan(have: dict[Key, Item]) -> None:
    plan = diff(have.values(), list(reversed(have.values())), lambda k: True)
    assert plan == Plan()
    assert not plan
    assert str(plan) == ""


# ── Compile ────────────────────────────────────────────────────────────────────────────────────────────────


def busy() -> tuple[Paper, str, str]:
    paper = Paper(*SITES)
    paper["nantes"].network("blue", "10.0.0.0/24", "2001:db8::/64")
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n + 1}.0.0/24")
    two = paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes")
    three = paper.vpn("lyon", "l3", "lyon:db", "nantes:db", "rennes:db")
    paper.settle()
    return paper, two, three


def segment(items: Collection[Item], vpn: str) -> Segment | None:
    return next((i for i in items if isinstance(i, Segment) and i.vpn == vpn), None)


@given(st.data())
def test_only_a_mutual_yes_gives_a_remote(data: st.DataObject) -> None:
    """Whatever part of the truth a site knows: every remote has said yes, is a member, is pinned; so have we."""
    paper, two, _ = busy()
    if data.draw(st.booleans()):
        paper.change(two, "nantes:blue", data.draw(st.sampled_from(["lyon", "rennes"])))
        paper.settle(turns=data.draw(st.integers(30, 40)))
    if data.draw(st.booleans()):
        paper["nantes"].write(forgetting(paper["nantes"].table, data.draw(st.sampled_from(["lyon", "rennes"]))))
    for site in paper.sites.values():
        known = [r for r in records(site) if data.draw(st.integers(0, 9))]
        table = Table(site.name, known)
        for item in compile_site(table):
            if isinstance(item, Segment):
                vpn = table.get(item.vpn)
                assert vpn is not None
                assert vpn.live
                members = {a.site for a in vpn.body.attachments}
                answers = table.answers(item.vpn)
                assert answers[site.name].word.value in ("accepted", "held", "drained")
                for remote in item.remotes:
                    assert remote.site in members - {site.name}
                    assert answers[remote.site].word.value in ("accepted", "held", "drained")
                    assert table.get(f"{site.name}.introduction.{remote.site}") is not None


def records(site: Site) -> list[Record]:
    return [r for kind in Kind for r in site.table.all_of(kind)]


def test_compile_is_the_same_in_every_order_of_arrival() -> None:
    paper, _, _ = busy()
    for site in paper.sites.values():
        expected = compile_site(site.table)
        known = records(site)
        for turn in (known, list(reversed(known)), known[1::2] + known[::2]):
            table = Table(site.name)
            for record in turn:
                table.apply(record)
            assert compile_site(table) == expected
        some = [r for r in known if r.header.kind.value in ("vpn", "answer")][:5]
        rest = [r for r in known if r not in some]
        for order in permutations(some):
            table = Table(site.name, rest)
            for record in order:
                table.apply(record)
            assert compile_site(table) == expected


def test_an_empty_store_removes_nothing() -> None:
    """Rule 19, I22: what forwards and is explained by no record is an orphan, shown and kept."""
    paper, _, _ = busy()
    for site in paper.sites.values():
        seen = compile_site(site.table)
        empty = Table(site.name)
        plan = diff(compile_site(empty), seen, partial(may_go, empty))
        assert plan.changes == ()
        assert set(plan.orphans) == set(seen)


def test_who_has_no_underlay_address_or_said_no_has_no_segment() -> None:
    paper, two, _ = busy()
    lyon = paper["lyon"]
    standing = lyon.table.answer_record(two, "lyon")
    assert standing is not None
    blind = replace(standing, body=replace(standing.body, endpoints=()))
    lyon.table.apply(blind)
    assert segment(compile_site(lyon.table), two) is None
    other = segment(compile_site(paper["nantes"].table), two)
    assert other is not None
    assert [r.site for r in other.remotes] == ["lyon", "rennes"]
    assert all(isinstance(r, Remote) and r.endpoints for r in other.remotes)

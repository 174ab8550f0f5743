"""Laws of hearing: whatever a peer says, what is its own is all that changes, and no decision ever stumbles."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from intertie.model.bodies import BODIES, AnswerBody
from intertie.model.codec import decode, encode
from intertie.model.errors import IntertieError
from intertie.model.items import Item, Remote, Segment
from intertie.model.json_text import Malformed
from intertie.model.records import Kind, Order, Record, State
from intertie.planning.compile import compile_site, may_go
from intertie.planning.diff import diff
from intertie.planning.hearing import FEDERATED, acceptable
from intertie.planning.identity import answer_id, introduction_id, site_id
from intertie.planning.status import view
from intertie.planning.table import Table
from tests.unit import arbitrary
from tests.unit.paper import Paper
from tests.unit.test_laws_codec import trees

SITES = ("nantes", "lyon", "rennes")


def busy() -> tuple[Paper, str, str]:
    """Three sites with an L2 and an L3 Vpn, and a proposal."""
    paper = Paper(*SITES)
    paper["nantes"].network("blue", "10.0.0.0/24", "2001:db8::/64")
    for n, name in enumerate(SITES):
        paper[name].network("db", f"10.{n + 1}.0.0/24")
    two = paper.vpn("nantes", "l2", "nantes:blue", "lyon", "rennes")
    three = paper.vpn("lyon", "l3", "lyon:db", "nantes:db", "rennes:db")
    paper.settle()
    return paper, two, three


@given(arbitrary.records(), st.sampled_from(SITES))
def test_a_record_of_another_home_is_never_taken(record: Record, peer: str) -> None:
    paper = Paper(*SITES)
    if record.home != peer:
        assert acceptable(paper["nantes"].table, peer, record) is not None
    if record.header.kind not in FEDERATED:
        assert acceptable(paper["nantes"].table, record.home, record) is not None


@given(st.sampled_from(sorted(FEDERATED)), st.data())
def test_derived_ids_are_the_derived_ones(kind: Kind, data: st.DataObject) -> None:
    """What is found by its id must be what the id says, or it could stand in for something else."""
    body = data.draw(arbitrary.of(BODIES[kind]))
    header = data.draw(arbitrary.headers(kind))
    ulid = data.draw(st.sampled_from(["site", "introduction.rennes", header.id.split(".", 1)[1]]))
    record = arbitrary.sealed(replace(header, home="lyon", id=f"lyon.{ulid}", order=Order(seq=1)), body)
    if acceptable(Paper(*SITES)["nantes"].table, "lyon", record) is None:
        match kind:
            case Kind.SITE:
                assert (record.id, record.body.name) == (site_id("lyon"), "lyon")
            case Kind.INTRODUCTION:
                assert record.id == introduction_id("lyon", record.body.site)
            case Kind.ANSWER:
                assert record.id == answer_id("lyon", record.body.vpn)


# ── A peer that lies within its signature ──────────────────────────────────────────────────────────────────


LIKELY: list[Any] = [
    *(0, 1, 2, 4096, 4097, 65536, 2**24 - 1, -1, True, None, "", [], {}),
    *(
        "nantes",
        "lyon",
        "rennes",
        "brest",
        "red",
        "green",
        "l2",
        "l3",
        "any",
        "all",
        "live",
        "closing",
        "withdrawn",
    ),
    *("accepted", "refused", "held", "drained", "10.0.0.0/24", "10.0.0.0/8", "10.1.0.0/24", "10.2.0.0/25"),
    *("192.0.2.1", "192.0.2.2", "10.0.0.1", "10.0.0.200", "2001:db8::1", "2001:db8::/64", "nantes.v1", "lyon.v2"),
    *(["10.2.0.0/24"], ["nantes", "lyon"], ["10.0.0.1"], [{"first": "10.0.0.1", "last": "10.0.0.254"}]),
]


def bent(record: Record, data: st.DataObject) -> Record | None:
    """A later version of a peer's own record with some of its values replaced by others, likely or not."""
    tree = json.loads(encode(record.header, record.body))
    for _ in range(data.draw(st.integers(1, 3))):
        part = tree["body"] if data.draw(st.integers(0, 4)) else tree["header"]
        holder, key = data.draw(st.sampled_from(list(_places(part))))
        other, place = data.draw(st.sampled_from(list(_places(tree["body"]))))
        holder[key] = deepcopy(data.draw(st.one_of(st.sampled_from(LIKELY), st.just(other[place]), trees)))
    if isinstance(tree["header"].get("seq"), int):
        tree["header"]["seq"] += data.draw(st.integers(1, 3)) * 100
    with suppress(Malformed, ValueError):
        return decode(json.dumps(tree).encode(), b"")
    return None


def _places(tree: Any) -> Any:
    inner = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    for key, value in inner:
        yield tree, key
        if isinstance(value, dict | list):
            yield from _places(value)


@settings(max_examples=100)
@given(st.data())
def test_no_lie_makes_a_decision_stumble_or_moves_what_is_another_sites(data: st.DataObject) -> None:
    paper, two, _ = busy()
    nantes = paper["nantes"]
    theirs = {r.id: r for kind in Kind for r in nantes.table.all_of(kind) if r.home != "lyon"}
    mine = compile_site(nantes.table)
    own = [r for kind in sorted(FEDERATED) for r in paper["lyon"].table.all_of(kind) if r.home == "lyon"]
    for _ in range(3):
        lie = bent(data.draw(st.sampled_from(own)), data)
        if lie is not None:
            event("taken" if nantes.hear("lyon", lie) else "not taken")
    for id, record in theirs.items():
        found = nantes.table.get(id)
        assert found is not None
        # A Vpn that lyon is a member of may be adopted by it; nothing else changes hands.
        assert found == record or (found.header.kind is Kind.VPN and found.order.epoch > record.order.epoch)
    assert any(not nantes.say() for _ in range(12)), "nantes talks without end"
    for vpn, _ in nantes.table.vpns():
        view(nantes.table, vpn, {})
    items = compile_site(nantes.table)
    plan = diff(items, mine, partial(may_go, nantes.table))
    str(plan)
    # What nantes and rennes agreed on between themselves stands, unless lyon took over as its home.
    stands = nantes.table.get(two)
    assert stands is not None
    if stands.home == "nantes" and stands.header.state is State.LIVE:
        assert remote(items, two, "rennes") == remote(mine, two, "rennes") is not None


def remote(items: Collection[Item], vpn: str, site: str) -> Remote | None:
    segments = [i for i in items if isinstance(i, Segment) and i.vpn == vpn]
    return next((r for s in segments for r in s.remotes if r.site == site), None)


@given(st.randoms(use_true_random=False))
def test_honest_records_are_always_taken(chance: Random) -> None:
    """The other side of the coin: whatever honest sites say to each other in any order is heard."""
    paper, two, three = busy()
    for _ in range(4):
        site = paper[chance.choice(SITES)]
        vpn = site.table.get(chance.choice([two, three]))
        if vpn is not None and vpn.live and vpn.home == site.name:
            with suppress(IntertieError):
                if chance.random() < 0.3:
                    paper.close(vpn.id)
                else:
                    others = [s for s in SITES if s != site.name and chance.random() < 0.6]
                    end = ":db" if vpn.id == three else ""
                    first = f"{site.name}:{'db' if vpn.id == three else 'blue'}"
                    paper.change(vpn.id, first, *(o + end for o in others))
        paper.settle()
    assert [s.rejected for s in paper.sites.values()] == [[], [], []]


# ── The table ──────────────────────────────────────────────────────────────────────────────────────────────


@given(st.randoms(use_true_random=False))
def test_the_table_does_not_mind_the_order_of_arrival(chance: Random) -> None:
    """With the store's rule (only a higher order replaces), every order gives the same records and decisions."""
    paper, two, three = busy()
    history = [r for s in paper.sites.values() for kind in Kind for r in s.table.all_of(kind)]
    for id in (two, three):
        for n in range(3):
            home = id.split(".")[0]
            record = paper[home].table.get(id)
            assert record is not None
            history.append(paper.forge(home, record, name=f"version-{n}"))
    tables = []
    for _ in range(2):
        chance.shuffle(history)
        table = Table("nantes")
        for record in history * 2:
            standing = table.get(record.id)
            if standing is None or record.order > standing.order:
                table.apply(record)
        tables.append(table)
    one, other = tables
    assert len(one) == len(other)
    for kind in Kind:
        assert list(one.all_of(kind)) == list(other.all_of(kind))
        assert [r.id for r in one.of(kind)] == sorted(r.id for r in other.of(kind))
    assert compile_site(one) == compile_site(other)
    assert one.last() == other.last()
    assert one.mine_since(type(one.last())()) == other.mine_since(type(one.last())())
    for id in (two, three):
        assert one.answers(id) == other.answers(id)
    for site in SITES:
        for kind in Kind:
            assert one.count(site, kind) == len([r for r in one.all_of(kind) if r.home == site])


def test_a_record_that_changes_its_kind_or_home_leaves_no_trace_in_the_indices() -> None:
    paper, two, _ = busy()
    table = paper["nantes"].table
    vpn = table.get(two)
    assert vpn is not None
    adopted = paper.forge("lyon", vpn, order=Order(1, "lyon", 1, vpn.order.seq))
    assert vpn in table.mine_since(type(vpn.cursor)())
    table.apply(adopted)
    # It stands at the same place (incarnation, seq) as the version that was ours, by chance: it is not ours to tell.
    assert adopted.cursor == vpn.cursor
    assert two not in [r.id for r in table.mine_since(type(vpn.cursor)())]
    assert [r.home for r in table.all_of(Kind.VPN) if r.id == two] == ["lyon"]
    answer = table.answer_record(two, "lyon")
    assert answer is not None
    table.drop(answer.id)
    assert "lyon" not in table.answers(two)
    assert isinstance(answer.body, AnswerBody)


def test_the_places_of_superseded_versions_are_swept_out() -> None:
    """Memory stays bounded however often a site says a thing again (I19)."""
    paper, two, _ = busy()
    nantes = paper["nantes"]
    record = nantes.table.get(two)
    assert record is not None
    for n in range(5000):
        nantes.table.apply(replace(record, header=replace(record.header, order=Order(0, "", 1, 1000 + n))))
    assert len(nantes.table._mine) < 2500
    assert nantes.table.last().seq == 5999

"""Laws of numbers: whatever the tree of invitations, no VNI has two holders."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.model.bodies import GrantBody
from intertie.model.errors import Refused
from intertie.model.records import Draft, Kind, Order, Record
from intertie.planning import numbers, ranges
from intertie.planning.identity import grant_id
from intertie.planning.numbers import BLOCK, VNI, VNI_SPACE, block_for, founding, holding, next_vni, route_target
from intertie.planning.table import Table
from tests.unit.paper import sealed


class Tree:
    """Sites that invite each other; one table that knows all grants, as public records become known."""

    def __init__(self) -> None:
        self.table = Table("s0")
        self.seq = 0
        self.sites = ["s0"]
        self.grants: list[Record] = []
        self.grant("s0", founding("s0"))

    def grant(self, home: str, body: GrantBody) -> None:
        self.seq += 1
        id = grant_id(home, body.space, body.to, body.first)
        record = sealed(home, Draft(kind=Kind.GRANT, id=id, body=body), Order(0, "", 1, self.seq))
        self.grants.append(record)
        self.table.apply(record)

    def invite(self, chance: Random) -> None:
        home = chance.choice(self.sites)
        taken = {n for a, b in holding(self.table, home) for n in [chance.randint(a, b)] if chance.random() < 0.5}
        try:
            block = block_for(self.table, home, f"s{len(self.sites)}", taken)
        except Refused:
            return
        assert not taken & set(range(block.first, block.last + 1)), "what is in use is not granted away"
        self.sites.append(block.to)
        self.grant(home, block)


@given(st.randoms(use_true_random=False), st.integers(0, 40))
def test_blocks_never_overlap_and_nothing_is_lost(chance: Random, invitations: int) -> None:
    tree = Tree()
    for _ in range(invitations):
        tree.invite(chance)
    held = {s: holding(tree.table, s) for s in tree.sites}
    for a, b in combinations(tree.sites, 2):
        assert ranges.subtract(held[a], held[b]) == held[a], f"{a} and {b} hold the same numbers"
    assert ranges.union(x for spans in held.values() for x in spans) == (VNI_SPACE,)
    for site in tree.sites:
        # Everybody can make Vpns, and invite a few more.
        assert ranges.size(held[site]) >= 1
        assert ranges.size(held[site]) <= BLOCK or site == "s0"


@given(st.randoms(use_true_random=False), st.integers(0, 20))
def test_the_next_number_is_held_not_taken_and_lowest(chance: Random, invitations: int) -> None:
    tree = Tree()
    for _ in range(invitations):
        tree.invite(chance)
    site = chance.choice(tree.sites)
    spans = holding(tree.table, site)
    first = spans[0][0]
    taken = {first + chance.randint(0, 30) for _ in range(chance.randint(0, 30))}
    vni = next_vni(tree.table, site, taken)
    assert any(a <= vni <= b for a, b in spans)
    assert vni not in taken
    assert all(n in taken for a, b in spans for n in range(a, min(b, vni - 1) + 1) if n < vni)
    assert 1 <= vni < 2**24
    assert route_target(vni).endswith(f":{vni}")


@given(st.randoms(use_true_random=False), st.integers(0, 20))
def test_who_knows_less_holds_less_never_more_than_its_own(chance: Random, invitations: int) -> None:
    """A site knows all its own grants (it wrote them), and some of the others': it never takes what it gave away."""
    tree = Tree()
    for _ in range(invitations):
        tree.invite(chance)
    site = chance.choice(tree.sites)
    known = [r for r in tree.grants if r.home == site or chance.random() < 0.5]
    chance.shuffle(known)
    partial = Table(site)
    for record in known:
        partial.apply(record)
    assert ranges.subtract(holding(partial, site), holding(tree.table, site)) == ()


def test_numbers_run_out_in_words() -> None:
    table = Table("lyon")
    with pytest.raises(Refused, match="no VNI left") as caught:
        next_vni(table, "lyon", ())
    assert caught.value.code == "quota"
    with pytest.raises(Refused, match="could grant"):
        block_for(table, "lyon", "rennes", ())


def test_other_spaces_are_other_numbers() -> None:
    tree = Tree()
    tree.grant("s0", GrantBody(space="asn", first=1, last=2**24 - 1, to="s9"))
    assert holding(tree.table, "s9") == ()
    assert VNI == numbers.VNI
    assert holding(tree.table, "s0") == (VNI_SPACE,)

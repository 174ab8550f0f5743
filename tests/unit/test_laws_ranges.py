"""Laws of address space: cut among members, given on, taken back; exact at the edges, for both IP versions."""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intertie.model.bodies import Address, Prefix, Range, Share
from intertie.model.errors import Refused
from intertie.planning import ranges
from intertie.planning.ranges import NEEDED, PIECES, absorb, cut, gateway, give, next_address, usable, within
from tests.unit import arbitrary

small4 = st.builds(arbitrary.network4, st.integers(18, 32), st.just(0x0A000000) | st.integers(0, 2**32 - 1))
small6 = st.builds(arbitrary.network6, st.integers(116, 128) | st.just(64), st.integers(0, 2**128 - 1))
prefixes = small4 | small6
members = st.integers(1, 12).map(lambda n: tuple(f"site{i}" for i in range(n)))


@st.composite
def used(draw: st.DrawFn, prefix: Prefix) -> tuple[Address, ...]:
    """Addresses in use: some of the prefix, its edges, and some that are elsewhere."""
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    version = type(prefix.network_address)
    numbers = draw(st.lists(st.integers(first, min(last, first + 4096)), max_size=40))
    if draw(st.booleans()):
        numbers += range(first, min(last, first + draw(st.integers(0, 300))), draw(st.integers(1, 3)))
    edges = draw(st.lists(st.sampled_from([first, last, first + 1, last - 1]), max_size=3))
    found = {version(n) for n in [*numbers, *edges] if 0 <= n < 2**prefix.max_prefixlen}
    return (*sorted(found), ip_address("203.0.113.1"), ip_address("2001:db8:ffff::1"))


def numbers(share: Share) -> set[int]:
    found: set[int] = set()
    for r in share.ranges:
        found |= set(range(int(r.first), int(r.last) + 1))
    return found


def spans(share: Share, prefix: Prefix) -> ranges.Spans:
    return ranges.spans_of(share.ranges, prefix)


@given(prefixes, members, st.data())
def test_a_cut_is_disjoint_whole_and_fair(prefix: Prefix, sites: tuple[str, ...], data: st.DataObject) -> None:
    in_use = data.draw(used(prefix))
    try:
        shares = cut([prefix], sites, in_use)
    except Refused:
        assume(False)
    assert [s.site for s in shares] == list(sites)
    held = [spans(s, prefix) for s in shares]
    # Disjoint, and together all that is usable: nothing lost, nothing from outside.
    assert ranges.union(x for s in held for x in s) == (usable(prefix),)
    assert sum(ranges.size(s) for s in held) == ranges.size((usable(prefix),))
    for address in in_use:
        if address.version == prefix.version and address in prefix:
            first, last = usable(prefix)
            assert within(address, shares[0].ranges) == (first <= int(address) <= last)
    assert shares[0].gateways == (gateway(prefix),)
    sizes = {ranges.size(s) for s in held[1:]}
    assert len(sizes) <= 1
    for share, mine in zip(shares, held, strict=True):
        assert ranges.size(mine) >= NEEDED
        assert len(share.gateways) == 1
        assert within(share.gateways[0], share.ranges)
        assert share.gateways[0] not in in_use or share.site == sites[0]


@given(prefixes, members, st.data())
def test_parts_of_what_is_free_differ_by_the_remainder(
    prefix: Prefix, sites: tuple[str, ...], data: st.DataObject
) -> None:
    in_use = data.draw(used(prefix))
    try:
        shares = cut([prefix], sites, in_use)
    except Refused:
        assume(False)
    taken = ranges.union((int(a), int(a)) for a in (*in_use, gateway(prefix)) if a.version == prefix.version)
    free = [ranges.subtract(spans(s, prefix), taken) for s in shares]
    all_free = ranges.union(x for s in free for x in s)
    assume(len(all_free) <= PIECES)
    for parts in free[1:]:
        assert 0 <= ranges.size(free[0]) - ranges.size(parts) < len(sites)


@given(st.data())
def test_scattered_addresses_do_not_blow_up_the_record(data: st.DataObject) -> None:
    prefix = IPv4Network("10.0.0.0/18")
    step = data.draw(st.integers(2, 5))
    count = data.draw(st.integers(2, 30))
    shares = cut([prefix], [f"s{i}" for i in range(count)], [prefix[i] for i in range(0, 2**14, step)])
    assert sum(len(s.ranges) for s in shares[1:]) <= PIECES + count
    _, given_ = give(shares[0], "new", [prefix], [prefix[i] for i in range(0, 2**14, step)])
    assert len(given_.ranges) <= PIECES
    assert ranges.size(spans(given_, prefix)) >= NEEDED


@given(prefixes, members, st.data())
def test_a_refusal_names_the_smallest_prefix_that_would_do(
    prefix: Prefix, sites: tuple[str, ...], data: st.DataObject
) -> None:
    assume(prefix.prefixlen > 8)
    in_use, said = data.draw(used(prefix)), None
    try:
        cut([prefix], sites, in_use)
    except Refused as refused:
        said = refused
    else:
        assume(False)
    assert said is not None
    assert said.code == "prefix-too-small"
    assert str(prefix) in said.detail
    named = ip_network(said.hint.removeprefix("the smallest that would do is "))
    assert prefix in {named, *(named.subnets(new_prefix=prefix.prefixlen) if named.prefixlen > 99 else [prefix])}
    cut([named], sites, in_use)
    for length in range(named.prefixlen + 1, prefix.prefixlen):
        with pytest.raises(Refused):
            cut([prefix.supernet(new_prefix=length)], sites, in_use)


@given(prefixes, members, st.data())
def test_giving_and_absorbing_conserve_space(prefix: Prefix, sites: tuple[str, ...], data: st.DataObject) -> None:
    in_use = data.draw(used(prefix))
    try:
        shares = cut([prefix], sites, in_use)
        giver = data.draw(st.sampled_from(shares))
        # Between, the giver may have given addresses to hosts, and see those of others.
        more = data.draw(used(prefix))
        left, new = give(giver, "new", [prefix], more)
    except Refused:
        assume(False)
    assert left.site == giver.site
    assert left.gateways == giver.gateways
    assert within(left.gateways[0], left.ranges)
    assert within(new.gateways[0], new.ranges)
    assert not any(within(a, new.ranges) for a in (*more, *giver.gateways))
    assert ranges.subtract(spans(left, prefix), spans(new, prefix)) == spans(left, prefix)
    assert ranges.union([*spans(left, prefix), *spans(new, prefix)]) == spans(giver, prefix)
    assert min(ranges.size(spans(new, prefix)), ranges.size(spans(left, prefix))) >= NEEDED
    again = absorb(left, new, [prefix])
    assert again.site == giver.site
    assert again.gateways == giver.gateways
    assert spans(again, prefix) == spans(giver, prefix)


def test_a_giver_keeps_its_gateway_beside_an_address_of_somebody_elses() -> None:
    """Found by the law: the gateway .5 was lost when .4, held by another site, was seen in use on the network."""
    prefix = ip_network("10.0.0.0/24")
    held = (Range(first=ip_address("10.0.0.5"), last=ip_address("10.0.0.100")),)
    giver = Share(site="a", ranges=held, gateways=(ip_address("10.0.0.5"),))
    left, _ = give(giver, "b", [prefix], [ip_address("10.0.0.4")])
    assert within(ip_address("10.0.0.5"), left.ranges)


def test_two_prefixes_are_each_cut() -> None:
    both = [ip_network("10.0.0.0/24"), ip_network("2001:db8::/64")]
    for share in cut(both, ["a", "b", "c"], []):
        assert [r.first.version for r in share.ranges] == [4, 6]
        assert [g.version for g in share.gateways] == [4, 6]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("10.0.0.0/24", "10.0.0.1", "10.0.0.254"),
        ("10.0.0.0/31", "10.0.0.0", "10.0.0.1"),
        ("10.0.0.7/32", "10.0.0.7", "10.0.0.7"),
        ("2001:db8::/64", "2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::/127", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_usable_addresses(text: str, first: str, last: str) -> None:
    assert usable(ip_network(text)) == (int(ip_address(first)), int(ip_address(last)))


@given(prefixes, members, st.data())
def test_the_next_address_is_held_free_and_lowest(
    prefix: Prefix, sites: tuple[str, ...], data: st.DataObject
) -> None:
    taken = data.draw(used(prefix))
    try:
        share = data.draw(st.sampled_from(cut([prefix], sites, taken)))
    except Refused:
        assume(False)
    found = next_address(prefix, share.ranges, taken)
    held = spans(share, prefix)
    if found is None:
        assert not ranges.subtract(held, ((int(a), int(a)) for a in taken))
        return
    assert found not in taken
    assert within(found, share.ranges)
    before = ranges.subtract(held, ((int(found), 2**128),))
    assert not ranges.subtract(before, ((int(a), int(a)) for a in taken if a.version == prefix.version))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))), max_size=8))
def test_spans_are_sets(pairs: list[tuple[int, int]]) -> None:
    def members_of(some: ranges.Spans) -> set[int]:
        return {n for a, b in some for n in range(a, b + 1)}

    joined = ranges.union(pairs)
    assert members_of(joined) == {n for a, b in pairs for n in range(a, b + 1)}
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(joined))
    half = tuple(pairs[::2])
    assert members_of(ranges.subtract(joined, half)) == members_of(joined) - members_of(half)
    head, rest = ranges.split_off(joined, 7)
    assert ranges.size(head) == min(7, ranges.size(joined))
    assert sorted(members_of(head) | members_of(rest)) == sorted(members_of(joined))
    assert not head or not rest or max(members_of(head)) < min(members_of(rest))

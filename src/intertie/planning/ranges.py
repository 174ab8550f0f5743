"""Address space of an L2 Vpn: cut among its members, given on, taken back (federation rules 15 and 16).

Inside, an address is an integer and a set of addresses is a sorted tuple of disjoint, non-adjacent pairs
(first, last), both included: exact, and as quick for an IPv6 /64 as for a /29.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from intertie.model.bodies import Address, Prefix, Range, Share
from intertie.model.errors import Refused

Span = tuple[int, int]
Spans = tuple[Span, ...]

NEEDED = 2
"""What a member needs at least: one address for its gateway, one for a host."""
PIECES = 64
"""Into how many stretches the part of all members may fall: a record has a largest size."""


def union(spans: Iterable[Span]) -> Spans:
    """Sorted, disjoint, adjacent ones joined."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return tuple(joined)


def subtract(spans: Spans, taken: Iterable[Span]) -> Spans:
    """What of `spans` is in none of `taken`."""
    left: list[Span] = []
    holes = union(taken)
    for first, last in spans:
        start = first
        for low, high in holes:
            if high < start or low > last:
                continue
            if low > start:
                left.append((start, low - 1))
            start = high + 1
        if start <= last:
            left.append((start, last))
    return tuple(left)


def size(spans: Spans) -> int:
    return sum(last - first + 1 for first, last in spans)


def split_off(spans: Spans, count: int) -> tuple[Spans, Spans]:
    """The first `count` addresses of `spans`, and the rest."""
    head: list[Span] = []
    rest: list[Span] = []
    for first, last in spans:
        length = last - first + 1
        if count >= length:
            head.append((first, last))
        elif count > 0:
            head.append((first, first + count - 1))
            rest.append((first + count, last))
        else:
            rest.append((first, last))
        count -= min(count, length)
    return tuple(head), tuple(rest)


def usable(prefix: Prefix) -> Span:
    """The addresses that hosts may have. IPv4 without network and broadcast address (RFC 1122 section 3.2.1.3;
    a /31 keeps both, RFC 3021); IPv6 without the subnet-router anycast address (RFC 4291 section 2.6.1)."""
    first, last = int(prefix.network_address), int(prefix.broadcast_address)
    if isinstance(prefix, IPv6Network):
        return (first + 1, last) if first < last else (first, last)
    return (first + 1, last - 1) if prefix.prefixlen < 31 else (first, last)


def gateway(prefix: Prefix) -> Address:
    """Where a network that stands alone has its gateway: the first usable address."""
    return _address(prefix, usable(prefix)[0])


def gateway_among(prefix: Prefix, told: Iterable[Address]) -> Address:
    """The gateway of `prefix` among those that a cloud told; its first usable address if none is."""
    return next((g for g in told if g.version == prefix.version and g in prefix), gateway(prefix))


def _address(prefix: Prefix, number: int) -> Address:
    return IPv4Address(number) if isinstance(prefix, IPv4Network) else IPv6Address(number)


def spans_of(ranges: Iterable[Range], prefix: Prefix) -> Spans:
    """The part of `ranges` that lies in `prefix`, as integers."""
    return union(
        (int(r.first), int(r.last)) for r in ranges if r.first.version == prefix.version and r.first in prefix
    )


def ranges_of(spans: Spans, prefix: Prefix) -> tuple[Range, ...]:
    return tuple(Range(first=_address(prefix, a), last=_address(prefix, b)) for a, b in spans)


def _in_prefix(addresses: Collection[Address], prefix: Prefix) -> Spans:
    return union((int(a), int(a)) for a in addresses if a.version == prefix.version and a in prefix)


def cut(
    prefixes: Sequence[Prefix], members: Sequence[str], in_use: Collection[Address], told: Collection[Address] = ()
) -> tuple[Share, ...]:
    """Cut `prefixes` among `members`; the first is the site whose network it is, `in_use` are its addresses, and
    `told` the gateways that its cloud gave it (elsewhere a prefix has its first address for that).

    What is in use and the gateway stay with the first member; what is free is cut into equal parts in the order
    of `members`, the remainder staying with the first. Refused (prefix-too-small) names the smallest that would do.
    """
    pieces: dict[str, list[Range]] = {member: [] for member in members}
    gateways: dict[str, list[Address]] = {member: [] for member in members}
    for prefix in prefixes:
        kept, free, small = _stock(prefix, len(members), in_use, told)
        share = size(free) // len(members)
        if share < NEEDED:
            raise _too_small(prefix, len(members), in_use, told)
        head, rest = split_off(free, size(free) - share * (len(members) - 1))
        pieces[members[0]] += ranges_of(union([*kept, *small, *head]), prefix)
        gateways[members[0]].append(gateway_among(prefix, told))
        for member in members[1:]:
            head, rest = split_off(rest, share)
            pieces[member] += ranges_of(head, prefix)
            gateways[member].append(_address(prefix, head[0][0]))
    return tuple(Share(site=m, ranges=tuple(pieces[m]), gateways=tuple(gateways[m])) for m in members)


def _stock(
    prefix: Prefix, members: int, in_use: Collection[Address], told: Collection[Address]
) -> tuple[Spans, Spans, Spans]:
    """(what stays with the first member, what is shared out, free scraps that stay with the first as well)."""
    all_of_it = (usable(prefix),)
    free = subtract(all_of_it, _in_prefix([*in_use, gateway_among(prefix, told)], prefix))
    large = _largest(free, max(PIECES, NEEDED * members))
    return subtract(all_of_it, free), large, subtract(free, large)


def _largest(spans: Spans, count: int) -> Spans:
    """The `count` longest of `spans`: where addresses in use lie scattered, the record would grow with each gap."""
    return tuple(sorted(sorted(spans, key=lambda s: (s[0] - s[1], s))[:count]))


def _too_small(prefix: Prefix, members: int, in_use: Collection[Address], told: Collection[Address]) -> Refused:
    kept, free, _ = _stock(prefix, members, in_use, told)
    wider = (p for p in _wider(prefix) if size(_stock(p, members, in_use, told)[1]) // members >= NEEDED)
    wanted = next(wider, None)
    return Refused(
        f"{prefix} is too small for {members} members: {size(kept)} of its addresses are in use or the gateway's, "
        f"{size(free)} are free, and each member needs at least {NEEDED}",
        code="prefix-too-small",
        hint=f"the smallest that would do is {wanted}" if wanted else "use fewer members",
    )


def _wider(prefix: Prefix) -> Iterable[Prefix]:
    for length in range(prefix.prefixlen - 1, 7, -1):
        yield prefix.supernet(new_prefix=length)


def give(share: Share, newcomer: str, prefixes: Sequence[Prefix], in_use: Collection[Address]) -> tuple[Share, Share]:
    """The giver's share afterwards, and the newcomer's: the upper half of what the giver has free."""
    kept_ranges: list[Range] = []
    given_ranges: list[Range] = []
    gateways: list[Address] = []
    for prefix in prefixes:
        held = spans_of(share.ranges, prefix)
        free = subtract(held, [*_in_prefix(in_use, prefix), *_in_prefix(share.gateways, prefix)])
        stock = _largest(free, PIECES)
        if size(stock) // 2 < NEEDED:
            raise Refused(
                f"{share.site} has {size(free)} free addresses of {prefix}; a new member needs at least {NEEDED}, "
                "and as many stay",
                code="prefix-too-small",
                hint=f"free addresses at {share.site}, or make a new Vpn from a larger network",
            )
        _, high = split_off(stock, size(stock) - size(stock) // 2)
        kept_ranges += ranges_of(subtract(held, high), prefix)
        given_ranges += ranges_of(high, prefix)
        gateways.append(_address(prefix, high[0][0]))
    return (
        Share(site=share.site, ranges=tuple(kept_ranges), gateways=share.gateways),
        Share(site=newcomer, ranges=tuple(given_ranges), gateways=tuple(gateways)),
    )


def absorb(share: Share, leaver: Share, prefixes: Sequence[Prefix]) -> Share:
    """The share with the leaver's ranges added."""
    return Share(site=share.site, ranges=plus(share.ranges, leaver.ranges, prefixes), gateways=share.gateways)


def common(some: Sequence[Range], others: Sequence[Range], prefixes: Sequence[Prefix]) -> tuple[Range, ...]:
    """What is in both."""
    found: list[Range] = []
    for prefix in prefixes:
        a, b = spans_of(some, prefix), spans_of(others, prefix)
        found += ranges_of(subtract(a, subtract(a, b)), prefix)
    return tuple(found)


def plus(some: Sequence[Range], others: Sequence[Range], prefixes: Sequence[Prefix]) -> tuple[Range, ...]:
    """What is in either."""
    return tuple(r for p in prefixes for r in ranges_of(union([*spans_of(some, p), *spans_of(others, p)]), p))


def minus(some: Sequence[Range], others: Sequence[Range], prefixes: Sequence[Prefix]) -> tuple[Range, ...]:
    """What of `some` is not in `others`."""
    return tuple(r for p in prefixes for r in ranges_of(subtract(spans_of(some, p), spans_of(others, p)), p))


def less(share: Share, given: Share, prefixes: Sequence[Prefix]) -> Share:
    """The share without what was given."""
    return Share(site=share.site, ranges=minus(share.ranges, given.ranges, prefixes), gateways=share.gateways)


def vacant(
    held: Sequence[Range], taken: Collection[Address], prefixes: Sequence[Prefix]
) -> tuple[tuple[Range, ...], ...]:
    """For each prefix, what of `held` is in none of `taken`."""
    return tuple(ranges_of(subtract(spans_of(held, p), _in_prefix(taken, p)), p) for p in prefixes)


def count(some: Iterable[Range]) -> int:
    """How many addresses are in ranges that do not meet."""
    return sum(int(r.last) - int(r.first) + 1 for r in some)


def upper(free: Sequence[Range], wanted: int, prefix: Prefix, pieces: int) -> tuple[Range, ...]:
    """At most `wanted` addresses, in at most `pieces` stretches: the highest of the longest stretches of `free`."""
    longest = _largest(spans_of(free, prefix), pieces)
    _, high = split_off(longest, size(longest) - wanted)
    return ranges_of(high, prefix)


def whole(prefixes: Sequence[Prefix]) -> tuple[Range, ...]:
    """The range of a network that is in no L2 Vpn: all that is usable."""
    return tuple(r for p in prefixes for r in ranges_of((usable(p),), p))


def next_address(prefix: Prefix, ranges: Sequence[Range], taken: Collection[Address]) -> Address | None:
    """The lowest address of `ranges` in `prefix` that nobody has; None when they are used up."""
    free = subtract(spans_of(ranges, prefix), _in_prefix(taken, prefix))
    return _address(prefix, free[0][0]) if free else None


def within(address: Address, ranges: Sequence[Range]) -> bool:
    return any(r.first.version == address.version and int(r.first) <= int(address) <= int(r.last) for r in ranges)

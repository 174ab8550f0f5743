"""Mistakes with addresses and prefixes: who holds what, and what was held first (rules 11, 15, 16)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from intertie.model.bodies import AnswerBody, Ledger, Prefix, Range, Share, VpnBody, VpnKind, Word
from intertie.model.errors import Refused
from intertie.model.records import Record
from intertie.planning import ranges
from intertie.testing.simulator.plants.plant import always, planted

# ── Ranges of an L2 Vpn ────────────────────────────────────────────────────────────────────────────────────


@planted("planning.compile.network_ranges", expects=("I1",), profiles=("exhaustion", "mixed"))
def host_addresses_from_the_whole_prefix(right: Any) -> Any:
    """A site gives its hosts any free address of the network, not only of the part that it holds."""

    def wrong(table: Any, network: Any) -> tuple[Range, ...]:
        return ranges.whole(network.prefixes)

    return wrong


def _waits_for_nobody(right: Any) -> Any:
    return always(True)(right)


def _free_at_once(right: Any) -> Any:
    def wrong(table: Any, vpn: Record, mine: AnswerBody, share: Share, stay: list[str]) -> Ledger:
        return mine.ledger

    return wrong


@planted(
    "planning.held.claims",
    expects=("I1", "rule 16"),
    profiles=("exhaustion", "partitions"),
    also={"planning.advertise._drained": _waits_for_nobody, "planning.gifts._inherited": _free_at_once},
)
def reclaim_without_fence(right: Any) -> Any:
    """A removed member's range is another's as soon as it is removed, not when it has drained."""
    return always({})(right)


@planted(
    "planning.held.claims",
    expects=("I1", "I2", "rule 16"),
    profiles=("unseen", "adoption"),
    also={
        "planning.held.given_back": always(()),
        "planning.held.too_late": always(None),
        "planning.held.yielded": always(False),
    },
)
def adopter_s_memory_believed(right: Any) -> Any:
    """Who adopts a Vpn shares out what it remembers; that its old home gave some of it away unseen is not minded."""
    return always({})(right)


@planted("planning.held.ranges_held", expects=("I1",), profiles=("churn", "exhaustion"))
def giver_keeps_what_it_gave(right: Any) -> Any:
    """The home goes on holding the part of its range that it has given to a new member."""

    def wrong(table: Any, vpn: Record, share: Share, had: Iterable[Range] = ()) -> tuple[Range, ...]:
        had = tuple(had)
        found = right(table, vpn, share, had)
        if vpn.home != table.site or not had:
            return tuple(found)
        pieces: list[Range] = []
        for prefix in vpn.body.prefixes:
            both = ranges.union([*ranges.spans_of(found, prefix), *ranges.spans_of(had, prefix)])
            pieces += ranges.ranges_of(both, prefix)
        return tuple(pieces)

    return wrong


@planted("planning.held.occupied", expects=("I1", "rule 11"), profiles=("exhaustion", "mixed"))
def addresses_in_use_not_looked_at(right: Any) -> Any:
    """A range is cut, given or accepted without looking at which addresses of it are in use already."""
    return always(())(right)


@planted("planning.admit.share_of", expects=("I1",), profiles=("churn", "mixed"))
def range_cut_by_each_member(right: Any) -> Any:
    """Each member cuts the range itself, in the order in which it knows the members: itself first."""

    def wrong(body: VpnBody, site: str) -> Share | None:
        given: Share | None = right(body, site)
        if given is None:
            return None
        others = sorted(a.site for a in body.attachments if a.site != site)
        try:
            mine = ranges.cut(body.prefixes, (site, *others), ())[0]
        except Refused:
            return given
        return replace(mine, gateways=given.gateways)

    return wrong


@planted("planning.admit._alone_in_l2", expects=("rule 11", "I1"), profiles=("many-small", "mixed"))
def network_in_two_l2_vpns(right: Any) -> Any:
    """A network that one L2 Vpn stretches is stretched by a second one as well."""

    def wrong(situation: Any, vpn: Record, network: Any) -> Any:
        return network, None

    return wrong


@planted("planning.table.Table.suppose", expects=("rule 11", "I1"), profiles=("unseen", "many-small"))
def decisions_of_one_turn_do_not_see_each_other(right: Any) -> Any:
    """Two Vpns that arrive together are each judged as if the other had not come."""
    return always(None)(right)


# ── Prefixes of an L3 Vpn ──────────────────────────────────────────────────────────────────────────────────


@planted("planning.crossing.crossing", expects=("rule 8", "I5", "I8"), profiles=("unseen", "mixed"))
def crossing_answers_order_turned_round(right: Any) -> Any:
    """Where answers cross, members let the later in the list stay, the home the earlier: who asks decides."""

    def wrong(body: VpnBody, prefixes: Any, site: str) -> Any:
        turned = replace(body, attachments=tuple(sorted(body.attachments, key=lambda a: (a.site == site, a.site))))
        return right(turned, prefixes, site)

    return wrong


@planted("planning.crossing.crossing", expects=("rule 8", "rule 11", "I5"), profiles=("mixed", "many-small"))
def crossing_answers_not_compared(right: Any) -> Any:
    """Members that answered at the same time are not compared: overlapping prefixes both stand."""
    return always(None)(right)


def _takes_every_route(right: Any) -> Any:
    def wrong(table: Any, vpn: Record, answer: Any) -> tuple[Prefix, ...]:
        stated = {p for s, ps in _stated(table, vpn).items() if s != table.site for p in ps}
        return tuple(sorted(stated - set(answer.prefixes), key=lambda p: (p.version, p)))

    return wrong


def _stated(table: Any, vpn: Record) -> dict[str, tuple[Prefix, ...]]:
    agreed = (Word.ACCEPTED, Word.HELD, Word.DRAINED)
    return {s: a.prefixes for s, a in table.answers(vpn.id).items() if a.word in agreed}


@planted(
    "planning.held.routes_elsewhere",
    expects=("rule 11", "I1"),
    profiles=("mixed", "many-small"),
    also={"planning.held.routes_taken": _takes_every_route},
)
def first_held_not_checked(right: Any) -> Any:
    """A route is taken although another Vpn on the same network has one that overlaps it."""
    return always(())(right)


@planted("planning.held.member_prefixes", expects=("I16", "rule 6"), profiles=("unseen", "liars"))
def prefixes_of_a_member_believed_of_others(right: Any) -> Any:
    """What the home writes as a member's prefixes is routed to it, though the member has not said so."""

    def wrong(table: Any, vpn: Record) -> dict[str, tuple[Prefix, ...]]:
        found: dict[str, tuple[Prefix, ...]] = right(table, vpn)
        if vpn.body.kind is not VpnKind.L3:
            return found
        frozen = {a.site: a.prefixes for a in vpn.body.attachments}
        return {s: frozen.get(s) or ps for s, ps in found.items()}

    return wrong

"""Mistakes with addresses that move from holder to holder (rules 14 to 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from intertie.model.bodies import AnswerBody, Gift, Ledger, Range, Share
from intertie.model.records import Record
from intertie.planning import ranges
from intertie.planning.gifts import partners
from intertie.testing.simulator.plants.plant import always, planted

ANYTHING = {"planning.gifts._may_be_given": always(True)}
"""What a receiver checks would hide most of these for long."""


@planted("planning.gifts.whom_to_ask", expects=("rule 15",), profiles=("run-dry", "hot-spot"))
def who_runs_low_does_not_ask(right: Any) -> Any:
    """A member that runs out of addresses refuses its users, and tells nobody."""
    return always("")(right)


@planted("planning.gifts._gift", expects=("I2", "I1", "rule 15"), profiles=("run-dry", "hot-spot"), also=ANYTHING)
def addresses_offered_before_they_are_given_up(right: Any) -> Any:
    """A giver holds on to what it offers, until it hears that it was taken."""

    def wrong(situation: Any, vpn: Record, mine: AnswerBody, to: str, said: AnswerBody) -> AnswerBody:
        found: AnswerBody = right(situation, vpn, mine, to, said)
        return replace(found, ranges=mine.ranges, ledger=replace(found.ledger, got=mine.ledger.got))

    return wrong


@planted("planning.held.holding", expects=("I2", "I1", "rule 15"), profiles=("run-dry", "hot-spot"))
def what_was_given_is_forgotten(right: Any) -> Any:
    """A giver takes up its whole share again at the next look, since the record says that it has it."""

    def wrong(table: Any, vpn: Record, share: Share, had: Iterable[Range], ledger: Ledger) -> tuple[Range, ...]:
        found: tuple[Range, ...] = right(table, vpn, share, had, replace(ledger, given=(), awaited=()))
        return found

    return wrong


@planted("planning.gifts._accepted", expects=("I2", "I1", "rule 15"), profiles=("run-dry", "hot-spot"), also=ANYTHING)
def gift_taken_twice(right: Any) -> Any:
    """Who was given addresses does not note which gift that was, and takes it again as long as it is offered."""

    def wrong(table: Any, vpn: Record, mine: AnswerBody) -> AnswerBody:
        noted = mine.ledger.taken
        again: AnswerBody = right(table, vpn, replace(mine, ledger=replace(mine.ledger, taken=())))
        taken = {t.by: t for t in (*noted, *again.ledger.taken)}
        return replace(again, ledger=replace(again.ledger, taken=tuple(t for _, t in sorted(taken.items()))))

    return wrong


@planted("planning.gifts._acknowledged", expects=("I2", "I1", "rule 15"), profiles=("run-dry", "unseen"))
def gift_taken_back_when_nobody_answers(right: Any) -> Any:
    """A giver that has not heard for ten seconds that its gift was taken takes it back."""
    since: dict[tuple[str, int], float] = {}

    def wrong(table: Any, vpn: Record, mine: AnswerBody, ending: bool) -> AnswerBody:
        found: AnswerBody = right(table, vpn, mine, ending)
        now = asyncio.get_running_loop().time()

        def late(gift: Gift) -> bool:
            begun = since.setdefault((f"{vpn.id} {gift.by}", gift.number), now)
            return gift.by == table.site and now - begun > 10.0

        back = [r for g in found.ledger.gifts if late(g) for r in g.ranges]
        prefixes = vpn.body.prefixes
        ledger = replace(
            found.ledger,
            gifts=tuple(g for g in found.ledger.gifts if not late(g)),
            got=ranges.plus(found.ledger.got, back, prefixes),
            given=ranges.minus(found.ledger.given, back, prefixes),
        )
        return replace(found, ledger=ledger, ranges=ranges.plus(found.ranges, back, prefixes)) if back else found

    return wrong


@planted("planning.gifts._for_me", expects=("I2", "I1", "rule 15"), profiles=("run-dry",), also=ANYTHING)
def gift_to_somebody_else_taken(right: Any) -> Any:
    """Whoever sees a gift takes it, whoever it is for."""

    def wrong(table: Any, vpn: Record, ledger: Ledger) -> Iterable[Gift]:
        for _, said in partners(table, vpn):
            yield from said.ledger.gifts

    return wrong


@planted("planning.gifts._inherited", expects=("I2", "I1", "rule 15"), profiles=("run-dry", "churn"))
def leaving_brings_back_what_was_given(right: Any) -> Any:
    """The home takes the whole share of a member that leaves, what that had given to others as well."""

    def wrong(table: Any, vpn: Record, mine: AnswerBody, share: Share, stay: list[str]) -> Ledger:
        found: Ledger = right(table, vpn, mine, share, stay)
        prefixes = vpn.body.prefixes
        return replace(
            found,
            got=ranges.plus(found.got, share.ranges, prefixes),
            given=ranges.minus(found.given, share.ranges, prefixes),
        )

    return wrong

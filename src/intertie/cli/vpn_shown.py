"""Vpns, plans and verifications as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from intertie.cli.screen import Screen
from intertie.cli.shown import age, milliseconds, moment, number, percent, ranges, yes
from intertie.cli.table import Table, columns

if TYPE_CHECKING:
    from intertie.client import Answer
    from intertie.model.views import (
        EndView,
        MemberView,
        PairView,
        PlanChange,
        PlanView,
        ProposalView,
        SupersededView,
        Verified,
        VpnView,
    )

LIST = columns("NAME", "KIND", "TRANSPORT", "PHASE", "HOME", "MEMBERS", "REASON…")
MEMBERS = columns("SITE", "NETWORK", "ANSWER", "HEALTH", ">RTT", ">LOSS", ">PORTS", "PROBED")
PAIRS = columns("BETWEEN", "AND", "HEALTH", ">RTT", ">LOSS", "PROBED")
ROUGH = 8
"""From so many on, free addresses are told rounded down."""
VERIFIED = columns("FROM", "TO", ">RTT", ">MTU", "OK", "BROKEN AT", "HINT…")


def vpn_list(items: Sequence[VpnView]) -> Table:
    rows = [
        (
            each.name,
            each.kind,
            each.transport,
            each.phase.value,
            each.owner,
            ",".join(member.site for member in each.members),
            each.reason,
        )
        for each in items
    ]
    return Table(LIST, rows, "no Vpns; make one: intertie vpn create NAME --kind l2 -a SITE:NETWORK -a SITE")


def show_vpn(screen: Screen, vpn: VpnView) -> None:
    """All that is known: the facts, each member's word, what packets said, and what would help."""
    over = f" over {vpn.transport}" if vpn.transport else ""
    screen.styled(f"{vpn.name}  {vpn.kind}{over}  ", vpn.phase.value)
    for name, value in _facts(vpn):
        if value:
            screen.line(f"  {name:<9} {value}")
    screen.line()
    screen.table(Table(MEMBERS, [_member(each) for each in vpn.members]))
    for each in vpn.members:
        # Not a column: two ranges of IPv6 would not fit beside the rest.
        if held := ranges(each.ranges):
            screen.line(f"  {each.site} holds {held}{_left(each)}")
        if each.reason:
            screen.line(f"  {each.site}: {each.reason}")
        if each.hint:
            screen.line(f"    hint: {each.hint}")
    for lost in vpn.superseded:
        screen.line()
        for line in _superseded(vpn, lost):
            screen.line(line)
    if vpn.pairs:
        screen.line()
        screen.table(Table(PAIRS, [_pair(pair) for pair in vpn.pairs]))


def _left(member: MemberView) -> str:
    """How many addresses it has left for hosts, if it says so, and whom it asks for more."""
    left = ", ".join(f"{n} free" if n < ROUGH else f"{n} or more free" for n in member.free)
    asks = f", asks {member.asks} for more" if member.asks else ""
    return f" ({left}{asks})" if left else ""


def _superseded(vpn: VpnView, lost: SupersededView) -> list[str]:
    """What this site wrote before it heard of the adoption, and how to ask for it again."""
    words = f"  {lost.by} adopted it; version {lost.version}, written here, yielded "
    again = ["delete", vpn.name] if lost.ending else ["update", vpn.name]
    if not lost.ending:
        for each in lost.attachments:
            again += ["-a", ":".join(part for part in (each.site, each.network) if part)]
        again += ["--name", lost.name] if lost.name != vpn.name else []
    return [
        f"{words}{age(lost.at)}: {lost.what}",
        f"    again: {shlex.join(['intertie', 'vpn', *again])}",
    ]


def waiting_for(vpn: VpnView) -> str:
    """The home that is to speak on a change, if one waits for it."""
    pending = getattr(vpn, "pending", None)
    return pending.waiting_for if pending is not None else ""


def _facts(vpn: VpnView) -> list[tuple[str, str]]:
    epoch = f", epoch {vpn.epoch}" if vpn.epoch else ""
    label = f"{vpn.vni}, route target {vpn.route_target}, mtu {vpn.mtu}"
    pending = waiting_for(vpn)
    return [
        ("id", vpn.id),
        ("home", f"{vpn.owner}, version {'.'.join(map(str, vpn.version))}{epoch}"),
        ("project", vpn.project),
        ("prefixes", ", ".join(vpn.prefixes)),
        ("vni", label),
        ("require", vpn.require),
        ("created", moment(vpn.created_at)),
        ("pending", f"a change waits for {pending}, the home" if pending else ""),
        *(("pending", _proposal(each)) for each in vpn.proposals),
        ("reason", vpn.reason),
    ]


def _proposal(asked: ProposalView) -> str:
    """A change that was asked for here, and what its home says."""
    what = asked.change + (" --force" if asked.force else "")
    to = f" to {asked.name}: {', '.join(asked.members)}" if asked.members else ""
    if asked.answer == "waiting":
        return f"{what}{to} waits for {asked.waiting_for} until {moment(asked.not_after)}; intertie vpn withdraw"
    return f"{what}{to} was {asked.answer} by {asked.waiting_for}: {asked.reason}"


def _member(member: MemberView) -> tuple[str, ...]:
    return (
        member.site,
        member.network,
        member.answer + (" (leaving)" if member.leaving else ""),
        member.health.value,
        milliseconds(member.rtt_ms),
        percent(member.loss),
        number(member.ports_in_use),
        age(member.probed_at),
    )


def _pair(pair: PairView) -> tuple[str, ...]:
    return (
        pair.from_,
        pair.to,
        pair.health.value,
        milliseconds(pair.rtt_ms),
        percent(pair.loss),
        age(pair.probed_at),
    )


def verified(found: Verified) -> Table:
    rows = [
        (
            _end(each.from_),
            _end(each.to),
            milliseconds(each.rtt_ms),
            number(each.mtu),
            yes(each.ok),
            each.broken_at,
            each.hint,
        )
        for each in found.pairs
    ]
    return Table(VERIFIED, rows, "no pair to verify")


def _end(end: EndView) -> str:
    """`nantes/web 10.20.0.2`, as far as it is known."""
    place = "/".join(part for part in (end.site, end.host) if part)
    return f"{place} {end.address}".strip()


def plan_lines(changes: Sequence[PlanChange]) -> list[str]:
    """Like a diff: a mark, the site, what happens there."""
    width = max((len(each.site) for each in changes), default=0)
    return [f"{each.op} {each.site:<{width}}  {_what(each)}".rstrip() for each in changes]


def _what(change: PlanChange) -> str:
    return change.text.removeprefix(f"{change.op} ") or change.what


def show_plan(screen: Screen, plan: Answer[PlanView], words: Sequence[str] = ()) -> None:
    """The plan; with the `words` of the command, the line that applies exactly this."""
    if screen.is_json:
        screen.document(plan.told)
        return
    found = plan.value
    if found.base_version:
        screen.note(f"on version {found.base_version}:")
    for part in (found.changes, found.refusals, found.notes):
        for line in plan_lines(part):
            screen.mark(line)
    screen.note("no change" if not found.changes else "this is a plan: nothing was changed")
    if words and found.base_version:
        screen.line()
        screen.line("apply exactly this:")
        screen.line(f"  {shlex.join(['intertie', 'vpn', *words, '--base', found.base_version])}")

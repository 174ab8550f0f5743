"""Vpns, plans and verifications as text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from intertie.cli.body import Body
from intertie.cli.screen import Screen
from intertie.cli.shown import age, milliseconds, moment, number, percent, ranges, reason, yes
from intertie.cli.table import Table, columns

LIST = columns("NAME", "KIND", "TRANSPORT", "PHASE", "HOME", "MEMBERS", "REASON…")
MEMBERS = columns("SITE", "NETWORK", "ANSWER", "HEALTH", ">RTT", ">LOSS", ">PORTS", "PROBED")
PAIRS = columns("BETWEEN", "AND", "HEALTH", ">RTT", ">LOSS", "PROBED")
ROUGH = 8
"""From so many on, free addresses are told rounded down."""
VERIFIED = columns("FROM", "TO", ">RTT", ">MTU", "OK", "BROKEN AT", "HINT…")


def vpn_list(items: list[Body]) -> Table:
    rows = [
        (
            each.text("name"),
            each.text("kind"),
            each.text("transport"),
            each.text("phase"),
            each.text("owner"),
            ",".join(member.text("site") for member in each.parts("members")),
            each.text("reason"),
        )
        for each in items
    ]
    return Table(LIST, rows, "no Vpns; make one: intertie vpn create NAME --kind l2 -a SITE:NETWORK -a SITE")


def show_vpn(screen: Screen, vpn: Body) -> None:
    """All that is known: the facts, each member's word, what packets said, and what would help."""
    over = f" over {vpn.text('transport')}" if vpn.text("transport") else ""
    screen.styled(f"{vpn.text('name')}  {vpn.text('kind')}{over}  ", vpn.text("phase"))
    for name, value in _facts(vpn):
        if value:
            screen.line(f"  {name:<9} {value}")
    screen.line()
    screen.table(Table(MEMBERS, [_member(each) for each in vpn.parts("members")]))
    for each in vpn.parts("members"):
        why, hint = reason(each)
        # Not a column: two ranges of IPv6 would not fit beside the rest.
        if held := ranges(each.parts("ranges")):
            screen.line(f"  {each.text('site')} holds {held}{_left(each)}")
        if why:
            screen.line(f"  {each.text('site')}: {why}")
        if hint:
            screen.line(f"    hint: {hint}")
    for each in vpn.parts("superseded"):
        screen.line()
        for line in _superseded(vpn, each):
            screen.line(line)
    if pairs := vpn.parts("pairs"):
        screen.line()
        screen.table(Table(PAIRS, [_pair(each) for each in pairs]))


def _left(member: Body) -> str:
    """How many addresses it has left for hosts, if it says so, and whom it asks for more."""
    left = ", ".join(f"{n} free" if int(n) < ROUGH else f"{n} or more free" for n in member.texts("free"))
    asks = f", asks {member.text('asks')} for more" if member.text("asks") else ""
    return f" ({left}{asks})" if left else ""


def _superseded(vpn: Body, lost: Body) -> list[str]:
    """What this site wrote before it heard of the adoption, and how to ask for it again."""
    words = f"  {lost.text('by')} adopted it; version {lost.text('version')}, written here, yielded "
    name = vpn.text("name")
    again = ["delete", name] if lost.flag("ending") else ["update", name]
    if not lost.flag("ending"):
        for each in lost.parts("attachments"):
            again += ["-a", ":".join(part for part in (each.text("site"), each.text("network")) if part)]
        again += ["--name", lost.text("name")] if lost.text("name") != name else []
    return [
        f"{words}{age(lost.text('at'))}: {lost.text('what')}",
        f"    again: {shlex.join(['intertie', 'vpn', *again])}",
    ]


def _facts(vpn: Body) -> list[tuple[str, str]]:
    epoch = f", epoch {vpn.text('epoch')}" if vpn.count("epoch") else ""
    label = f"{vpn.text('vni')}, route target {vpn.text('route_target')}, mtu {vpn.text('mtu')}"
    pending = vpn.part("pending").text("waiting_for")
    return [
        ("id", vpn.text("id")),
        ("home", f"{vpn.text('owner')}, version {'.'.join(vpn.texts('version'))}{epoch}"),
        ("project", vpn.text("project")),
        ("prefixes", ", ".join(vpn.texts("prefixes"))),
        ("vni", label),
        ("require", vpn.text("require")),
        ("created", moment(vpn.text("created_at"))),
        ("pending", f"a change waits for {pending}, the home" if pending else ""),
        *(("pending", _proposal(each)) for each in vpn.parts("proposals")),
        ("reason", vpn.text("reason")),
    ]


def _proposal(asked: Body) -> str:
    """A change that was asked for here, and what its home says."""
    what = asked.text("change") + (" --force" if asked.flag("force") else "")
    to = f" to {asked.text('name')}: {', '.join(asked.texts('members'))}" if asked.texts("members") else ""
    if asked.text("answer") == "waiting":
        until = f"waits for {asked.text('waiting_for')} until {moment(asked.text('not_after'))}"
        return f"{what}{to} {until}; intertie vpn withdraw"
    return f"{what}{to} was {asked.text('answer')} by {asked.text('waiting_for')}: {asked.text('reason')}"


def _member(member: Body) -> tuple[str, ...]:
    word = member.text("answer") + (" (leaving)" if member.flag("leaving") else "")
    return (
        member.text("site"),
        member.text("network"),
        word,
        member.text("health"),
        milliseconds(member.number("rtt_ms")),
        percent(member.number("loss")),
        number(member.count("ports_in_use")),
        age(member.text("probed_at")),
    )


def _pair(pair: Body) -> tuple[str, ...]:
    return (
        pair.text("from"),
        pair.text("to"),
        pair.text("health"),
        milliseconds(pair.number("rtt_ms")),
        percent(pair.number("loss")),
        age(pair.text("probed_at")),
    )


def verified(body: Body) -> Table:
    rows = [
        (
            _end(each.part("from")),
            _end(each.part("to")),
            milliseconds(each.number("rtt_ms")),
            number(each.count("mtu")),
            yes(each.flag("ok")),
            each.text("broken_at"),
            each.text("hint"),
        )
        for each in body.parts("pairs")
    ]
    return Table(VERIFIED, rows, "no pair to verify")


def _end(end: Body) -> str:
    """`nantes/web 10.20.0.2`, as far as it is known."""
    place = "/".join(part for part in (end.text("site"), end.text("host")) if part)
    return f"{place} {end.text('address')}".strip()


def plan_lines(body: Body, part: str = "changes") -> list[str]:
    """Like a diff: a mark, the site, what happens there."""
    changes = body.parts(part)
    width = max((len(each.text("site")) for each in changes), default=0)
    return [f"{each.text('op')} {each.text('site'):<{width}}  {_what(each)}".rstrip() for each in changes]


def _what(change: Body) -> str:
    text = change.text("text").removeprefix(f"{change.text('op')} ")
    return text or change.text("what")


def show_plan(screen: Screen, body: Body, words: Sequence[str] = ()) -> None:
    """The plan; with the `words` of the command, the line that applies exactly this."""
    if screen.is_json:
        screen.json(body)
        return
    base = body.text("base_version")
    if base:
        screen.note(f"on version {base}:")
    for part in ("changes", "refusals", "notes"):
        for line in plan_lines(body, part):
            screen.mark(line)
    screen.note("no change" if not body.parts("changes") else "this is a plan: nothing was changed")
    if words and base:
        screen.line()
        screen.line("apply exactly this:")
        screen.line(f"  {shlex.join(['intertie', 'vpn', *words, '--base', base])}")

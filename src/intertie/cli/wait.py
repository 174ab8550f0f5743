"""Waiting until a Vpn is what was asked for: `judge` decides from one look, `until_*` look again and again.

A wait ends early only on what will not change by itself: a refusal, or everything there but a part that was refused
and may be missing (`require any`). What may still come right (silence, a pair that is down) is waited for to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from intertie.cli.body import Body
from intertie.cli.client import Client, Reply, segment
from intertie.cli.problem import Problem
from intertie.cli.screen import Progress
from intertie.cli.shown import reason

FIRST_LOOK, LONGEST_PAUSE = 0.1, 1.0
HOLD = 2.0
"""Seconds for which this site may hold its answer: long enough to hear most refusals in the agent's own words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`done` ends the wait; then `problem` says what is not as it was asked for."""

    done: bool
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """The Vpn shall be ready, with exactly these member sites. `before`: its version when a change was asked for."""

    sites: frozenset[str]
    before: str = ""


def state(vpn: Body) -> str:
    """One line: the phase, and each member's word and health."""
    return f"{vpn.text('phase')}: " + ", ".join(_member(each) for each in vpn.parts("members"))


def _member(member: Body) -> str:
    answer = member.text("answer")
    return f"{member.text('site')} {answer}" + (f"/{member.text('health')}" if answer == "accepted" else "")


def judge(vpn: Body, wish: Wish) -> Verdict:
    """Whether `vpn` is as wished, or never will be by itself."""
    members = {each.text("site"): each for each in vpn.parts("members")}
    moved = wish.before not in ("", ".".join(vpn.texts("version")))
    missing = sorted(wish.sites - members.keys())
    if vpn.text("phase") == "refused" or (missing and moved and vpn.text("reason")):
        return Verdict(True, _refused(vpn))
    if missing or members.keys() - wish.sites:
        return Verdict(False)
    if vpn.text("phase") == "ready":
        return Verdict(True)
    refused = [site for site, each in members.items() if each.text("answer") == "refused"]
    if vpn.text("require") == "any" and refused and _rest_is_ready(vpn, refused):
        return Verdict(True, _partial(vpn))
    return Verdict(False)


def too_late(vpn: Body, seconds: float) -> Problem:
    """What to say of `vpn` when the time is over."""
    if held := [each for each in vpn.parts("members") if each.text("answer") == "held"]:
        return _in_use(held)
    if vpn.text("phase") == "degraded":
        return _partial(vpn)
    why = vpn.text("reason")
    return Problem(
        "not-converged",
        f"{vpn.text('name')} is {vpn.text('phase')} after {seconds:g} s" + (f": {why}" if why else ""),
        f"it goes on by itself; look: intertie vpn show {vpn.text('name')}",
        sites=tuple(each.text("site") for each in vpn.parts("members") if each.text("answer") == "waiting"),
    )


def _rest_is_ready(vpn: Body, refused: list[str]) -> bool:
    rest = [each for each in vpn.parts("members") if each.text("site") not in refused]
    pairs = [each for each in vpn.parts("pairs") if not {each.text("from"), each.text("to")} & set(refused)]
    return all(each.text("answer") == "accepted" for each in rest) and all(
        each.text("health") == "ready" for each in pairs
    )


def _refused(vpn: Body) -> Problem:
    by = [each for each in vpn.parts("members") if each.text("answer") == "refused"]
    hints = [hint for each in by if (hint := reason(each)[1])]
    said = vpn.text("reason") or "; ".join(f"{each.text('site')}: {each.text('reason')}" for each in by)
    sites = tuple(each.text("site") for each in by) or ((said.partition(":")[0],) if ":" in said else ())
    return Problem("refused-by-member", said or "a member refused", hints[0] if hints else "", 409, sites)


def _partial(vpn: Body) -> Problem:
    bad = [each for each in vpn.parts("members") if each.text("answer") == "refused" or each.text("health") == "down"]
    hints = [hint for each in bad if (hint := reason(each)[1])]
    return Problem(
        "partial",
        f"{vpn.text('name')} is {vpn.text('phase')}: {vpn.text('reason')}",
        hints[0] if hints else f"intertie vpn show {vpn.text('name')}",
        sites=tuple(each.text("site") for each in bad),
    )


def _in_use(held: list[Body]) -> Problem:
    ports = [(each.text("site"), each.count("ports_in_use")) for each in held]
    return Problem(
        "in-use",
        ", ".join(f"{site} has {n} port{'' if n == 1 else 's'} in use" for site, n in ports),
        "it goes when these hosts are gone; vpn delete --force does not wait, and ends the Vpn at every site",
        409,
        tuple(site for site, _ in ports),
    )


# ── Looking ────────────────────────────────────────────────────────────────────────────────────────────────


class Deadline:
    """`seconds` from now."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._until = clock() + seconds

    def looks(self) -> Iterator[None]:
        """Yields at once and then at growing intervals; the last time when the time is over."""
        pause = FIRST_LOOK
        while True:
            left = self._until - self._clock()
            yield
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(pause * 1.5, LONGEST_PAUSE)


def until_ready(client: Client, id: str, wish: Wish, deadline: Deadline, progress: Progress) -> tuple[Reply, Verdict]:
    """Look until `judge` is done or the time is over: the last look, and what is wrong with it."""
    advice = ""
    for _ in deadline.looks():
        reply = client.get(f"/v1/vpns/{segment(id)}")
        progress.say(state(reply.body))
        # A home that withdraws a Vpn drops its members' answers, and with them what would have helped.
        advice = next((hint for each in reply.body.parts("members") if (hint := reason(each)[1])), advice)
        verdict = judge(reply.body, wish)
        if verdict.problem is not None and not verdict.problem.hint:
            verdict.problem.hint = advice
        if verdict.done:
            return reply, verdict
    return reply, Verdict(True, too_late(reply.body, deadline.seconds))


def until_gone(client: Client, id: str, deadline: Deadline, progress: Progress) -> Problem | None:
    """Look until nobody knows the Vpn any more; otherwise what keeps it."""
    last = Body(None)
    for _ in deadline.looks():
        try:
            last = client.get(f"/v1/vpns/{segment(id)}").body
        except Problem as problem:
            if problem.code == "not-found":
                return None
            raise
        progress.say(state(last))
    return too_late(last, deadline.seconds)

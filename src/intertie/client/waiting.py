"""Waiting until a Vpn is what was asked for: `judge` decides from one look, `until_*` look again and again.

A wait ends early only on what will not change by itself: a refusal, or everything there but a part that was refused
and may be missing (`require any`). What may still come right (silence, a pair that is down) is waited for to the end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from intertie.client.vpns import Seen, Vpns
from intertie.model.errors import Conflict, IntertieError, NotFound, Refused, Unavailable
from intertie.model.views import Health, MemberView, Phase, VpnView

FIRST_LOOK, LONGEST_PAUSE = 0.1, 1.0

Say = Callable[[str], None]
"""Is told each state of a wait, in words."""


def quietly(words: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`done` ends the wait; then `problem` says what is not as it was asked for."""

    done: bool
    problem: IntertieError | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """The Vpn shall be ready, with exactly these member sites. `before`: its version when a change was asked for."""

    sites: frozenset[str]
    before: str = ""


@dataclass(frozen=True, slots=True)
class Settled:
    """The last look of a wait, and what is not as it was asked for."""

    seen: Seen
    problem: IntertieError | None = None

    def checked(self) -> Seen:
        """The Vpn, if all is as it was asked for; otherwise the problem is raised."""
        if self.problem is not None:
            raise self.problem
        return self.seen


def version(vpn: VpnView) -> str:
    """As people read it."""
    return ".".join(map(str, vpn.version))


def state(vpn: VpnView) -> str:
    """One line: the phase, and each member's word and health."""
    return f"{vpn.phase}: " + ", ".join(_member(each) for each in vpn.members)


def _member(member: MemberView) -> str:
    return f"{member.site} {member.answer}" + (f"/{member.health}" if member.answer == "accepted" else "")


def judge(vpn: VpnView, wish: Wish) -> Verdict:
    """Whether `vpn` is as wished, or never will be by itself."""
    members = {each.site: each for each in vpn.members}
    moved = wish.before not in ("", version(vpn))
    missing = sorted(wish.sites - members.keys())
    if vpn.phase == Phase.REFUSED or (missing and moved and vpn.reason):
        return Verdict(True, _refused(vpn))
    if missing or members.keys() - wish.sites:
        return Verdict(False)
    if vpn.phase == Phase.READY:
        return Verdict(True)
    refused = [site for site, each in members.items() if each.answer == "refused"]
    if vpn.require == "any" and refused and _rest_is_ready(vpn, refused):
        return Verdict(True, _partial(vpn))
    return Verdict(False)


def too_late(vpn: VpnView, seconds: float) -> IntertieError:
    """What to say of `vpn` when the time is over."""
    if held := [each for each in vpn.members if each.answer == "held"]:
        return _in_use(held)
    if vpn.phase == Phase.DEGRADED:
        return _partial(vpn)
    return Unavailable(
        f"{vpn.name} is {vpn.phase} after {seconds:g} s" + (f": {vpn.reason}" if vpn.reason else ""),
        code="not-converged",
        hint=f"it goes on by itself; look: intertie vpn show {vpn.name}",
        sites=tuple(each.site for each in vpn.members if each.answer == "waiting"),
    )


def _rest_is_ready(vpn: VpnView, refused: list[str]) -> bool:
    rest = [each for each in vpn.members if each.site not in refused]
    pairs = [each for each in vpn.pairs if not {each.from_, each.to} & set(refused)]
    return all(each.answer == "accepted" for each in rest) and all(each.health == Health.READY for each in pairs)


def _refused(vpn: VpnView) -> IntertieError:
    by = [each for each in vpn.members if each.answer == "refused"]
    said = vpn.reason or "; ".join(f"{each.site}: {each.reason}" for each in by)
    sites = tuple(each.site for each in by) or ((said.partition(":")[0],) if ":" in said else ())
    return Refused(said or "a member refused", code="refused-by-member", hint=_advice(by), sites=sites)


def _partial(vpn: VpnView) -> IntertieError:
    bad = [each for each in vpn.members if each.answer == "refused" or each.health == Health.DOWN]
    return Refused(
        f"{vpn.name} is {vpn.phase}: {vpn.reason}",
        code="partial",
        hint=_advice(bad) or f"intertie vpn show {vpn.name}",
        sites=tuple(each.site for each in bad),
    )


def _advice(members: Iterable[MemberView]) -> str:
    """The first of them that says what would help."""
    return next((each.hint for each in members if each.hint), "")


def _in_use(held: list[MemberView]) -> IntertieError:
    ports = [(each.site, each.ports_in_use) for each in held]
    return Conflict(
        ", ".join(f"{site} has {n} port{'' if n == 1 else 's'} in use" for site, n in ports),
        code="in-use",
        hint="it goes when these hosts are gone; vpn delete --force does not wait, and ends the Vpn at every site",
        sites=tuple(site for site, _ in ports),
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


def until_ready(vpns: Vpns, id: str, wish: Wish, deadline: Deadline, say: Say = quietly) -> Settled:
    """Look until `judge` is done or the time is over."""
    advice = ""
    for _ in deadline.looks():
        seen = vpns.get(id)
        say(state(seen.value))
        # A home that withdraws a Vpn drops its members' answers, and with them what would have helped.
        advice = _advice(seen.value.members) or advice
        verdict = judge(seen.value, wish)
        if verdict.problem is not None and not verdict.problem.hint:
            verdict.problem.hint = advice
        if verdict.done:
            return Settled(seen, verdict.problem)
    return Settled(seen, too_late(seen.value, deadline.seconds))


def until_gone(vpns: Vpns, id: str, deadline: Deadline, say: Say = quietly) -> None:
    """Look until nobody knows the Vpn any more; otherwise raise what keeps it."""
    for _ in deadline.looks():
        try:
            last = vpns.get(id).value
        except NotFound:
            return
        say(state(last))
    raise too_late(last, deadline.seconds)

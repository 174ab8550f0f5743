"""The hand that writes a story: its chance, its clock, what users believe, and the steps so far.

`do` takes a step that is due now or later; what is later is believed only when the clock gets there. Everything that
acts in a story is a function of one `Writer`; one that finds nothing to act on writes nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import TypeVar

from intertie.testing.simulator.profiles import Profile
from intertie.testing.simulator.rates import Rates
from intertie.testing.simulator.story import Step, Verb
from intertie.testing.simulator.workload.known import Known, Net, Tie, overlap

T = TypeVar("T")
Act = Callable[["Writer"], None]

NET_NAMES = ("blue", "green", "red", "amber", "violet", "white", "black", "grey")
VPN_NAMES = ("shop", "backup", "voice", "core", "farm", "mail", "video", "print")
TINY = ("ipv4/29", "ipv4/28", "ipv4/27", "ipv4/30", "ipv6/126", "ipv6/125", "ipv6/124")
WIDE = ("ipv4/24", "ipv4/24", "ipv4/20", "ipv4/26", "ipv4/16")


class Writer:
    """See the module's docstring."""

    def __init__(self, chance: Random, profile: Profile, sites: tuple[str, ...]) -> None:
        self.chance = chance
        self.profile = profile
        self.known = Known(sites)
        self.now = 0.0
        self.steps: list[Step] = []
        self.off: tuple[str, ...] = ()
        """Kinds of faults that are off in this story."""
        self.focus: tuple[str, ...] = ()
        """Sites at which most of it happens; () for no theme."""
        self.points: Rates = profile.points
        self.lies: Rates = profile.lies
        self.force = 1.0
        """How heavy faults are in this story: their lengths and probabilities are scaled by it."""
        self._later: list[tuple[float, int, Step]] = []
        self._numbers: dict[str, int] = {}

    # ── Writing ────────────────────────────────────────────────────────────────────────────────────────────

    def do(self, step: Step, after: float = 0.0) -> None:
        """One more step, `after` seconds from now (its own `at` is not looked at)."""
        step = replace(step, at=round(self.now + after, 3))
        self.steps.append(step)
        if after > 0.0:
            heapq.heappush(self._later, (step.at, len(self.steps), step))
        else:
            self.known.note(step)

    def go(self, seconds: float) -> None:
        """Let time pass; what was written for later comes to be believed on the way."""
        self.now += seconds
        while self._later and self._later[0][0] <= self.now:
            self.known.note(heapq.heappop(self._later)[2])

    def rest(self, low: float, high: float) -> None:
        """Let some time pass, and no less than lies between two things in this profile."""
        self.go(max(self.chance.uniform(low, high), self.profile.least))

    def may(self, fault: str) -> bool:
        """Whether a kind of fault is on in this story."""
        return fault in self.profile.faults and fault not in self.off

    # ── Drawing ────────────────────────────────────────────────────────────────────────────────────────────

    def pick(self, rates: Rates) -> str:
        """One of the names, by weight."""
        left = self.chance.random() * sum(rates.values())
        for name, weight in rates.items():
            left -= weight
            if left < 0.0:
                return name
        return next(reversed(list(rates)))

    def one(self, found: Sequence[T]) -> T | None:
        return self.chance.choice(found) if found else None

    def some(self, found: Sequence[T], low: int, high: int) -> list[T]:
        """Between `low` and `high` of them, in an order of chance; fewer if there are fewer."""
        return self.chance.sample(found, min(len(found), self.chance.randint(low, max(low, high))))

    def odds(self, probability: float) -> bool:
        return self.chance.random() < probability

    def patience(self) -> float:
        return self.chance.choice(self.profile.waits)

    def trouble(self) -> float:
        """How long something that breaks now lasts, seconds."""
        low, high = self.profile.trouble
        short = self.chance.expovariate(1.0) * (high - low) / 4 * self.force
        return round(min(low + short, high), 1)

    def site(self) -> str | None:
        """A site that runs, of those that the story is about if it can be."""
        up = self.known.up(self.now)
        near = [s for s in up if s in self.focus]
        return self.one(near if near and self.odds(0.8) else up)

    def other(self, site: str) -> str | None:
        """Another site, running or not."""
        there = [s for s in self.known.sites if s != site]
        near = [s for s in there if s in self.focus]
        return self.one(near if near and self.odds(0.8) else there)

    def project(self) -> str:
        return self.pick(self.profile.projects)

    def tie(self) -> Tie | None:
        """A Vpn that stands and whose home runs."""
        found = [t for t in self.known.ties if not t.closing and self.known.runs(t.home, self.now)]
        near = [t for t in found if t.home in self.focus]
        return self.one(near if near and self.odds(0.7) else found)

    def member(self, tie: Tie) -> str | None:
        """A member that runs and is not the home."""
        return self.one([s for s in tie.members if s != tie.home and self.known.runs(s, self.now)])

    def net(self) -> Net | None:
        """A network at a site that runs, on which hosts may start."""
        found = [n for n in self.known.nets if self.known.runs(n.site, self.now) and self._open(n)]
        near = [n for n in found if n.site in self.focus]
        return self.one(near if near and self.odds(0.8) else found)

    def _open(self, net: Net) -> bool:
        return not any(t.closing for t in self.known.ties_on(net))

    # ── Names and prefixes ─────────────────────────────────────────────────────────────────────────────────

    def vpn_name(self, project: str) -> str:
        """A name that no Vpn has: that of one which has ended, sooner or later."""
        taken = {t.name for t in self.known.ties if t.project == project}
        return self._unused(VPN_NAMES, taken)

    def net_name(self, project: str) -> str:
        taken = {n.name for n in self.known.nets if n.project == project}
        return self._unused(NET_NAMES, taken)

    def _unused(self, words: Sequence[str], taken: set[str]) -> str:
        free = [w for w in words if w not in taken]
        return self.chance.choice(free) if free else f"{self.chance.choice(words)}-{self.number('name')}"

    def host_name(self) -> str:
        return f"h{self.number('host')}"

    def number(self, what: str) -> int:
        """1, 2, 3 … of each sort."""
        self._numbers[what] = self._numbers.get(what, 0) + 1
        return self._numbers[what]

    def prefixes(self, sort: str = "") -> tuple[str, ...]:
        """Of a new network, overlapping none so far: of the sort given, or of one of the profile's."""
        sort = sort or self.pick(self.profile.prefixes)
        match sort:
            case "ipv4":
                return (self._prefix(self.chance.choice(WIDE)),)
            case "ipv6":
                return (self._prefix("ipv6/64"),)
            case "dual":
                return self._prefix("ipv4/24"), self._prefix("ipv6/64")
            case _:
                return (self._prefix(self.chance.choice(TINY)),)

    def _prefix(self, size: str) -> str:
        family, _, length = size.partition("/")
        n = self.number("prefix")
        if family == "ipv6":
            return f"2001:db8:{n:x}::/{length}"
        return f"10.{n % 250}.0.0/{length}"

    def crossing(self, prefixes: tuple[str, ...]) -> tuple[str, ...]:
        """Prefixes that overlap the given ones: the same, a half, or what they lie in."""
        found = []
        for text in prefixes:
            prefix = ip_network(text)
            halves = list(prefix.subnets()) if prefix.prefixlen < prefix.max_prefixlen - 2 else [prefix]
            found.append(str(self.chance.choice([prefix, halves[0], halves[-1], prefix.supernet()])))
        return tuple(found)

    # ── What several acts need ─────────────────────────────────────────────────────────────────────────────

    def make_net(self, site: str, project: str, prefixes: tuple[str, ...], name: str = "") -> Net | None:
        """A new network; a moment later it can be attached."""
        name = name or self.net_name(project)
        self.do(Step(at=0, verb=Verb.NETWORK, site=site, project=project, name=name, prefixes=prefixes))
        self.rest(0.3, 2.0)
        return self.known.net(site, project, name)

    def routable(self, site: str, project: str, beside: Sequence[Net]) -> Net | None:
        """A network of `site` whose prefixes overlap none of `beside`: one that is there, or a new one."""
        mine = [n for n in self.known.nets if (n.site, n.project, n.made_for) == (site, project, "")]
        beside_all = [o.prefixes for o in beside]
        fit = [n for n in mine if not any(overlap(n.prefixes, p) for p in beside_all) and not self._routes(n, beside)]
        if fit and self.odds(0.8):
            return self.one(fit)
        return self.make_net(site, project, self.prefixes()) if self.known.runs(site, self.now) else None

    def _routes(self, net: Net, beside: Sequence[Net]) -> bool:
        """Whether a Vpn of the network routes what overlaps `beside`: one routing context."""
        others = [t for t in self.known.ties_on(net) if t.kind == "l3"]
        routed = [self.known.net(s, t.project, t.net_of(s)) for t in others for s in t.members]
        return any(overlap(r.prefixes, b.prefixes) for r in routed if r is not None for b in beside)

"""Seed and profile → a story: what users do and what breaks, most of it sensible, a good share contested.

A story opens with a few networks and Vpns. Then one act follows the other: something that makes sense, something
contested, a fault, or a whole scene, each drawn by the profile's rates. Three things make rare conjunctions likely:
every story turns a random part of the faults off (what is left meets more often), half of them have a theme (two or
three sites, one or two kinds of trouble, one crash point, one lie), and magnitudes are drawn per story, not per step.

The same seed and profile give the same story, on every machine and version.
"""

from __future__ import annotations

from random import Random

from intertie.testing.simulator.profiles import Profile
from intertie.testing.simulator.rates import Rates
from intertie.testing.simulator.story import Step, Story, Verb
from intertie.testing.simulator.workload.contested import MISTAKES
from intertie.testing.simulator.workload.deeds import DEEDS, SITE_NAMES, map_project, network, route, stretch
from intertie.testing.simulator.workload.faults import FAULTS
from intertie.testing.simulator.workload.races import RACES
from intertie.testing.simulator.workload.scenes import SCENES
from intertie.testing.simulator.workload.untimely import UNTIMELY
from intertie.testing.simulator.workload.writer import Act, Writer

ACTS: dict[str, dict[str, Act]] = {
    "deeds": DEEDS,
    "contested": {**MISTAKES, **UNTIMELY, **RACES},
    "faults": FAULTS,
    "scenes": {name: scene.play for name, scene in SCENES.items()},
}
"""All that can come next: table and name, as in a profile's rates."""

RULES: dict[int, tuple[str, ...]] = {
    3: ("crash-point", "disk-full", "blackout"),
    5: ("exchange-network", "liar"),
    7: ("late", "duplicate", "swizzle", "half-open"),
    8: ("stretch", "route", "grow", "shrink", "delete", "change-elsewhere"),
    9: ("unmapped", "no-more-mapped", "overlap", "other-prefixes"),
    10: ("dead-member", "isolate", "stand-still", "waits-for-the-silent"),
    11: ("crossing", "network-in-two", "two-stretch-one", "other-prefixes", "all-at-once"),
    12: ("delete-in-use", "leave-in-use", "forced", "take-back", "foreign-port", "remake", "leaver-dies"),
    13: ("change-elsewhere", "delete-elsewhere", "change-cut-off", "two-changes", "time-leap"),
    14: ("adoption", "two-adopt", "adopt-living", "unseen-grant", "adopted-while-closing"),
    15: ("enrol", "join-and-forget", "number-again", "run-dry", "given-and-adopted"),
    16: ("run-dry", "got-and-left", "hot-spot", "too-small", "used-address", "churn", "swap-member"),
    17: ("forget", "join-and-forget"),
    18: ("lost-store", "old-backup", "twin", "deaf-after-a-loss", "dies-while-it-recovers"),
    19: ("lost-store", "lose-store"),
    20: ("isolate", "split", "mass-restart"),
}
"""Rule of the federation → what exercises it, by name. A rule that is made later gets its functions in these tables,
and its line here: restore in full (18), reservations (21)."""


def story(seed: int, profile: Profile) -> Story:
    """The story of `seed` in this profile."""
    chance = Random(f"{seed}/{profile.name}/story")
    sites = tuple(SITE_NAMES[: chance.randint(*profile.sites)])
    w = Writer(chance, profile, sites)
    w.force = chance.choice((0.3, 1.0, 1.0, 3.0))
    delay = chance.choice(profile.delays)
    rates = _swarm(w)
    if w.odds(profile.themed):
        rates = _theme(w, rates)
    steps = chance.randint(*profile.steps)
    low, high = profile.seconds
    seconds = low + (high - low) * chance.random() ** 3  # short ones cost less, and meet as much
    _opening(w)
    if profile.absence:
        seconds = profile.absence * (1.0 if seed % 20 == 0 else chance.uniform(0.005, 0.03))
        _absence(w, seconds)
    _acts(w, rates, steps, seconds)
    return Story(
        seed=seed,
        profile=profile.name,
        sites=sites,
        steps=tuple(sorted(w.steps, key=lambda s: s.at)),
        delay=delay,
        calm=profile.calm,
        hidden=(chance.choice(sites[1:]),) if len(sites) > 1 and w.odds(profile.nat) else (),
        pace=profile.pace,
    )


def _swarm(w: Writer) -> dict[str, Rates]:
    """The rates of this story: a random part of the faults is off, and the scenes that need them."""
    profile = w.profile
    w.off = tuple(name for name, rate in profile.faults.items() if w.odds(profile.swarm) or not rate)
    faults = {name: rate for name, rate in profile.faults.items() if w.may(name)}
    scenes = {
        name: rate
        for name, rate in profile.scenes.items()
        if rate and (not SCENES[name].needs or any(w.may(n) for n in SCENES[name].needs))
    }
    return {"deeds": profile.deeds, "contested": profile.contested, "faults": faults, "scenes": scenes}


def _theme(w: Writer, rates: dict[str, Rates]) -> dict[str, Rates]:
    """Most of it happens at few sites, and what breaks is of one or two kinds, at one point, with one lie."""
    w.focus = tuple(w.some(w.known.sites, 2, 3))
    w.points = {w.pick(w.points): 1}
    w.lies = dict.fromkeys([w.pick(w.lies), w.pick(w.lies)], 1)
    return {table: _stressed(w, of) if table != "deeds" else of for table, of in rates.items()}


def _stressed(w: Writer, rates: Rates) -> Rates:
    loud = w.some(list(rates), 1, 2)
    return {name: rate * (12 if name in loud else 1) for name, rate in rates.items()}


def _opening(w: Writer) -> None:
    """A few networks and Vpns, before anything breaks; in some stories another project acts as well."""
    for project in w.profile.projects:
        if project != "demo" and w.odds(0.6):
            map_project(w, project, w.some(w.known.sites, 2, 3))
    for _ in range(w.chance.randint(*w.profile.opening)):
        if w.odds(0.2):
            network(w)
        (stretch if w.odds(0.6) else route)(w)
        w.rest(0.0, 2.0)
    w.rest(0.0, 10.0)


def _absence(w: Writer, seconds: float) -> None:
    """One site dies now, and comes back at the very end."""
    dead = w.chance.choice(w.known.sites)
    w.do(Step(at=0, verb=Verb.CRASH, site=dead))
    w.do(Step(at=0, verb=Verb.START, site=dead), seconds)


def _acts(w: Writer, rates: dict[str, Rates], steps: int, seconds: float) -> None:
    """One act after the other, until there are enough steps or the time is over."""
    mix = {table: rate for table, rate in w.profile.mix.items() if rates[table]}
    for _ in range(4 * steps):
        if len(w.steps) >= steps or w.now >= seconds:
            return
        before = len(w.steps)
        table = w.pick(mix)
        ACTS[table][w.pick(rates[table])](w)
        if len(w.steps) > before:
            _pause(w, steps, seconds)


def _pause(w: Writer, steps: int, seconds: float) -> None:
    """Often no time at all; on the whole, so much that the steps left fill the time left."""
    if w.odds(w.profile.haste):
        w.rest(0.0, 0.4)
        return
    left = max(1, steps - len(w.steps))
    mean = max(0.0, seconds - w.now) / left
    w.rest(0.0, 2.5 * mean)

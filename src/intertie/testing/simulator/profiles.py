"""Profiles: what kind of stories are told. A profile is data; `workload.story` draws from it.

Every rate is a weight beside the others of its table, not a probability; the names are those of the functions in the
tables of `workload.deeds`, `workload.contested`, `workload.faults` and `workload.scenes`. A new profile is
`replace(MIXED, name=…, …)` with what differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from intertie.testing.simulator.rates import (
    CONTESTED,
    DEEDS,
    FAULTS,
    LIES,
    MIX,
    POINTS,
    PREFIXES,
    PROJECTS,
    SCENES,
    UNSEEN,
    Rates,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How stories of one kind are drawn."""

    name: str
    about: str
    """One line, for people."""
    sites: tuple[int, int] = (3, 6)
    """How many sites stand at the start: from, to (both included)."""
    steps: tuple[int, int] = (20, 80)
    """About how many steps, from, to. What is begun is ended, so that a story may have some more."""
    seconds: tuple[float, float] = (60.0, 900.0)
    """How long its steps are spread over, virtual seconds, from, to."""
    calm: float = 120.0
    """Virtual seconds of rest before the end is judged."""
    nat: float = 0.15
    """Probability that one site of a story cannot be called."""
    delays: tuple[float, ...] = (0.005, 0.02, 0.02, 0.1)
    """One way between any two sites, seconds: one of these for the whole story."""
    opening: tuple[int, int] = (1, 3)
    """How many Vpns are made before anything breaks."""
    members: tuple[int, int] = (2, 4)
    """Of a Vpn, from, to."""
    mix: Rates = field(default_factory=lambda: MIX)
    """What comes next: one of `deeds`, `contested`, `faults`, `scenes`."""
    deeds: Rates = field(default_factory=lambda: DEEDS)
    contested: Rates = field(default_factory=lambda: CONTESTED)
    faults: Rates = field(default_factory=lambda: FAULTS)
    scenes: Rates = field(default_factory=lambda: SCENES)
    points: Rates = field(default_factory=lambda: POINTS)
    """Crash points."""
    lies: Rates = field(default_factory=lambda: LIES)
    prefixes: Rates = field(default_factory=lambda: PREFIXES)
    """Of users' networks."""
    projects: Rates = field(default_factory=lambda: PROJECTS)
    """Whose things are made: `demo` is mapped everywhere, any other where a step maps it."""
    any_share: float = 0.25
    """Probability that a Vpn is made with `require: any`."""
    waits: tuple[float, ...] = (0.0, 2.0, 5.0, 5.0)
    """How long users wait for an answer, seconds: one of these each time."""
    haste: float = 0.25
    """Probability that the next thing comes within 0.4 s of the last one."""
    least: float = 0.0
    """Seconds that lie between two things at least."""
    swarm: float = 0.45
    """Probability that a kind of fault is off for a whole story."""
    themed: float = 0.5
    """Probability that a story has a theme: most of it happens at two or three sites and one Vpn, and what breaks is
    of one or two kinds, with one crash point and one lie, again and again."""
    trouble: tuple[float, float] = (5.0, 90.0)
    """How long cuts, weather and outages last, virtual seconds, from, to."""
    pace: float = 1.0
    """Agents beat, look and probe this many times as seldom as usual."""
    absence: float = 0.0
    """Seconds for which one site is dead; 0: not at all. So long in every 20th story (0, 20, 40 …), for hours in the
    others: thirty days take half a minute to play."""


def _more(rates: Rates, some: Rates) -> Rates:
    return {**rates, **some}


MIXED = Profile(name="mixed", about="everything, in moderation")

_BROKEN_CLOUD = ("cloud-fails", "cloud-done", "cloud-partial", "cloud-slow", "break-segment", "occupy")
_PROFILES = (
    MIXED,
    replace(
        MIXED,
        name="brief",
        about="everything, in short stories of few sites: as many as a coffee break carries",
        sites=(3, 4),
        steps=(10, 30),
        seconds=(40.0, 240.0),
        calm=90.0,
    ),
    Profile(
        name="calm",
        about="nothing breaks, nobody errs: everything succeeds",
        mix={"deeds": 1},
        prefixes={"ipv4": 5, "ipv6": 2, "dual": 2},
        deeds=_more(DEEDS, {"enrol": 0.2}),
        waits=(5.0,),
        any_share=0.2,
        haste=0.0,
        least=8.0,
        seconds=(300.0, 900.0),
        themed=0.0,
    ),
    replace(
        MIXED,
        name="hot-spot",
        about="load moves from site to site until ranges are used up",
        mix={"deeds": 30, "contested": 10, "faults": 15, "scenes": 25},
        scenes={"hot-spot": 10, "churn": 2, "crash-point": 2, "split": 1},
        deeds=_more(DEEDS, {"host": 25, "drop-host": 12}),
        prefixes={"ipv4": 2, "dual": 1, "tiny": 5},
    ),
    replace(
        MIXED,
        name="run-dry",
        about="a member needs more addresses than its share has, while givers die, are cut off, leave, are adopted",
        sites=(3, 4),
        steps=(30, 70),
        seconds=(60.0, 400.0),
        opening=(0, 1),
        mix={"deeds": 15, "contested": 5, "faults": 12, "scenes": 60},
        scenes={
            "run-dry": 10,
            "got-and-left": 6,
            "given-and-adopted": 5,
            "crash-point": 2,
            "lost-store": 1,
            "split": 1,
        },
        deeds=_more(DEEDS, {"host": 20, "drop-host": 8}),
        prefixes={"ipv4": 1, "dual": 1, "tiny": 5},
        trouble=(5.0, 40.0),
    ),
    replace(
        MIXED,
        name="churn",
        about="members come and go",
        mix={"deeds": 45, "contested": 20, "faults": 15, "scenes": 25},
        deeds=_more(DEEDS, {"grow": 12, "shrink": 10, "delete": 6}),
        contested=_more(CONTESTED, {"leave-in-use": 6, "two-changes": 8, "swap-member": 8, "take-back": 5}),
        scenes=_more(SCENES, {"churn": 20, "adoption": 4}),
    ),
    replace(
        MIXED,
        name="exhaustion",
        about="prefixes so small that somebody goes away with nothing",
        mix={"deeds": 50, "contested": 20, "faults": 10, "scenes": 15},
        deeds=_more(DEEDS, {"host": 30, "stretch": 10, "grow": 10, "shrink": 5}),
        contested=_more(CONTESTED, {"too-small": 8, "odd-prefix": 5, "used-address": 5}),
        scenes={"hot-spot": 10, "churn": 5, "lost-store": 1, "dead-member": 3},
        prefixes={"tiny": 10, "dual": 1},
        members=(2, 3),
    ),
    replace(
        MIXED,
        name="many-small",
        about="many Vpns of two or three sites",
        sites=(4, 6),
        steps=(50, 90),
        opening=(5, 9),
        members=(2, 3),
        deeds=_more(DEEDS, {"stretch": 12, "route": 12, "delete": 6, "network": 6}),
    ),
    replace(
        MIXED,
        name="few-large",
        about="six to eight sites in one or two Vpns",
        sites=(6, 8),
        steps=(25, 60),
        opening=(1, 2),
        members=(5, 8),
        prefixes={"ipv4": 4, "ipv6": 2, "dual": 2},
    ),
    replace(
        MIXED,
        name="adoption",
        about="homes die, are adopted, and return",
        mix={"deeds": 40, "contested": 20, "faults": 12, "scenes": 25},
        scenes={"adoption": 20, "crash-point": 3, "split": 3, "lost-store": 1},
        contested=_more(CONTESTED, {"two-adopt": 10, "adopt-living": 6, "change-elsewhere": 6}),
        members=(3, 4),
    ),
    replace(
        MIXED,
        name="enrolment",
        about="sites join and are forgotten in the middle of things",
        sites=(2, 5),
        mix={"deeds": 45, "contested": 15, "faults": 15, "scenes": 25},
        deeds=_more(DEEDS, {"enrol": 5, "grant-project": 3}),
        contested=_more(CONTESTED, {"foreign-network": 6}),
        faults=_more(FAULTS, {"forget": 5}),
        scenes={"join-and-forget": 20, "dead-member": 5, "crash-point": 5, "split": 2, "lost-store": 1},
    ),
    replace(
        MIXED,
        name="partitions",
        about="links are cut, one way and both, and healed",
        mix={"deeds": 50, "contested": 20, "faults": 20, "scenes": 12},
        faults={"cut": 5, "one-way": 5, "isolate": 4, "heal": 2, "clog": 3, "half-open": 2, "drop": 3, "late": 2},
        scenes={"split": 10, "swizzle": 2, "adoption": 3, "churn": 2, "dead-member": 2},
        contested=_more(CONTESTED, {"change-cut-off": 8}),
    ),
    replace(
        MIXED,
        name="crashes",
        about="agents die before and after every write and every send",
        mix={"deeds": 45, "contested": 20, "faults": 22, "scenes": 18},
        faults={"crash": 3, "crash-point": 20, "mass-restart": 2, "disk-full": 1, "reset": 2},
        scenes={"crash-point": 20, "blackout": 2, "adoption": 2, "churn": 2},
    ),
    replace(
        MIXED,
        name="disks",
        about="disks full, databases lost, restored and cloned",
        mix={"deeds": 50, "contested": 15, "faults": 15, "scenes": 18},
        faults={
            "disk-full": 5,
            "lose-store": 4,
            "restore": 4,
            "put-back-whole": 2,
            "clone": 1.5,
            "crash": 2,
            "cut": 2,
            "isolate": 1,
            "cloud-slow": 1,
        },
        scenes={
            "lost-store": 8,
            "old-backup": 8,
            "old-directory": 4,
            "twin": 3,
            "full-disk": 6,
            "churn": 2,
            "adoption": 2,
        },
        contested=_more(CONTESTED, {"orphan": 12}),
    ),
    replace(
        MIXED,
        name="clouds",
        about="clouds fail, or say so, are slow, are meddled with",
        mix={"deeds": 55, "contested": 15, "faults": 20, "scenes": 12},
        faults={**dict.fromkeys(_BROKEN_CLOUD, 4.0), "crash-point": 2, "crash": 1},
        points={"before-driver": 3, "after-driver": 3, "after-write": 1},
        scenes={"failing-cloud": 10, "foreign-port": 8, "crash-point": 3, "churn": 2},
    ),
    replace(
        MIXED,
        name="clocks",
        about="clocks jump, agents stand still for up to ten minutes",
        seconds=(120.0, 1500.0),
        faults={"clock": 10, "pause": 10, "late": 2, "cut": 2, "crash": 1},
        scenes={"time-leap": 10, "stand-still": 10, "adoption": 3, "split": 2},
        contested=_more(CONTESTED, {"change-elsewhere": 8, "delete-elsewhere": 5, "change-cut-off": 5}),
        trouble=(5.0, 600.0),
    ),
    replace(
        MIXED,
        name="liars",
        about="one peer lies, equivocates, replays",
        mix={"deeds": 55, "contested": 15, "faults": 15, "scenes": 12},
        faults={"lie": 20, "duplicate": 2, "late": 2, "crash": 2, "cut": 2, "forget": 1},
        scenes={"liar": 20, "adoption": 2, "churn": 3, "dead-member": 2},
    ),
    replace(
        MIXED,
        name="long-silence",
        about="a peer is dead for thirty days",
        sites=(3, 3),
        steps=(15, 30),
        opening=(1, 2),
        mix={"deeds": 70, "contested": 20, "faults": 4, "scenes": 3},
        scenes={"churn": 2, "crash-point": 1},
        absence=30 * 86400.0,
        pace=120.0,
        calm=7200.0,
    ),
    replace(
        MIXED,
        name="unseen",
        about="changes behind a cut, words that nobody heard, news that come at once",
        sites=(3, 5),
        steps=(20, 45),
        mix={"deeds": 50, "contested": 10, "faults": 5, "scenes": 35},
        scenes=UNSEEN,
        contested=_more(CONTESTED, {"same-key": 10}),
        swarm=0.0,
        themed=0.2,
        trouble=(5.0, 40.0),
    ),
    replace(
        MIXED,
        name="swizzle",
        about="links are clogged one by one and open in another order",
        mix={"deeds": 50, "contested": 25, "faults": 12, "scenes": 18},
        faults={"clog": 10, "late": 6, "duplicate": 5, "drop": 2, "reset": 3, "crash": 1},
        scenes={"swizzle": 20, "churn": 5, "adoption": 2, "crash-point": 1},
    ),
)
PROFILES: dict[str, Profile] = {p.name: p for p in _PROFILES}

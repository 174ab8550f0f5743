"""Stories: what users do and what breaks in a federation, as a list of timed steps.

A story says everything that a run depends on but the agents' own code: played twice it gives the same trace. Taking a
step out leaves a story that can still be played, which is what shrinking lives on: a step that makes no sense where
it comes (the Vpn was never made, the site is down) does nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any


class Verb(Enum):
    """What a step does. `site` acts or is struck; the other fields of `Step` that count are in brackets."""

    # Users, at the API of `site`.
    NETWORK = "network"
    """Make network `name` with `prefixes`; [project]."""
    DROP_NETWORK = "drop-network"
    """[name]"""
    HOST = "host"
    """Start host `name` on network `network`; [prefixes: the addresses that it asks for]."""
    DROP_HOST = "drop-host"
    """[name]"""
    VPN = "vpn"
    """Make Vpn `name` of `kind` l2 or l3 over `attachments` ("site" or "site:network"); [require, seconds = wait]."""
    CHANGE = "change"
    """Give Vpn `name` exactly these `attachments`; asked at `site`, its home or another member; [seconds = wait]."""
    DELETE = "delete"
    """[name, force, seconds = wait]"""
    ADOPT = "adopt"
    """[name]"""
    VERIFY = "verify"
    """[name]"""
    ENROL = "enrol"
    """`other` invites `site`, which joins; everybody maps everybody's project."""
    FORGET = "forget"
    """`site` forgets `other`."""
    MAP = "map"
    """`site` lets `project` of `other` act as its own `project`; `amount` 0 takes it back."""

    # The network between sites.
    CUT = "cut"
    """Nothing crosses from `site` to `other` (packets and calls); `amount` 1: nor back. Until HEAL, or `seconds`."""
    HEAL = "heal"
    """Everything crosses again everywhere, and every weather ends."""
    DROP = "drop"
    """Messages from `site` to `other` are lost with probability `amount`, for `seconds`."""
    DUPLICATE = "duplicate"
    """Requests arrive twice with probability `amount`, the second one up to 10 s later."""
    LATE = "late"
    """Messages take up to `amount` (≤ 60) s longer each, so that they overtake one another."""
    CLOG = "clog"
    """Messages wait for `seconds`, then all arrive, in an order of their own."""
    RESET = "reset"
    """Connections break after the request arrived and before the reply does, with probability `amount`."""
    HALF_OPEN = "half-open"
    """Replies vanish without an error: the caller waits for its whole timeout; with probability `amount`."""

    # Processes, disks, clouds of `site`.
    CRASH = "crash"
    """The agent dies now; `point`: at that crash point, the `amount`-th time it is reached (see `play.POINTS`)."""
    START = "start"
    """The agent starts on what its disk holds."""
    PAUSE = "pause"
    """The agent stands still for `seconds` (≤ 600), as under SIGSTOP."""
    CLOCK = "clock"
    """Its wall clock jumps by `amount` s."""
    DISK_FULL = "disk-full"
    """The next `amount` commits fail."""
    LOSE_STORE = "lose-store"
    """The agent dies and its database is gone."""
    BACKUP = "backup"
    """The operator copies the database."""
    RESTORE = "restore"
    """The agent dies, the last copy is put back; it starts. `point` "whole": the marker is an old one as well."""
    CLONE = "clone"
    """A copy of the site, keys and all, runs beside it for `seconds`."""
    CLOUD_FAILS = "cloud-fails"
    """The next `amount` driver calls fail; `point` "done": they took effect nevertheless."""
    CLOUD_SLOW = "cloud-slow"
    """Driver calls take `amount` s, for `seconds`."""
    BREAK_SEGMENT = "break-segment"
    """Somebody breaks a segment of Vpn `name` by hand."""
    OCCUPY = "occupy"
    """Somebody else's port comes to the bridge of network `name`; `amount` 0: it goes."""
    LIE = "lie"
    """`site` tells `other` a lie of the sort `point` (see `liars`)."""
    MASS_RESTART = "mass-restart"
    """All agents die and start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that happens, `at` seconds after the federation stood."""

    at: float
    verb: Verb
    site: str = ""
    other: str = ""
    name: str = ""
    network: str = ""
    kind: str = ""
    project: str = "demo"
    point: str = ""
    require: str = "all"
    attachments: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    amount: float = 0.0
    seconds: float = 0.0
    force: bool = False

    def text(self) -> str:
        """One line, with what differs from the defaults."""
        said = {k: v for k, v in asdict(self).items() if k not in ("at", "verb") and v != _DEFAULTS[k]}
        words = " ".join(f"{k}={','.join(v) if isinstance(v, tuple) else v}" for k, v in said.items())
        return f"{self.at:9.3f}  {self.verb.value} {words}".rstrip()


_DEFAULTS: dict[str, Any] = asdict(Step(at=0.0, verb=Verb.HEAL))


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A whole run. `sites` stand and know each other at 0; after the last step everything is healed and started, and
    the federation has `calm` seconds to come to rest before it is judged as a whole."""

    seed: int
    profile: str
    sites: tuple[str, ...]
    steps: tuple[Step, ...]
    delay: float = 0.02
    """One way, seconds."""
    calm: float = 120.0
    hidden: tuple[str, ...] = ()
    """Sites that cannot be called (NAT): they get their news as replies. Not the first, and not two of them, or they
    could never hear of one another."""
    pace: float = 1.0
    """Agents beat, look and probe this many times as seldom as usual: for stories of many days."""

    def without(self, taken: frozenset[int]) -> Story:
        """The same story without the steps at these places."""
        return replace(self, steps=tuple(s for i, s in enumerate(self.steps) if i not in taken))


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """An invariant of the federation that did not hold."""

    invariant: str
    """I1 … I22, or a rule ("rule 10") that no invariant names."""
    at: float
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a story."""

    story: Story
    violations: tuple[Violation, ...]
    trace: str
    """SHA-256 over all that happened: the same for the same story, on every machine and version."""
    events: int
    """Callbacks and timers that ran."""
    simulated: float
    """Seconds."""
    faults: dict[str, int] = field(default_factory=dict)
    """Kind of fault → how often it struck."""
    told: dict[str, int] = field(default_factory=dict)
    """What users heard ("vpn ok", "vpn refused-by-member" …) → how often: a workload in which nothing succeeds, or
    nothing is refused, proves little."""
    lines: tuple[str, ...] = ()
    """All that happened, if it was asked for."""

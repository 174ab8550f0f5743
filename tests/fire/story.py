"""A story of chance: users ask for networks, hosts and Vpns at all sites, while paths, processes, disks and clocks
fail.

One seed decides what is asked for and what fails; when things happen is the machine's to say, so a story told again
is alike, not the same. Every so often the fire is put out, and then everything must be as users were told.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from intertie.testing.fault_proxy import Fault
from tests.fire.checker import always, look
from tests.fire.conftest import Fire
from tests.fire.ledger import Vpn
from tests.fire.settled import quiet

CHAPTER = 15.0
"""Seconds of fire between two looks at everything."""
AT_ONCE = 3
"""Faults that burn together, at most."""
LONGEST = 8.0
"""Seconds that a fault lasts; one in ten goes on until the fire is put out."""
WINDOW = 3.0
CALLS, CALLS_A_SECOND, CALLS_A_WISH = 30.0, 4.0, 10.0
"""How often one site may call another in a window of some seconds (I18): so often, and more by its length and by what
users asked for meanwhile; but not more by what burns."""
HOUR = 3600.0


@dataclass(slots=True)
class Burning:
    """A fault that is on."""

    what: str
    until: float
    lift: Callable[[], object]


@dataclass(slots=True)
class Story:
    fire: Fire
    seed: int
    said: Callable[[str], None] = print
    burning: list[Burning] = field(default_factory=list)
    counted: dict[str, int] = field(default_factory=dict)
    """How often each thing was done."""
    _chance: random.Random = field(init=False)
    _number: int = 0
    _begun: float = field(default_factory=time.monotonic)
    _counted_at: float = field(default_factory=time.monotonic)
    _calls: dict[tuple[str, str], int] = field(default_factory=dict)
    _wishes: int = 0
    most: float = 0.0
    """Calls from one site to another, by what was allowed, in the busiest window."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @property
    def sites(self) -> list[str]:
        return list(self.fire.rig.sites)

    def say(self, words: str) -> None:
        self.said(f"  {time.monotonic() - self._begun:6.1f} {words}")

    def count(self, what: str) -> None:
        self.counted[what] = self.counted.get(what, 0) + 1

    # ── Telling it ─────────────────────────────────────────────────────────────────────────────────────────

    def run(self, seconds: float) -> None:
        """Chapter by chapter, for so long. AssertionError with what is wrong."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            self.chapter(min(CHAPTER, ends - time.monotonic()))
        quiet(self.fire.rig)

    def chapter(self, seconds: float) -> None:
        with self.fire.story():
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                self._burn_down()
                if len(self.burning) < AT_ONCE and self._chance.random() < 0.4:
                    self._kindle()
                self._ask()
                self._look()
            self.burning.clear()
            self.say("the fire is put out")
        self.say(f"{len(self.fire.ledger.vpns)} Vpns, {len(self.fire.ledger.hosts)} hosts are as they were promised")

    def _burn_down(self) -> None:
        for fault in [f for f in self.burning if f.until < time.monotonic()]:
            self.burning.remove(fault)
            self.say(f"  no more {fault.what}")
            fault.lift()

    def _look(self) -> None:
        """What may never be, not even for a moment."""
        clouds = [look(self.fire.rig, site) for site in self.sites]
        wrong = [*always(clouds, self.fire.ledger.projects), *self.fire.ledger.faults, *self._storms()]
        assert not wrong, wrong

    def _storms(self) -> Iterator[str]:
        took = time.monotonic() - self._counted_at
        if took < WINDOW:
            return
        before, self._calls = self._calls, {}
        self._counted_at += took
        wishes, self._wishes = self._wishes, 0
        allowed = CALLS + CALLS_A_SECOND * took + CALLS_A_WISH * wishes
        for way, traffic in self.fire.net.traffic().items():
            self._calls[way] = traffic.turns + traffic.connections
            calls = self._calls[way] - before.get(way, 0)
            if before:
                self.most = max(self.most, calls / allowed)
            if before and calls > allowed:
                yield f"I18: {calls} calls from {way[0]} to {way[1]} in {took:.1f} s, for {wishes} wishes"

    # ── Faults ─────────────────────────────────────────────────────────────────────────────────────────────

    def _kindle(self) -> None:
        what, lift = self._chance.choice(
            (self._path, self._path, self._path, self._process, self._disk, self._clock)
        )()
        lasts = 1e9 if self._chance.random() < 0.1 else self._chance.uniform(0.5, LONGEST)
        self.say(f"fault: {what}")
        self.burning.append(Burning(what, time.monotonic() + lasts, lift))

    def _free(self, kind: str) -> str | None:
        """A site that has no such fault yet."""
        taken = {f.what.split()[-1] for f in self.burning if f.what.startswith(kind)}
        left = [site for site in self.sites if site not in taken]
        return self._chance.choice(left) if left else None

    def _path(self) -> tuple[str, Callable[[], object]]:
        one, other = self._chance.sample(self.sites, 2)
        fault = self._chance.choice(
            (
                Fault(delay=round(self._chance.uniform(0.1, 3.0), 1)),
                Fault(rate=float(self._chance.randrange(500, 20_000))),
                Fault(cut=True),
                Fault(clog=True),
                Fault(half_open=True),
                Fault(reset_after=self._chance.randrange(6000)),
            )
        )
        words = str(fault).replace("=False", "").split("(")[1].rstrip(")").split(", ")
        word = next(w for w in words if w.partition("=")[2] not in ("", "0.0", "None"))
        self.count(f"path {word.partition('=')[0]}")
        if self._chance.random() < 0.5:
            self.fire.net.set(one, other, fault)
            return f"{word} from {one} to {other}", lambda: self.fire.net.lift((one, other))
        if self._chance.random() < 0.3:
            self.fire.net.isolate(one, fault)
            return f"{word} all around {one}", self.fire.net.lift
        self.fire.net.both(one, other, fault)
        return f"{word} between {one} and {other}", lambda: self.fire.net.lift((one, other), (other, one))

    def _process(self) -> tuple[str, Callable[[], object]]:
        site = self._free("process")
        if site is None:
            return self._path()
        if self._chance.random() < 0.5:
            self.count("process stopped")
            self.fire.rig.stop(site)
            return f"process stopped at {site}", lambda: self.fire.rig.go_on(site)
        self.count("process killed")
        self.fire[site].kill()
        return f"process killed at {site}", lambda: self._start(site)

    def _start(self, site: str) -> None:
        self.fire[site].start()
        self.fire[site].wait_ready()

    def _disk(self) -> tuple[str, Callable[[], object]]:
        site = self._free("disk")
        if site is None or any(f.what == f"process killed at {site}" for f in self.burning):
            return self._path()
        self.count("disk full")
        self.fire.rig.fill_disk(site)
        return f"disk full at {site}", lambda: self.fire.rig.free_disk(site)

    def _clock(self) -> tuple[str, Callable[[], object]]:
        site = self._free("clock")
        if site is None:
            return self._path()
        ahead = self._chance.choice((-1, 1)) * self._chance.choice((600.0, 5 * HOUR, 26 * HOUR))
        self.count("clock wrong")
        self.fire.rig.set_clock(site, ahead)
        return f"clock {ahead:g} s ahead at {site}", lambda: self.fire.rig.set_clock(site, 0.0)

    # ── Wishes ─────────────────────────────────────────────────────────────────────────────────────────────

    def _awake(self) -> list[str]:
        """Sites that may be asked now: of those that stand still, few are."""
        asleep = {f.what.split()[-1] for f in self.burning if f.what.startswith("process")}
        return [site for site in self.sites if site not in asleep or self._chance.random() < 0.05]

    def _ask(self) -> None:
        wishes = (
            self._stretch,
            self._route,
            self._host,
            self._host,
            self._no_host,
            self._change,
            self._end,
            self._drop,
        )
        awake = self._awake()
        self._wishes += 1
        if awake:
            self._chance.choice(wishes)(self._chance.choice(awake))
        else:
            time.sleep(0.1)

    def _new(self, word: str) -> tuple[str, int]:
        self._number += 1
        return f"{word}{self._number}", self._number

    def _wait(self) -> float:
        return self._chance.choice((0.0, 0.0, 0.5, 2.0))

    def _told(self, words: str, good: object) -> None:
        self.say(f"{words}: {'yes' if good else 'no'}")
        self.count(f"{words.split()[0]} {'done' if good else 'not done'}")

    def _mine(self) -> list[Vpn]:
        """Vpns of the story: those that stood before are never touched."""
        known = {vpn.name for vpn in self.fire.rig.topology.vpns}
        return [v for v in self.fire.ledger.vpns.values() if v.name not in known and not v.ending]

    def _stretch(self, site: str) -> None:
        name, number = self._new("l")
        if self.fire.ledger.create_network(site, name, f"10.{64 + number // 200}.{number % 200}.0/24"):
            others = self._chance.sample([s for s in self.sites if s != site], self._chance.randint(1, 2))
            ends = {site: name, **dict.fromkeys(others, "")}
            self._told(
                f"stretch {name} over {' '.join(ends)}",
                self.fire.ledger.create_vpn(site, name, "l2", ends, self._wait()),
            )

    def _route(self, site: str) -> None:
        """Sometimes over networks with one prefix, which is refused."""
        name, number = self._new("r")
        other = self._chance.choice([s for s in self.sites if s != site])
        block = f"10.{128 + number // 100}"
        prefixes = [f"{block}.{number % 100 * 2 + offset}.0/24" for offset in (0, 1)]
        if self._chance.random() < 0.25:
            prefixes[1] = prefixes[0]
        ends = {site: prefixes[0], other: prefixes[1]}
        if other in self._awake() and all(self.fire.ledger.create_network(s, name, p) for s, p in ends.items()):
            good = self.fire.ledger.create_vpn(site, name, "l3", dict.fromkeys(ends, name), self._wait())
            self._told(f"route {name} between {site} and {other}", good)

    def _host(self, site: str) -> None:
        here = [v for v in self._mine() if site in v.members]
        if here:
            vpn = self._chance.choice(here)
            name, _ = self._new("h")
            good = self.fire.ledger.create_host(site, name, vpn.network)
            self._told(f"host {name} in {vpn.name} at {site}", good)

    def _no_host(self, site: str) -> None:
        known = {host.name for host in self.fire.rig.topology.hosts}
        here = sorted(n for s, n in self.fire.ledger.hosts if s == site and n not in known)
        if here:
            name = self._chance.choice(here)
            self._told(f"no-host {name} at {site}", self.fire.ledger.delete_host(site, name))

    def _change(self, site: str) -> None:
        """Another list of members, asked for at any of them."""
        here = [
            v for v in self._mine() if v.kind == "l2" and site in v.members and v.name not in self.fire.ledger.pending
        ]
        if here:
            vpn = self._chance.choice(here)
            used = {s for s, h in self.fire.ledger.hosts if self.fire.ledger.hosts[s, h].network == vpn.network}
            chosen = self._chance.sample(self.sites, self._chance.randint(2, len(self.sites)))
            members = sorted({vpn.home, *used, *chosen} - {vpn.home})
            ends = {vpn.home: vpn.network, **dict.fromkeys(members, "")}
            answer = self.fire.ledger.update_vpn(site, vpn.name, ends, self._wait())
            self._told(f"change {vpn.name} at {site} to {' '.join(ends)}", answer is not None and answer.is_success)

    def _end(self, site: str) -> None:
        here = [v for v in self._mine() if site in v.members]
        if len(here) > 2:
            vpn = self._chance.choice(here)
            for where, name in sorted(k for k, h in self.fire.ledger.hosts.items() if h.network == vpn.network):
                if where in self._awake():
                    self.fire.ledger.delete_host(where, name)
            answer = self.fire.ledger.delete_vpn(site, vpn.name, self._wait())
            self._told(f"end {vpn.name} at {site}", answer is not None and answer.is_success)

    def _drop(self, site: str) -> None:
        """A network that no Vpn needs; or that one does, which is refused."""
        known = {network.name for network in self.fire.rig.topology.networks}
        here = sorted(n for s, n in self.fire.ledger.networks if s == site and n not in known)
        if here:
            name = self._chance.choice(here)
            self._told(f"drop {name} at {site}", self.fire.ledger.delete_network(site, name))

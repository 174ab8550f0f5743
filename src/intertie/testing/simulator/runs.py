"""Many seeds: jobs for the crew, and the sum of what came of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from time import process_time
from typing import Any, Protocol

from intertie.testing.simulator.crew import Lost
from intertie.testing.simulator.play import play
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.recorder import Event, Recorder
from intertie.testing.simulator.shrink import Shrunk, shrink
from intertie.testing.simulator.story import Outcome, Story, Violation
from intertie.testing.simulator.watch import Watcher
from intertie.testing.simulator.workload import story

YEAR = 365.25 * 86400


class Play(Protocol):
    """As `play.play`."""

    def __call__(self, story: Story, watchers: Sequence[Watcher] = (), *, plant: str = "") -> Outcome: ...


def tell(seed: int, profile: str) -> Story:
    """The story of a seed."""
    return story(seed, PROFILES[profile])


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Who tells stories and who plays them: functions of a module's top level, so that workers find them."""

    tell: Callable[[int, str], Story] = tell
    play: Play = play


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One seed to be played; or to be shrunk until it only just breaks `invariant`, in at most `plays`."""

    seed: int
    profile: str
    plant: str = ""
    stage: Stage = field(default_factory=Stage)
    invariant: str = ""
    plays: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of one seed. `seconds` of processor time."""

    outcome: Outcome
    seconds: float


def play_seed(job: Job) -> Played:
    """Play one seed."""
    begun = process_time()
    outcome = job.stage.play(job.stage.tell(job.seed, job.profile), (), plant=job.plant)
    return Played(outcome=outcome, seconds=process_time() - begun)


def shrink_seed(job: Job) -> Shrunk:
    """The shortest story found for a seed that breaks an invariant."""
    return shrink_story(job.stage, job.stage.tell(job.seed, job.profile), job)


def shrink_story(stage: Stage, told: Story, job: Job) -> Shrunk:
    """The shortest story found that breaks the job's invariant as `told` does."""

    def breaks(shorter: Story) -> bool:
        outcome = stage.play(shorter, (), plant=job.plant)
        return any(v.invariant == job.invariant for v in outcome.violations)

    return shrink(told, breaks, job.plays)


def recorded(stage: Stage, told: Story, plant: str = "") -> tuple[Outcome, list[Event]]:
    """Play a story and keep all that happens."""
    recorder = Recorder(keep=True)
    outcome = stage.play(told, (recorder,), plant=plant)
    return outcome, recorder.events


def seeds(text: str) -> Iterator[int]:
    """ "7", "1..2000" (both included) or "1.." (no end). ValueError."""
    first, dots, last = text.partition("..")
    if not dots:
        return iter((int(first),))
    return iter(range(int(first), int(last) + 1)) if last else count(int(first))


@dataclass(slots=True)
class Totals:
    """The sum over all plays."""

    plays: int = 0
    events: int = 0
    simulated: float = 0.0
    seconds: float = 0.0
    """Processor time of all plays."""
    faults: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    """Invariant → plays that broke it."""
    failing: list[tuple[Job, Violation]] = field(default_factory=list)
    """Each play that broke something, with the first it broke."""
    lost: list[tuple[Job, str]] = field(default_factory=list)

    def add(self, job: Job, came: Played | Lost) -> None:
        if isinstance(came, Lost):
            self.lost.append((job, came.why))
            return
        outcome = came.outcome
        self.plays += 1
        self.events += outcome.events
        self.simulated += outcome.simulated
        self.seconds += came.seconds
        self.faults.update(outcome.faults)
        self.told.update(outcome.told)
        self.broken.update({v.invariant for v in outcome.violations})
        if outcome.violations:
            self.failing.append((job, outcome.violations[0]))

    @property
    def bad(self) -> bool:
        return bool(self.failing or self.lost)

    def as_dict(self, real: float) -> dict[str, Any]:
        """For a file: seconds are real, simulated or of a processor, as named."""
        return {
            "plays": self.plays,
            "events": self.events,
            "events_per_core_second": round(self.events / self.seconds) if self.seconds else 0,
            "simulated_seconds": round(self.simulated, 3),
            "simulated_per_real_second": round(self.simulated / real) if real else 0,
            "processor_seconds": round(self.seconds, 3),
            "real_seconds": round(real, 3),
            "violations": dict(sorted(self.broken.items())),
            "failing": [
                {"seed": j.seed, "profile": j.profile, "invariant": v.invariant, "at": v.at, "what": v.what}
                for j, v in self.failing
            ],
            "lost": [{"seed": j.seed, "profile": j.profile, "why": why} for j, why in self.lost],
            "faults": dict(sorted(self.faults.items())),
            "told": dict(sorted(self.told.items())),
        }

    def text(self, real: float) -> str:
        """The summary, for people."""
        rate, speed = self.events / max(self.seconds, 1e-9), self.simulated / max(real, 1e-9)
        lines = [
            f"plays        {self.plays:,}, {len(self.failing)} with violations, {len(self.lost)} without a result",
            f"events       {self.events:,}, {rate:,.0f} a second and core",
            f"simulated    {self.simulated / YEAR:.3f} years in {real:.1f} s ({speed:,.0f} s a second)",
            f"faults       {_list(self.faults)}",
            f"users heard  {_list(self.told)}",
        ]
        lines += [f"BROKEN       {name} in {n} of {self.plays} plays" for name, n in sorted(self.broken.items())]
        lines += [f"LOST         seed {j.seed} profile {j.profile}: {why}" for j, why in self.lost]
        return "\n".join(lines)


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items())) or "none"

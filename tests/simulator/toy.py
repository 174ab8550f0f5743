"""A federation that is a few lines: stories break it where we know, and it can die or hang on demand."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from intertie.testing.simulator.runs import Stage
from intertie.testing.simulator.story import Outcome, Step, Story, Verb, Violation
from intertie.testing.simulator.watch import Told, Watcher

SITES = ("nantes", "lyon", "rennes", "lille")
STARTED = "INTERTIE_TOY_STARTED"
"""Names a file to which a play that lasts writes its process id when it has begun."""


def tell(seed: int, profile: str) -> Story:
    """Seeds that end in 3 break I4, those that end in 7 break I5, others nothing."""
    noise = tuple(
        Step(at=10.0 * n + 0.123, verb=(Verb.HOST, Verb.PAUSE, Verb.CUT)[n % 3], site=SITES[n % 4], seconds=33.0)
        for n in range(40)
    )
    vpn = Step(
        at=205.678, verb=Verb.VPN, site="lyon", name="blue", kind="l2", attachments=SITES, prefixes=("10.0.0.0/24",)
    )
    crash = Step(at=101.5, verb=Verb.LOSE_STORE, site="lyon", amount=3.0)
    clock = Step(at=17.25, verb=Verb.CLOCK, site="rennes", amount=-5000.5)
    added = {3: (crash, vpn), 7: (clock,)}.get(seed % 10, ())
    steps = tuple(sorted((*noise, *added), key=lambda s: s.at))
    return Story(seed=seed, profile=profile, sites=SITES, steps=steps)


def play(story: Story, watchers: Sequence[Watcher] = (), *, plant: str = "") -> Outcome:
    """I4: a Vpn of two or more members is made where an agent died before. I5: a clock goes back."""
    violations = tuple(_judge(story, watchers))
    text = repr(story) if plant != "unlike" else repr(story) + str(hash("not the same in two processes"))
    return Outcome(
        story=story,
        violations=violations,
        trace=sha256(text.encode()).hexdigest(),
        events=100,
        simulated=story.steps[-1].at if story.steps else 0.0,
        faults={"crash": sum(s.verb in (Verb.CRASH, Verb.LOSE_STORE) for s in story.steps)},
        told={"vpn ok": sum(s.verb is Verb.VPN for s in story.steps)},
    )


def _judge(story: Story, watchers: Sequence[Watcher]) -> Iterator[Violation]:
    dead: set[str] = set()
    for step in story.steps:
        if step.verb in (Verb.CRASH, Verb.LOSE_STORE):
            dead.add(step.site)
            for watcher in watchers:
                watcher.struck(step.at, step)
        elif step.verb is Verb.VPN:
            for watcher in watchers:
                watcher.asked(step.at, step)
                watcher.told(Told(step=step, begun=step.at, at=step.at + 0.5, code="ok", id="lyon.1"))
            if step.site in dead and len(step.attachments) >= 2:
                yield Violation(invariant="I4", at=step.at + 0.5, what=f"lyon.1 at {step.site} and nantes")
        elif step.verb is Verb.CLOCK and step.amount < 0:
            yield Violation(invariant="I5", at=step.at, what=f"{step.site} went back")


def play_badly(story: Story, watchers: Sequence[Watcher] = (), *, plant: str = "") -> Outcome:
    """Seed 2 kills the process that plays it; seed 4 never ends."""
    if story.seed == 2:
        os._exit(9)
    if story.seed == 4:
        _forever()
    return play(story, watchers, plant=plant)


def play_forever(story: Story, watchers: Sequence[Watcher] = (), *, plant: str = "") -> Outcome:
    """Every seed but the first never ends."""
    if story.seed > 1:
        _forever()
    return play(story, watchers, plant=plant)


def _forever() -> None:
    if where := os.environ.get(STARTED):
        with Path(where).open("a") as file:
            file.write(f"{os.getpid()}\n")
    while True:
        time.sleep(60)


TOY = Stage(tell=tell, play=play)
BAD = Stage(tell=tell, play=play_badly)
ENDLESS = Stage(tell=tell, play=play_forever)

"""`simulator`: how fast the simulator is on one core, oracle and all, by processor time: the same stories of every
profile, played in this process.
"""

from __future__ import annotations

import gc
from time import process_time

from bench.figures import Figure
from intertie.testing.simulator.crew import RUBBISH
from intertie.testing.simulator.play import play
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.workload import story

SIZES = {"full": (2, None), "tiny": (1, 1)}
"""Seeds, and profiles (None: all)."""


def run(size: str) -> list[Figure]:
    seeds, profiles = SIZES[size]
    chosen = list(PROFILES.values())[:profiles]
    stories = [story(seed, profile) for seed in range(1, seeds + 1) for profile in chosen]
    gc.set_threshold(RUBBISH, 20, 20)  # as the simulator's workers do
    begun = process_time()
    outcomes = [play(told) for told in stories]
    seconds = process_time() - begun
    simulated = sum(o.simulated for o in outcomes)
    return [
        Figure(what="events", ours=sum(o.events for o in outcomes) / seconds, unit="/s"),
        Figure(what="simulated time, beside the processor's", ours=simulated / seconds, unit="×"),
        Figure(what="stories", ours=60 * len(stories) / seconds, unit="a minute"),
    ]

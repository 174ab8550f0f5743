"""How fast the simulator is on one core, oracle and all: events and simulated seconds a second of processor time.

    python bench/simulator.py [SEEDS]

The same stories of every profile, played in this process: one JSON line. What counts is processor time, so that a
busy machine says the same.
"""

from __future__ import annotations

import gc
import json
import sys
from time import process_time

from intertie.testing.simulator.crew import RUBBISH
from intertie.testing.simulator.play import play
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.workload import story


def main(seeds: int) -> int:
    stories = [story(seed, profile) for seed in range(1, seeds + 1) for profile in PROFILES.values()]
    gc.set_threshold(RUBBISH, 20, 20)  # as the simulator's workers do
    begun = process_time()
    outcomes = [play(told) for told in stories]
    seconds = process_time() - begun
    simulated = sum(o.simulated for o in outcomes)
    figures = {
        "simulator_events_per_s": round(sum(o.events for o in outcomes) / seconds),
        "simulated_s_per_s": round(simulated / seconds),
        "plays_per_minute": round(60 * len(stories) / seconds, 1),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2))

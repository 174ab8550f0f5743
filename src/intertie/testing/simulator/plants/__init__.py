"""All planted bugs, and the survey: which invariant notices each, and after how many seeds.

    python -m intertie.testing.simulator.plants                 # the whole survey, as a table
    python -m intertie.testing.simulator.plants --only NAME     # one, with what was noticed
    python -m intertie.testing.simulator.plants --write docs/planted-bugs.md

A bug that survives is a hole: in the workload, which never gets there, or in the oracle, which does not see it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from time import monotonic

from intertie.testing.simulator.plants import gifts, peers, records, site, space, vpns
from intertie.testing.simulator.plants.plant import Plant
from intertie.testing.simulator.plants.table import Caught, as_markdown, read
from intertie.testing.simulator.play import play
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.story import Outcome, Violation
from intertie.testing.simulator.workload import story

AREAS = (records, peers, vpns, space, gifts, site)
PLANTS: dict[str, Plant] = {p.name: p for area in AREAS for p in vars(area).values() if isinstance(p, Plant)}
MOST_SEEDS = 400
"""Plays after which a plant counts as a survivor."""


def run(profile: str, seed: int, plant: str = "") -> Outcome:
    """The story of a seed, played with the plant switched on, or as it should be ("")."""
    told = story(seed, PROFILES[profile])
    return play(told, plant=plant)


def caught_by(name: str, profile: str, seed: int) -> tuple[Violation, ...]:
    """What breaks in a story with the plant, if nothing does without it. A plant that makes an agent stumble over its
    own code is none: that shows in any test."""
    found = tuple(v for v in run(profile, seed, name).violations if v.invariant != "no inner error")
    return found if found and _holds_without(profile, seed) else ()


def catch(name: str, most_seeds: int) -> Caught:
    """Play seeds of the plant's profiles by turns until an invariant breaks that holds without the plant."""
    plant = PLANTS[name]
    begun = monotonic()
    plays = 0
    for profile, seed in _turns(plant.profiles, most_seeds):
        plays += 1
        if found := caught_by(name, profile, seed):
            return Caught(
                name=name,
                invariant=found[0].invariant,
                what=found[0].what,
                others=tuple(sorted({v.invariant for v in found} - {found[0].invariant})),
                profile=profile,
                seed=seed,
                plays=plays,
                seconds=monotonic() - begun,
            )
    return Caught(name=name, plays=plays, seconds=monotonic() - begun)


@cache
def _holds_without(profile: str, seed: int) -> bool:
    return not run(profile, seed).violations


def _turns(profiles: Sequence[str], most: int) -> Iterator[tuple[str, int]]:
    """(profile, seed), `most` of them."""
    return islice(((profile, seed) for seed in count(1) for profile in profiles), most)


def survey(names: Sequence[str], most_seeds: int, jobs: int) -> list[Caught]:
    """How the named plants (none: all) fare, in the order of the catalogue; a line on stderr for each that is done.
    LookupError if there is no such plant."""
    unknown = [n for n in names if n not in PLANTS]
    if unknown:
        raise LookupError(f"no such plant: {', '.join(unknown)}")
    wanted = [n for n in PLANTS if n in names or not names]
    if jobs < 2 or len(wanted) < 2:
        return [_told(catch(n, most_seeds)) for n in wanted]
    found: dict[str, Caught] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(catch, n, most_seeds) for n in wanted]):
            caught = _told(done.result())
            found[caught.name] = caught
    return [found[n] for n in wanted]


def _told(caught: Caught) -> Caught:
    word = f"{caught.invariant} after {caught.plays} ({caught.profile} {caught.seed})" if caught else "SURVIVED"
    print(f"{caught.name:50} {word:40} {caught.seconds:6.1f} s  {caught.what}", file=sys.stderr, flush=True)
    return caught


def options(parser: argparse.ArgumentParser) -> None:
    """The arguments that `answer` reads."""
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this plant; may be repeated")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="plays until a plant counts as a survivor")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="worker processes")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the table there, or these rows of it")


def answer(asked: argparse.Namespace) -> int:
    """0 if all were caught, 1 if one survived, 2 for a plant that does not exist."""
    try:
        found = survey(asked.only, asked.seeds, asked.jobs)
    except LookupError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.write is None:
        print(as_markdown([(PLANTS[c.name], c) for c in found]))
    else:
        write(asked.write, found)
    return 0 if all(found) else 1


def write(file: Path, found: Sequence[Caught]) -> None:
    """The table, with the rows of plants that were not tried now as they stand in the file."""
    rows = read(file.read_text(encoding="utf-8")) if file.exists() else {}
    rows |= {c.name: c for c in found}
    file.write_text(as_markdown([(plant, rows[n]) for n, plant in PLANTS.items() if n in rows]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(prog="plants", description="Which planted bugs does the simulator notice?")
    options(parser)
    return answer(parser.parse_args(arguments))

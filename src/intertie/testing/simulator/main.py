"""`intertie-sim`: the federation simulator's command line.

    intertie-sim run --seeds 1..2000 --profile mixed,churn -j 2     many seeds; what broke is shrunk and drawn
    intertie-sim run --seeds 1.. --profile all --seconds 3600       as many as an hour carries
    intertie-sim replay 17 --profile churn                          one seed: story, trace hash, violations, diagram
    intertie-sim replay --story FILE.json                           one story that was kept
    intertie-sim shrink 17 --profile churn --keep DIR               its shortest form, kept as a file
    intertie-sim story 17                                           the story alone
    intertie-sim check 1..20                                        trace hashes, each seed played twice
    intertie-sim plants --only NAME                                 which planted bugs are noticed, by what

Exit: 0 nothing was broken, 1 something was, 2 usage, 130 interrupted. Needs nothing but Python's own library.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic

from intertie.testing.simulator import plants
from intertie.testing.simulator.crew import Crew, Lost
from intertie.testing.simulator.diagram import as_mermaid, as_text, rows
from intertie.testing.simulator.keepsake import Keepsake, as_json, load
from intertie.testing.simulator.profiles import PROFILES
from intertie.testing.simulator.runs import (
    Job,
    Played,
    Stage,
    Totals,
    play_seed,
    recorded,
    seeds,
    shrink_seed,
    shrink_story,
)
from intertie.testing.simulator.shrink import Shrunk
from intertie.testing.simulator.story import Outcome, Story, Violation

MOST_LOST = 20
"""So many plays without a result say that something is wrong here, and nothing about the seeds."""
SHRUNK = 3
"""Failing seeds that are shrunk and shown; there is no end to reading more."""


def main(arguments: Sequence[str] | None = None, stage: Stage | None = None) -> int:
    """The program; its exit code. `stage`: who tells and plays, if not the real ones."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    asked.stage = stage or Stage()
    if arguments is None:
        # A program, not a call: ended by timeout(1) or a CI it still says what it found, and takes its workers along.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        command: Callable[[argparse.Namespace], int] = asked.command
        return command(asked)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="intertie-sim", description="The federation simulator.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.set_defaults(command=command)
        return added

    for added in (run := add("run", run_seeds, "play many seeds"), check := add("check", check_seeds, "play twice")):
        added.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1, help="worker processes")
        added.add_argument("--patience", type=float, default=300.0, help="seconds after which a play hangs")
    run.add_argument("--seeds", type=_seeds, default="1..100", metavar="A..B")
    run.add_argument("--seconds", type=float, default=0.0, help="start no play after so many seconds; 0: no limit")
    run.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    run.add_argument("--json", type=Path, metavar="FILE", help="write the sums there")
    check.add_argument("seeds", type=_seeds, metavar="A..B")
    replay = add("replay", replay_one, "play one seed or file, and show what happened")
    shrink = add("shrink", shrink_one, "the shortest story found that breaks the same invariant")
    story = add("story", print_story, "print a seed's story")
    for added in (replay, shrink, story):
        added.add_argument("seed", type=int, nargs="?")
        added.add_argument("--story", type=Path, metavar="FILE", help="a story that was kept, instead of a seed")
    for added in (run, check, replay, shrink, story):
        added.add_argument("--profile", type=_profiles, default="mixed", metavar="P[,P…]", help="or all")
    for added in (run, check, replay, shrink):
        added.add_argument("--plant", default="", metavar="NAME", help="with a planted bug switched on")
    for added in (run, replay, shrink):
        added.add_argument("--mermaid", action="store_true", help="draw for Mermaid")
    for added in (run, shrink):
        added.add_argument("--plays", type=int, default=400, help="at most so many to shrink a story")
        added.add_argument("--keep", type=Path, metavar="DIR", help="write shrunk stories there")
    replay.add_argument("--full", action="store_true", help="all that happened, as lines and in the diagram")
    plants.options(add("plants", plants.answer, "which planted bugs are noticed, and after how many plays"))
    return parser


def _seeds(text: str) -> str:
    seeds(text)
    return text


def _profiles(text: str) -> tuple[str, ...]:
    names = tuple(PROFILES) if text == "all" else tuple(text.split(","))
    if unknown := [n for n in names if n not in PROFILES]:
        raise argparse.ArgumentTypeError(f"no profile {', '.join(unknown)}; there are {' '.join(PROFILES)}")
    return names


# ── Many seeds ─────────────────────────────────────────────────────────────────────────────────────────────────


def run_seeds(asked: argparse.Namespace) -> int:
    """`run`"""
    begun, totals = monotonic(), Totals()

    def jobs() -> Iterator[Job]:
        for job in _jobs(asked):
            late = asked.seconds and monotonic() - begun >= asked.seconds
            if late or (totals.bad and not asked.keep_going) or len(totals.lost) >= MOST_LOST:
                return
            yield job

    interrupted = False
    crew: Crew[Job, Played] = Crew(asked.jobs, play_seed, asked.patience)
    try:
        for job, came in crew.run(jobs()):
            totals.add(job, came)
            _progress(totals, monotonic() - begun)
    except KeyboardInterrupt:
        interrupted = True
    real = monotonic() - begun
    _progress_ends()
    print(totals.text(real), flush=True)
    if asked.json is not None:
        asked.json.write_text(json.dumps(totals.as_dict(real), indent=1) + "\n", encoding="utf-8")
    if interrupted:
        return 130
    _show_failing(asked, totals)
    return 1 if totals.bad else 0


def _jobs(asked: argparse.Namespace) -> Iterator[Job]:
    for seed in seeds(asked.seeds):
        for profile in asked.profile:
            yield Job(seed=seed, profile=profile, plant=asked.plant, stage=asked.stage)


def _progress(totals: Totals, real: float) -> None:
    if sys.stderr.isatty():
        rate = totals.events / totals.seconds if totals.seconds else 0
        bad = len(totals.failing) + len(totals.lost)
        line = f"{totals.plays:,} plays, {bad} bad, {rate:,.0f} events a second and core, {real:.0f} s"
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _progress_ends() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _show_failing(asked: argparse.Namespace, totals: Totals) -> None:
    """The first few that failed, shrunk: by the crew, so that shrinking can hang or die as playing can."""
    first = sorted(totals.failing, key=lambda f: (f[0].seed, f[0].profile))[:SHRUNK]
    jobs = [replace(job, invariant=broken.invariant, plays=asked.plays) for job, broken in first]
    crew: Crew[Job, Shrunk] = Crew(asked.jobs, shrink_seed, asked.patience * 4)
    for job, small in crew.run(iter(jobs)):
        print()
        if isinstance(small, Lost):
            print(f"seed {job.seed} profile {job.profile} breaks {job.invariant}; shrinking: {small.why}")
        else:
            _show_shrunk(asked, job, small)


def _show_shrunk(asked: argparse.Namespace, job: Job, small: Shrunk) -> None:
    told = job.stage.tell(job.seed, job.profile)
    ended = "budget spent" if small.spent else "no simpler one found"
    print(f"seed {job.seed} profile {job.profile}: {len(told.steps)} steps → {len(small.story.steps)}", end="")
    print(f" in {small.plays} plays ({ended})")
    broken = _show(asked, small.story, job.invariant)
    if asked.keep is not None and broken is not None:
        path = _keep(asked.keep, small.story, broken)
        print(f"kept: intertie-sim replay --story {path}")


def _keep(folder: Path, story: Story, broken: Violation) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in broken.invariant.lower())
    path = folder / f"{name}-{story.profile}-{story.seed}.json"
    path.write_text(as_json(Keepsake(story=story, broke=broken.invariant, what=broken.what)), encoding="utf-8")
    return path


def check_seeds(asked: argparse.Namespace) -> int:
    """`check`: in other processes, with another order of sets and dictionaries of strings."""
    traces = [_traces(asked, hash_seed) for hash_seed in ("1", "2")]
    unlike = 0
    for (seed, profile), trace in sorted(traces[0].items()):
        again = traces[1].get((seed, profile), "")
        print(seed, profile, trace if trace == again else f"UNLIKE {trace} {again}")
        unlike += trace != again
    return 1 if unlike else 0


def _traces(asked: argparse.Namespace, hash_seed: str) -> dict[tuple[int, str], str]:
    """(seed, profile) → trace hash, as played by fresh interpreters."""
    before = os.environ.get("PYTHONHASHSEED")
    os.environ["PYTHONHASHSEED"] = hash_seed
    try:
        crew: Crew[Job, Played] = Crew(asked.jobs, play_seed, asked.patience)
        came = list(crew.run(_jobs(asked)))
    finally:
        if before is None:
            del os.environ["PYTHONHASHSEED"]
        else:
            os.environ["PYTHONHASHSEED"] = before
    return {(j.seed, j.profile): c.why if isinstance(c, Lost) else c.outcome.trace for j, c in came}


# ── One story ──────────────────────────────────────────────────────────────────────────────────────────────────


def _story(asked: argparse.Namespace) -> Story:
    if asked.story is not None:
        return load(asked.story).story
    if asked.seed is None:
        raise SystemExit("which one? SEED or --story FILE")
    told: Story = asked.stage.tell(asked.seed, asked.profile[0])
    return told


def replay_one(asked: argparse.Namespace) -> int:
    """`replay`"""
    return 0 if _show(asked, _story(asked)) is None else 1


def shrink_one(asked: argparse.Namespace) -> int:
    """`shrink`"""
    told = _story(asked)
    outcome: Outcome = asked.stage.play(told, (), plant=asked.plant)
    if not outcome.violations:
        print("nothing was broken")
        return 0
    invariant = outcome.violations[0].invariant
    job = Job(
        seed=told.seed,
        profile=told.profile,
        plant=asked.plant,
        stage=asked.stage,
        invariant=invariant,
        plays=asked.plays,
    )
    _show_shrunk(asked, job, shrink_story(asked.stage, told, job))
    return 1


def print_story(asked: argparse.Namespace) -> int:
    """`story`"""
    print(_headline(_story(asked)))
    for step in _story(asked).steps:
        print(step.text())
    return 0


def _headline(story: Story) -> str:
    return f"seed {story.seed} profile {story.profile}: {' '.join(story.sites)}, {story.delay * 1000:g} ms one way"


def _show(asked: argparse.Namespace, story: Story, invariant: str = "") -> Violation | None:
    """Play a story; print it, what it broke, and a diagram. The violation that is drawn."""
    outcome, events = recorded(asked.stage, story, asked.plant)
    full = getattr(asked, "full", False)
    print(_headline(story))
    for step in story.steps:
        print(step.text())
    if full:
        print(*(e.line() for e in events), sep="\n")
    broken = next((v for v in outcome.violations if invariant in ("", v.invariant)), None)
    for violation in outcome.violations:
        print(f"BROKEN {violation.at:.3f} {violation.invariant}: {violation.what}")
    print(f"trace {outcome.trace}, {outcome.events:,} events, {outcome.simulated:.0f} s")
    draw = as_mermaid if asked.mermaid else as_text
    print(draw(rows(events, story, broken, full), story))
    return broken


if __name__ == "__main__":
    sys.exit(main())

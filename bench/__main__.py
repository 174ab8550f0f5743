"""`python -m bench [NAME…] [--tiny]`: run benchmarks, print their figures, keep them, renew the table in README.md.

Each runs in a process of its own, so that none finds what another left in memory, and those that need network
namespaces in private ones. Exit code 0 if all ran, whatever their figures; 1 if one did not; 2 for an unknown name.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict

from bench.figures import RESULTS, ROOT, Outcome, commit, figures_of, machine, now, read, table

NAMES = (
    "l2-create",
    "l3-create",
    "waves",
    "round",
    "memory",
    "api",
    "data-plane",
    "cold-start",
    "peer-call",
    "simulator",
)
IN_NAMESPACES = ("data-plane",)
EMPTY_RUN = 'mount -t tmpfs none /run && mkdir -p /run/netns && exec "$@"'
README = ROOT / "bench" / "README.md"
BEGIN, END = "<!-- figures: written by `make bench` -->\n", "<!-- end of figures -->\n"


def inside(name: str, size: str) -> None:
    """Run one here; its figures are the last line of the output."""
    figures = importlib.import_module(f"bench.{name.replace('-', '_')}").run(size)
    print(json.dumps([asdict(figure) for figure in figures]), flush=True)


def outside(name: str, size: str) -> Outcome:
    """Run one in a process of its own. CalledProcessError if it ends badly; its own words are on stderr."""
    words = [sys.executable, "-m", "bench", "--inside", size, name]
    if name in IN_NAMESPACES:
        flags = "-nmpf" if os.geteuid() == 0 else "-Urnmpf"
        words = ["unshare", flags, "--kill-child", "--mount-proc", "sh", "-c", EMPTY_RUN, "sh", *words]
    load, begun = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return Outcome(
        name=name,
        figures=figures_of(json.loads(done.stdout.splitlines()[-1])),
        at=now(),
        commit=commit(),
        load=(load, os.getloadavg()[0]),
        seconds=time.monotonic() - begun,
        machine=machine(),
    )


def renew_readme() -> None:
    """The table of all that was kept, in place of the one that was there."""
    head, _, rest = README.read_text().partition(BEGIN)
    _, _, tail = rest.partition(END)
    kept = {outcome.name: outcome for outcome in read()}
    README.write_text(head + BEGIN + "\n" + table([kept[n] for n in NAMES if n in kept]) + "\n\n" + END + tail)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench", description="figures, each beside a baseline of the same run")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--tiny", action="store_true", help="a few seconds in all; nothing is kept")
    parser.add_argument("--inside", choices=("full", "tiny"), help=argparse.SUPPRESS)
    told = parser.parse_args(arguments)
    if unknown := [name for name in told.names if name not in NAMES]:
        print(f"no benchmark {', '.join(unknown)}; there are {' '.join(NAMES)}", file=sys.stderr)
        return 2
    if told.inside:
        inside(told.names[0], told.inside)
        return 0
    failed = []
    for name in told.names or NAMES:
        try:
            outcome = outside(name, "tiny" if told.tiny else "full")
        except subprocess.CalledProcessError as error:
            print(f"{name} ended with {error.returncode}", file=sys.stderr)
            failed.append(name)
            continue
        print(table([outcome]), end="\n\n", flush=True)
        if not told.tiny:
            outcome.save(RESULTS)
            renew_readme()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

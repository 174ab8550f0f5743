"""The table of planted bugs, written (docs/planted-bugs.md) and read back: which seed catches which."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from intertie.testing.simulator.plants.plant import Plant

HEAD = """# Planted bugs

A tester is worth what it finds. Each row is a mistake that somebody could make in the protocol. It is switched on in
the real code, one at a time, and stories are played until an invariant is seen broken that holds without it, judged
from outside the agents (`intertie.testing.simulator.oracle`). Seeds are tried by turns in the profiles that
the plant names; "plays" counts up to the one that caught it.

This file is written by `python -m intertie.testing.simulator.plants -j 2 --write docs/planted-bugs.md`; `make test`
plays the seed of every row again, with and without the bug.

"""
COLUMNS = ("bug", "mistake", "where", "noticed by", "plays", "profile", "seed")
LATER = (
    (
        "two agents of one site commit out of order",
        "several agents of a site in stories; store suites have it",
    ),
    ("a tombstone is compacted before all have let go", "compaction: today tombstones stay"),
    ("a hold expires by the wrong clock", "reservations (rule 21)"),
    ("a late commit is honoured without looking", "reservations (rule 21)"),
    ("confirmed before every member has committed", "reservations (rule 21)"),
    ("two writers of one epoch for a protected service", "protection (rules 10 and 20)"),
)
"""Mistakes in rules that are not built yet, and what they wait for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """How a plant fared; false if it survived."""

    name: str
    invariant: str = ""
    """The first that broke."""
    what: str = ""
    others: tuple[str, ...] = ()
    """Invariants that broke as well."""
    profile: str = ""
    seed: int = 0
    plays: int = 0
    """Until it was noticed, that one included."""
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.invariant)


def as_markdown(rows: Sequence[tuple[Plant, Caught]]) -> str:
    """The whole file."""
    caught = sum(bool(c) for _, c in rows)
    plays = sorted(c.plays for _, c in rows if c) or [0]
    lines = [f"{caught} of {len(rows)} caught; plays needed: median {plays[len(plays) // 2]}, most {plays[-1]}.\n"]
    lines += [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    lines += [_row(_cells(plant, found)) for plant, found in rows]
    lines += ["\nMistakes in rules that are not built yet:\n", _row(("mistake", "waits for")), _row(("---", "---"))]
    lines += [_row(later) for later in LATER]
    return HEAD + "\n".join(lines) + "\n"


def _cells(plant: Plant, found: Caught) -> Sequence[str]:
    if not found:
        return f"`{plant.name}`", plant.what, f"`{plant.where}`", "**nobody**", str(found.plays), "", ""
    noticed = found.invariant + (f" (then {', '.join(found.others)})" if found.others else "")
    return (
        f"`{plant.name}`",
        plant.what,
        f"`{plant.where}`",
        noticed,
        str(found.plays),
        found.profile,
        str(found.seed),
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


ROW = re.compile(
    r"^\| `(?P<name>[a-z0-9-]+)` \|.*\| (?P<noticed>[^|]+) \| (?P<plays>\d+) "
    r"\| (?P<profile>[a-z0-9-]*) \| (?P<seed>\d*) \|$",
    re.MULTILINE,
)


def read(markdown: str) -> dict[str, Caught]:
    """What a file says of each plant, but for the words and seconds."""
    found = {}
    for row in ROW.finditer(markdown):
        first, _, others = row["noticed"].removesuffix(")").partition(" (then ")
        found[row["name"]] = Caught(
            name=row["name"],
            invariant=first if row["seed"] else "",
            others=tuple(others.split(", ")) if others else (),
            profile=row["profile"],
            seed=int(row["seed"] or 0),
            plays=int(row["plays"]),
        )
    return found

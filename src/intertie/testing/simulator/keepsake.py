"""Stories as JSON: what once broke an invariant is kept, and played again for ever (tests/simulator/stories).

    {"broke": "I4", "what": "…", "seed": 7, "profile": "mixed", "sites": ["nantes", "lyon"], "delay": 0.02,
     "calm": 120.0, "steps": [{"at": 1.0, "verb": "vpn", "site": "nantes", …}, …]}

A step names only what differs from the defaults of `Step`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from intertie.testing.simulator.story import Step, Story, Verb

_STEP = {f.name: f.default for f in fields(Step)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepsake:
    """A story, and the invariant that it broke when it was found."""

    story: Story
    broke: str = ""
    what: str = ""


def as_json(kept: Keepsake) -> str:
    """One step a line, so that two stories can be compared."""
    story = kept.story
    head = {
        "broke": kept.broke,
        "what": kept.what,
        "seed": story.seed,
        "profile": story.profile,
        "sites": story.sites,
        "delay": story.delay,
        "calm": story.calm,
        "hidden": story.hidden,
        "pace": story.pace,
    }
    lines = [f"  {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}," for k, v in head.items()]
    steps = ",\n".join(f"    {json.dumps(_plain(s), ensure_ascii=False)}" for s in story.steps)
    return "\n".join(["{", *lines, '  "steps": [', *([steps] if steps else []), "  ]", "}"]) + "\n"


def from_json(text: str) -> Keepsake:
    """What `as_json` wrote. ValueError, TypeError or KeyError for anything else."""
    read = json.loads(text)
    story = Story(
        seed=int(read["seed"]),
        profile=str(read["profile"]),
        sites=tuple(read["sites"]),
        steps=tuple(_step(s) for s in read["steps"]),
        delay=float(read["delay"]),
        calm=float(read["calm"]),
        hidden=tuple(read.get("hidden", ())),
        pace=float(read.get("pace", 1.0)),
    )
    return Keepsake(story=story, broke=str(read.get("broke", "")), what=str(read.get("what", "")))


def load(path: Path) -> Keepsake:
    return from_json(path.read_text(encoding="utf-8"))


def _plain(step: Step) -> dict[str, Any]:
    said = {name: getattr(step, name) for name, default in _STEP.items() if getattr(step, name) != default}
    return {**said, "verb": step.verb.value}


def _step(plain: dict[str, Any]) -> Step:
    said: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
    return Step(**{**said, "verb": Verb(plain["verb"])})

"""What a benchmark says: figures, each with the baseline that was measured beside it, and where and when that was."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One line of the table. `baseline`, if there is one, was measured in the same run, in turns with `ours`."""

    what: str
    ours: float
    unit: str
    baseline: float | None = None
    beside: str = ""
    """What the baseline is."""
    ratio: float | None = None
    """Ours by the baseline, or as `aim` says."""
    aim: str = ""
    met: bool | None = None
    """Whether the aim was met; None if there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One benchmark's figures, and the state of the machine meanwhile."""

    name: str
    figures: tuple[Figure, ...]
    at: str
    commit: str
    load: tuple[float, float]
    """Of the minute before it began, and of the one before it ended: other programs' work shows here."""
    seconds: float
    machine: dict[str, str] = field(default_factory=dict)

    def save(self, folder: Path = RESULTS) -> None:
        folder.mkdir(exist_ok=True)
        (folder / f"{self.name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n")


def figures_of(found: Iterable[dict[str, Any]]) -> tuple[Figure, ...]:
    return tuple(Figure(**each) for each in found)


def read(folder: Path = RESULTS) -> list[Outcome]:
    """Every outcome that was saved, by name."""
    saved = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return [Outcome(**{**s, "figures": figures_of(s["figures"]), "load": tuple(s["load"])}) for s in saved]


def in_turns(ours: Callable[[], float], baseline: Callable[[], float], rounds: int) -> tuple[float, float]:
    """The medians of both, measured A/B/A/B, so that what else the machine does befalls both alike."""
    pairs = [(ours(), baseline()) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    return mine, other


# ── Where ──────────────────────────────────────────────────────────────────────────────────────────────────


def machine() -> dict[str, str]:
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def commit() -> str:
    """The commit that is measured; with a + if the working tree differs from it."""
    head = _git("rev-parse", "--short", "HEAD")
    changed = [line for line in _git("status", "--porcelain").splitlines() if " bench/" not in line]
    return (head or "unknown") + ("+" if changed else "")


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.rstrip("\n") if done.returncode == 0 else ""


# ── Words ──────────────────────────────────────────────────────────────────────────────────────────────────

HEAD = ("what", "ours", "baseline", "ratio", "aim")


def rows(outcome: Outcome) -> list[tuple[str, ...]]:
    return [_row(f) for f in outcome.figures]


def _row(f: Figure) -> tuple[str, ...]:
    ours = f"{number(f.ours)} {f.unit}".rstrip()
    baseline = f"{number(f.baseline)} {f.unit}, {f.beside}".replace(" ,", ",") if f.baseline is not None else ""
    aim = f.aim + {None: "", True: ": met", False: ": **missed**"}[f.met]
    return (f.what, ours, baseline, number(f.ratio) if f.ratio is not None else "", aim)


def number(value: float) -> str:
    """Three digits that count."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: a small table for each benchmark, and under it when and on what."""
    parts = []
    for outcome in outcomes:
        lines = [f"### {outcome.name}", "", "| " + " | ".join(HEAD) + " |", "|---|---|---|---|---|"]
        lines += ["| " + " | ".join(row) + " |" for row in rows(outcome)]
        m, (before, after) = outcome.machine, outcome.load
        lines += [
            "",
            f"{outcome.at}, commit {outcome.commit}, load {before:.1f} → {after:.1f}, {outcome.seconds:.0f} s; "
            f"{m['cores']} × {m['cpu']}, {m['memory']}, Linux {m['kernel']}, Python {m['python']}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)

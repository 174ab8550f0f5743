"""`memory`: what an idle agent holds in memory, beside a bare app of the same framework; then what each peer and each
thousand Vpns add.

Sizes are proportional set sizes: pages that processes share are shared out among them.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ballast import lay
from bench.children import Child, child
from bench.figures import Figure

AIM = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    sites: tuple[int, int, int] = (2, 8, 16)
    """Of three federations."""
    vpns: int = 4000
    runs: int = 3
    idle: float = 3.0
    """Seconds after which an agent has done what it does at its start."""


SIZES = {"full": Size(), "tiny": Size(sites=(2, 3, 4), vpns=50, runs=1, idle=0.1)}


def run(size: str) -> list[Figure]:
    told = SIZES[size]
    vpns, runs, idle_for = told.vpns, told.runs, told.idle
    with TemporaryDirectory() as folder:
        for name, laden in (("empty", 0), ("full", vpns)):
            asyncio.run(lay(Path(folder) / name, laden))
        pairs = [(_served(folder, "empty", 0, idle_for), _bare(folder, idle_for)) for _ in range(runs)]
        idle, bare = (min(column) for column in zip(*pairs, strict=True))
        full = min(_served(folder, "full", vpns, idle_for) for _ in range(runs))
    peer, per_site = _per_peer(told)
    return [
        Figure(
            what="an idle agent",
            ours=idle,
            unit="MiB",
            baseline=bare,
            beside="bare FastAPI",
            ratio=idle / bare,
            aim=f"≤ {AIM:g}",
            met=idle / bare <= AIM,
        ),
        Figure(what=f"each 1,000 Vpns add (of {vpns:,})", ours=(full - idle) * 1000 / vpns, unit="MiB"),
        Figure(what=f"each peer adds, connections both ways (of {told.sites[-1] - 1})", ours=peer * 1024, unit="KiB"),
        Figure(what="a further agent in the same process adds", ours=per_site, unit="MiB"),
    ]


def _served(folder: str, name: str, vpns: int, idle: float) -> float:
    with child("bench.serving", str(Path(folder) / name), str(vpns)) as agent:
        return _resident(agent, idle)


def _bare(folder: str, idle: float) -> float:
    with child("bench.bare", folder) as app:
        return _resident(app, idle)


def _resident(process: Child, idle: float) -> float:
    time.sleep(idle)
    return process.resident


def _per_peer(size: Size) -> tuple[float, float]:
    """MiB that one more peer costs an agent, and that one more agent costs: a federation of n in one process takes
    a + b·n + c·n·(n − 1), and three of them tell the three."""
    found = []
    for count in size.sites:
        with child("bench.federated", str(count)) as federation:
            found.append(_resident(federation, size.idle))
    (n1, n2, n3), (y1, y2, y3) = size.sites, found
    slope12, slope23 = (y2 - y1) / (n2 - n1), (y3 - y2) / (n3 - n2)
    c = (slope23 - slope12) / (n3 - n1)
    return c, slope12 - c * (n1 + n2 - 1)

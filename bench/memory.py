"""`memory`: what an idle agent holds in memory, beside a bare app of the same framework; then what each peer and each
thousand Vpns add.

Sizes are proportional set sizes: pages that processes share are shared out among them.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ballast import lay
from bench.children import child
from bench.figures import Figure

AIM = 2.5
IDLE = 3.0
"""Seconds after which an agent has done what it does at its start."""
SIZES = {"full": ((2, 8, 16), 4000, 3), "tiny": ((2, 3, 4), 50, 1)}
"""Sites of the federations, Vpns, how often the idle ones are looked at."""


def run(size: str) -> list[Figure]:
    sites, vpns, runs = SIZES[size]
    with TemporaryDirectory() as folder:
        for name, laden in (("empty", 0), ("full", vpns)):
            asyncio.run(lay(Path(folder) / name, laden))
        pairs = [(_served(folder, "empty", 0), _bare(folder)) for _ in range(runs)]
        idle, bare = (min(column) for column in zip(*pairs, strict=True))
        full = min(_served(folder, "full", vpns) for _ in range(runs))
    peer, per_site = _per_peer(sites)
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
        Figure(what=f"each peer adds, connections both ways (of {sites[-1] - 1})", ours=peer * 1024, unit="KiB"),
        Figure(what="a further agent in the same process adds", ours=per_site, unit="MiB"),
    ]


def _served(folder: str, name: str, vpns: int) -> float:
    with child("bench.serving", str(Path(folder) / name), str(vpns)) as agent:
        return _resident(agent)


def _bare(folder: str) -> float:
    with child("bench.bare", folder) as app:
        return _resident(app)


def _resident(process: object) -> float:
    time.sleep(IDLE)
    return float(getattr(process, "resident"))


def _per_peer(sites: tuple[int, ...]) -> tuple[float, float]:
    """MiB that one more peer costs an agent, and that one more agent costs: a federation of n in one process takes
    a + b·n + c·n·(n − 1), and three of them tell the three."""
    found = []
    for count in sites:
        with child("bench.federated", str(count)) as federation:
            found.append(_resident(federation))
    (n1, n2, n3), (y1, y2, y3) = sites, found
    slope12, slope23 = (y2 - y1) / (n2 - n1), (y3 - y2) / (n3 - n2)
    c = (slope23 - slope12) / (n3 - n1)
    return c, slope12 - c * (n1 + n2 - 1)

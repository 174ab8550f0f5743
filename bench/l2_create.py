"""`l2-create`: one network stretched over 2 to 50 sites; see `creation`."""

from __future__ import annotations

from bench.creation import TINY, Size, measure
from bench.figures import Figure
from intertie.model.bodies import VpnKind

SIZES = {"full": Size(), "tiny": TINY}


def run(size: str) -> list[Figure]:
    return measure(VpnKind.L2, SIZES[size])

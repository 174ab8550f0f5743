"""`l3-create`: a network of each of 2 to 50 sites, routed between; see `creation`."""

from __future__ import annotations

from bench.creation import TINY, Size, measure
from bench.figures import Figure
from intertie.model.bodies import VpnKind

SIZES = {"full": Size(), "tiny": TINY}


def run(size: str) -> list[Figure]:
    return measure(VpnKind.L3, SIZES[size])

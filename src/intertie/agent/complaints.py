"""What peers said and was not taken, told in measure: a peer may be wrong a thousand times a second, and must not
push out of the events and the log what others have to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from intertie.federation.rates import Meter, Rate

if TYPE_CHECKING:
    from intertie.agent.memory import Memory

KIND = "rejected"
TOLD = Rate(16, per_second=1 / 300)
"""Of one peer: the first of them, then one every five minutes. `Figures.rejected` counts all."""
SHARE = 128
"""Of the events that are kept, whoever they are of: with many bad peers the others are still seen."""


class Complaints:
    """Tells of what is wrong with peers' words."""

    def __init__(self) -> None:
        self._meter = Meter(TOLD)
        self._untold: dict[str, int] = {}

    def hear(self, agent: Memory, peer: str, faults: Sequence[str]) -> None:
        """`faults`: a line for each record of `peer` that was not taken."""
        agent.figures.rejected[peer] += len(faults)
        now = asyncio.get_running_loop().time()
        for fault in faults:
            if not self._meter.take(peer, now) or self._crowded(agent):
                self._untold[peer] = self._untold.get(peer, 0) + 1
                continue
            more = self._untold.pop(peer, 0)
            agent.warn(KIND, "", peer, f"{fault} ({more} others were not told)" if more else fault)

    def _crowded(self, agent: Memory) -> bool:
        return sum(1 for e in agent.events if e.kind == KIND) >= SHARE

"""`round`: what a round costs that finds nothing to do, with 1,000 and 10,000 Vpns in force.

Its drivers answer with what they saw before, as ones that watch the kernel can: what it costs to look is a driver's
own figure. Items they give are equal to those that are wanted, and not the same objects. The full audit (once a
minute) has a line of its own.
"""

from __future__ import annotations

import asyncio
import pickle
import statistics
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.ballast import SITE, Laden, carry, compose, lay
from bench.figures import Figure
from intertie.model.items import Inventory, Item, Key

SIZES = {"full": (1_000, 10_000), "tiny": (20,)}
ROUNDS = 15
AIM = {10_000: 5.0}
"""Milliseconds."""


class Still:
    """A driver whose system does not change; anything that would change it is counted."""

    def __init__(self, seen: Collection[Item]) -> None:
        self._seen = tuple(seen)
        self.writes = 0

    async def observe(self, keys: Collection[Key] | None) -> Collection[Item]:
        return self._seen

    async def ensure(self, item: Item) -> None:
        self.writes += 1

    async def remove(self, item: Item) -> None:
        self.writes += 1


def run(size: str) -> list[Figure]:
    figures = []
    for vpns in SIZES[size]:
        figures += asyncio.run(_measure(vpns))
    return figures


async def _measure(vpns: int) -> list[Figure]:
    with TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        await lay(site, vpns)
        laden = compose(site, vpns)
        await laden.agent.open()
        await laden.rounds.first_look()
        carry(laden)
        cloud, plane = await _still(laden)
        first = await _cost(laden.rounds.round)
        times = [await _cost(laden.rounds.round) for _ in range(ROUNDS)]
        audit = await _cost(laden.agent.settle)
        bare = await _cost(_walk(laden))
        await laden.store.close()
        quiet, aim = statistics.median(times), AIM.get(vpns)
        return [
            Figure(
                what=f"{vpns:,} Vpns: a round without change, processor time",
                ours=quiet,
                unit="ms",
                baseline=bare,
                beside="looking at each Vpn's record once",
                ratio=quiet / bare,
                aim=f"≤ {aim:g} ms" if aim else "",
                met=quiet <= aim if aim else None,
            ),
            Figure(
                what=f"{vpns:,} Vpns: driver writes of {ROUNDS} rounds",
                ours=cloud.writes + plane.writes,
                unit="",
                aim="0",
                met=cloud.writes + plane.writes == 0,
            ),
            Figure(what=f"{vpns:,} Vpns: the first round of an agent", ours=first, unit="ms"),
            Figure(what=f"{vpns:,} Vpns: the full audit", ours=audit, unit="ms"),
        ]


async def _still(laden: Laden) -> tuple[Still, Still]:
    """Put drivers that remember in the place of the fakes."""
    rounds = laden.rounds
    inventory = await rounds._look()
    seen = [pickle.loads(pickle.dumps(tuple(await d.observe(None)))) for d in (rounds.cloud, rounds.transport)]
    cloud, plane = Still(seen[0]), Still(seen[1])

    async def look() -> Inventory:
        return inventory

    rounds.cloud, rounds.transport, rounds._look = cloud, plane, look  # type: ignore[assignment]
    return cloud, plane


async def _cost(work: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds of processor time."""
    begun = time.process_time()
    await work()
    return (time.process_time() - begun) * 1000


def _walk(laden: Laden) -> Callable[[], Awaitable[object]]:
    async def walk() -> object:
        table = laden.agent.table
        return sum(table.own_answer(record.id) is not None and record.home == SITE for record, _ in table.vpns())

    return walk

"""A cell is played out: the user asks, and what follows is looked at from outside, while it lasts and afterwards."""

from __future__ import annotations

import asyncio

from intertie.testing.virtual_time import run
from tests.federation.partitions.cell import Cell, Ends
from tests.federation.partitions.lab import Lab, Picture, scene
from tests.federation.partitions.operation import Operation, told
from tests.federation.partitions.situations import Situation

NOTICED = 40.0
"""Seconds after which silence has been noticed."""
SOON = 30.0
LASTS = 60.0
SETTLED = 180.0


def prove(situation: Situation, operation: Operation, cell: Cell) -> None:
    """AssertionError unless it goes as the cell says."""
    run(_prove(situation, operation, cell))


def prove_looks(situation: Situation, looks: list[tuple[Operation, Cell]], here: str) -> None:
    """Operations that only look, one after another in one scene."""
    run(_prove_looks(situation, looks, here))


async def _prove(situation: Situation, operation: Operation, cell: Cell) -> None:
    here = situation.stand(operation.at)
    assert here is not None
    async with scene(here, situation.sites, operation.prepare) as lab:
        await situation.strike(lab, operation.peer)
        await asyncio.sleep(NOTICED)
        before, forwards = lab.picture(), lab.remotes(lab.stretch)
        assert told(await operation.ask(lab), operation) == cell.told
        await _while_it_lasts(lab, operation, cell, before)
        if not (operation.ends and cell.ends is Ends.NOW):
            assert lab.remotes(lab.stretch) == forwards, "what forwards goes on as it did"
        if situation.heal is None:
            return
        await situation.heal(lab, operation.peer)
        await _afterwards(lab, operation, cell, before)
        if cell.ends is Ends.NEVER or not operation.ends:
            assert lab.remotes(lab.stretch) == forwards
            assert not lab.stands or await lab.within(SETTLED, lab.is_ready)
        if cell.again:
            response = await operation.ask(lab)
            assert response.status_code < 300, response.text
            assert await _reached(lab, operation, SETTLED), "asked for again, it is done"


async def _while_it_lasts(lab: Lab, operation: Operation, cell: Cell, before: Picture) -> None:
    goal = operation.goal
    assert goal is not None
    if cell.ends is Ends.NOW:
        assert await lab.within(SOON, lambda: goal(lab, lab.reachable()))
        return
    meanwhile = operation.meanwhile
    if cell.ends is Ends.LATER and meanwhile is not None:
        assert await lab.within(SOON, lambda: meanwhile(lab, lab.reachable()))
    await asyncio.sleep(LASTS)
    assert not goal(lab, lab.reachable())
    if cell.ends is Ends.NEVER:
        assert lab.picture() == before


async def _afterwards(lab: Lab, operation: Operation, cell: Cell, before: Picture) -> None:
    assert operation.goal is not None
    if cell.ends is Ends.NEVER:
        await asyncio.sleep(LASTS)
        assert lab.picture() == before, "nothing is half made"
        assert not operation.goal(lab, [lab.here, *lab.hearers()])
        return
    assert await _reached(lab, operation, SETTLED)


async def _reached(lab: Lab, operation: Operation, seconds: float) -> bool:
    goal = operation.goal
    assert goal is not None
    return await lab.within(seconds, lambda: goal(lab, [lab.here, *lab.hearers()]))


async def _prove_looks(situation: Situation, looks: list[tuple[Operation, Cell]], here: str) -> None:
    async def prepare(lab: Lab) -> None:
        for each in dict.fromkeys(operation.prepare for operation, _ in looks):
            await each(lab)

    async with scene(here, situation.sites, prepare) as lab:
        await situation.strike(lab, lab.sites[1])
        await asyncio.sleep(NOTICED)
        before = lab.picture()
        for operation, cell in looks:
            assert (operation.id, told(await operation.ask(lab), operation)) == (operation.id, cell.told)
        await asyncio.sleep(LASTS)
        assert lab.picture() == before
        if situation.heal is not None:
            await situation.heal(lab, lab.sites[1])
            assert await lab.within(SETTLED, lab.is_ready)
            assert lab.picture() == before, "whatever was wrong, nothing that forwards was lost by it"


__all__ = ["prove", "prove_looks"]

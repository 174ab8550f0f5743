"""What peers say while the pen is in use is taken in one turn of it, and nothing is lost or done twice on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import pytest

from intertie.agent.taking import Heard, Waiting, batch_of
from intertie.model.records import Cursor, Header, Kind, Order, Record
from intertie.model.storage import Committed, StorageError

HEADER = Header(kind=Kind.SITE, id="a.site", home="a", order=Order())


def heard(peer: str, read: int | None = 1, acked: int = 0) -> Heard:
    one = Heard(peer, lambda: ((), None if read is None else Cursor(1, read)), Cursor(1, acked))
    one.judge()
    return one


class Pen:
    """Takes what waits, and can be held up or fail."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.turns: list[list[str]] = []
        self.fails = 0
        self.go_on = asyncio.Event()

    async def take(self, group: Sequence[Heard]) -> Committed:
        self.turns.append([h.peer for h in group])
        await self.go_on.wait()
        if self.fails:
            self.fails -= 1
            raise StorageError("the disk is full")
        return Committed()


async def begun(waiting: Waiting, pen: Pen, *peers: str) -> list[asyncio.Task[Committed]]:
    """So many turns are asked for; everything has come as far as it can."""
    tasks = [asyncio.create_task(waiting.turn(heard(p), pen.lock, pen.take)) for p in peers]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_what_came_meanwhile_is_taken_together() -> None:
    waiting, pen = Waiting(), Pen()
    tasks = await begun(waiting, pen, "a", "b", "c", "d")
    assert pen.turns == [["a", "b", "c", "d"]] or pen.turns == [["a"]]
    more = await begun(waiting, pen, "e", "f")
    pen.go_on.set()
    await asyncio.gather(*tasks, *more)
    taken = [peer for turn in pen.turns for peer in turn]
    assert taken == ["a", "b", "c", "d", "e", "f"]
    assert len(pen.turns) == 2


async def test_all_hear_of_a_failure_and_the_next_turn_is_a_new_one() -> None:
    waiting, pen = Waiting(), Pen()
    pen.fails = 1
    tasks = await begun(waiting, pen, "a", "b", "c")
    pen.go_on.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [isinstance(f, StorageError) for f in found]
    assert failed == [peer in pen.turns[0] for peer in ("a", "b", "c")]
    assert await waiting.turn(heard("a"), pen.lock, pen.take) == Committed()


async def test_who_is_cancelled_while_waiting_is_not_taken() -> None:
    waiting, pen = Waiting(), Pen()
    async with pen.lock:
        tasks = await begun(waiting, pen, "a", "b", "c")
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)
    pen.go_on.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert pen.turns == [["a", "c"]]


async def test_who_is_cancelled_with_the_pen_in_hand_leaves_the_others_their_turn() -> None:
    waiting, pen = Waiting(), Pen()
    async with pen.lock:
        tasks = await begun(waiting, pen, "a", "b", "c")
    for _ in range(10):
        await asyncio.sleep(0)
    assert pen.turns == [["a", "b", "c"]]
    tasks[0].cancel()
    await asyncio.gather(tasks[0], return_exceptions=True)
    pen.go_on.set()
    assert await asyncio.gather(*tasks[1:]) == [Committed(), Committed()]
    assert pen.turns[1:] == [["b", "c"]]


@pytest.mark.parametrize(
    ("read", "cursor"), [((1, 3, 2), Cursor(1, 3)), ((None, 2, None), Cursor(1, 2)), ((None, None, None), None)]
)
def test_of_one_peer_the_furthest_reading_and_the_last_word_stand(
    read: tuple[int | None, ...], cursor: Cursor | None
) -> None:
    batch = batch_of([heard("a", r, acked) for r, acked in zip(read, (5, 9, 4), strict=True)])
    assert batch.cursors.get("a") == cursor
    assert batch.acked == {"a": Cursor(1, 4)}


def _said(record: Record) -> tuple[Sequence[Record], None]:
    return (record,), None


async def test_each_hears_of_its_own_records() -> None:
    """Who asks what became of what it brought is not told of another's."""
    mine, theirs = (Record(HEADER, None, name, b"") for name in (b"mine", b"theirs"))

    async def take(group: Sequence[Heard]) -> Committed:
        assert [r for h in group for r in h.records] == [mine, theirs]
        return Committed(accepted=(mine,), equivocations=(theirs,))

    waiting, pen = Waiting(), asyncio.Lock()
    both = [Heard(p, partial(_said, r), Cursor()) for p, r in (("a", mine), ("b", theirs))]
    for each in both:
        each.judge()
    async with pen:
        tasks = [asyncio.create_task(waiting.turn(h, pen, take)) for h in both]
        for _ in range(5):
            await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == [Committed(accepted=(mine,)), Committed(equivocations=(theirs,))]

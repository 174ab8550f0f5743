"""What peers say while the pen is in use waits, and is taken in one turn of it: one forced write, one look at what
follows. Without that, a site that hears of fifty others at once would wait for its disk fifty times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from intertie.model.records import Cursor, Record
from intertie.model.storage import Batch, Committed, LocalEntry

Judge = Callable[[], tuple[Sequence[Record], Cursor | None]]
"""Of what a peer sent: the records that are taken, and how far it has been read with them (None: as before)."""


@dataclass(eq=False, slots=True)
class Heard:
    """What a peer said in one message: how its records are judged, how far it has read this site, and its lineage."""

    peer: str
    judged: Judge
    acked: Cursor
    of: str = ""
    records: tuple[Record, ...] = ()
    """Those that are taken,"""
    cursor: Cursor | None = None
    """and how far the peer has now been read with them; both as of the last `judge`."""
    done: Committed | None = None
    error: Exception | None = None

    def judge(self) -> None:
        """By what is known now."""
        records, self.cursor = self.judged()
        self.records = tuple(records)

    def moves(self, cursors: Mapping[str, Cursor]) -> bool:
        """Whether the peer has now been read further, or elsewhere, than `cursors` say."""
        return self.cursor is not None and self.cursor != cursors.get(self.peer)

    def is_news(self, cursors: Mapping[str, Cursor], acked: Mapping[str, Cursor]) -> bool:
        """Whether there is anything in it that is not held already."""
        known = self.cursor == cursors.get(self.peer) and self.acked == acked.get(self.peer)
        return bool(self.records) or not known


Take = Callable[[Sequence[Heard]], Awaitable[Committed]]


class Waiting:
    """What waits for the pen, in the order in which it came."""

    def __init__(self) -> None:
        self._heard: list[Heard] = []

    async def turn(self, heard: Heard, pen: asyncio.Lock, take: Take) -> Committed:
        """Wait for the pen, and `take` all that waits unless somebody else has. What became of the records that were
        heard, or the error that kept the whole from being written."""
        self._heard.append(heard)
        try:
            async with pen:
                if heard.done is None and heard.error is None:
                    await self._all(heard, take)
        finally:
            if heard in self._heard:  # cancelled before its turn
                self._heard.remove(heard)
        if heard.error is not None:
            raise heard.error
        assert heard.done is not None
        return heard.done

    async def _all(self, first: Heard, take: Take) -> None:
        group, self._heard = self._heard, []
        try:
            done = await take(group)
        except Exception as error:
            for heard in group:
                heard.error = error
            raise
        except BaseException:
            # Only who had the pen was cancelled: the others take their turn, and what was written is not news then.
            self._heard = [*(h for h in group if h is not first), *self._heard]
            raise
        for heard in group:
            heard.done = _of(heard, done)


def _of(heard: Heard, done: Committed) -> Committed:
    """What of the whole is about these records."""
    its = {id(record) for record in heard.records}

    def those(records: Sequence[Record]) -> tuple[Record, ...]:
        return tuple(record for record in records if id(record) in its)

    return Committed(accepted=those(done.accepted), stale=those(done.stale), equivocations=those(done.equivocations))


def batch_of(group: Sequence[Heard], local: tuple[LocalEntry, ...] = ()) -> Batch:
    """One batch with the effect of each, one after the other: reading never goes back, a peer's last word stands."""
    cursors: dict[str, Cursor | None] = {}
    for heard in group:
        if heard.cursor is not None:
            cursors[heard.peer] = max(heard.cursor, cursors.get(heard.peer) or heard.cursor)
    records = tuple(r for heard in group for r in heard.records)
    acked = {heard.peer: heard.acked for heard in group}
    return Batch(peers=records, cursors=cursors, acked=acked, local=local)

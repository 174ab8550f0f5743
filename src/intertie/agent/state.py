"""What an agent knows besides records: of its peers' reachability, of what happened, and that something did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from intertie.model.records import Cursor

START = Cursor()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change, as /v1/events tells it."""

    seq: int
    at: datetime
    kind: str
    id: str
    site: str
    what: str
    request: str = ""
    """The user's request that caused it, here or at another site."""


@dataclass(slots=True)
class Peer:
    """What is known of a peer's reachability; volatile."""

    last_seen: datetime | None = None
    rtt_ms: float | None = None
    failures: int = 0
    problem: str = ""
    boot: str = ""
    heard_at: float = float("-inf")
    """On the event loop's clock."""
    called_at: float = float("-inf")
    """When it last called, on the same clock: what it says in a reply proves no way from it to here."""
    recovers: bool = False
    """It lost its store and asks for its records back,"""
    recovers_after: Cursor = START
    """from here on."""


@dataclass(slots=True)
class News:
    """Wakes whoever waits for something to change."""

    _event: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None) -> bool:
        """True if something changed within `timeout` seconds."""
        event = self._event
        if timeout is None:
            return await event.wait()
        try:
            # Not wait_for: up to Python 3.11 it can swallow a cancellation.
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        return True

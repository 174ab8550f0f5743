"""What an agent is and knows besides records: its settings, its ports, its peers' reachability, and what happened."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from intertie.agent.ports import Chance, Clock, Ids, Keys, Log, Shared, Store, Tracer, Untraced
from intertie.model.bodies import Location
from intertie.model.records import Cursor

START = Cursor()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one site, from site.toml."""

    name: str
    version: str
    address: str = ""
    """host:port where peers call this site; "" behind NAT."""
    location: Location | None = None
    cloud: str = ""
    cell: str = ""
    """If this site is one cell of a cloud: which, of which."""
    introductions: str = "ask"
    """accept, ask or never: what becomes of sites that a peer introduces."""
    heartbeat: float = 10.0
    call_timeout: float = 15.0
    round_every: float = 5.0
    probe_window: float = 6.0
    """Seconds for which a probe that crossed makes a pair `ready`."""
    probe_every: float = 1.0
    """Seconds between probes of a pair that has settled."""
    probe_budget: float = 50.0
    """Segment probes a second, at most, whatever the number of Vpns."""
    certificate_days: float = 30.0
    """Days before its end from which a certificate is warned of."""


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


@dataclass(frozen=True, slots=True)
class Ports:
    """What the agent needs of the world to keep records, and to say what it does."""

    store: Store
    keys: Keys
    clock: Clock
    ids: Ids
    chance: Chance
    log: Log
    tracer: Tracer = field(default_factory=Untraced)
    shared: Shared | None = None
    """The store again, if other agents of this site have it open too."""


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

"""Several agents of one site, on one store: each hears what the others write and say; one of them leads.

Records and all that was promised are in the store (`Agent.write` decides anew when another agent was first). What is
measured is told by `relay`: whichever agent a peer speaks to, all know what it said. Losing a relay does no harm: a
peer repeats itself within half a minute, as with any message.

The leader does the rounds and keeps the conversations with peers; the others look, measure, and answer users and
peers. Who cannot reach the store does neither: it may know less than the others by now.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

from intertie.agent.agent import Agent
from intertie.agent.ports import Shared
from intertie.agent.volatile import Whispers
from intertie.model.codec import read
from intertie.model.errors import IntertieError
from intertie.model.json_text import Malformed, loads
from intertie.model.storage import LEASE, Beat, Damaged, StorageError
from intertie.model.wire import MAX_MESSAGE, NOTHING, Volatile

PAUSE = 0.5
"""Seconds between tries to reach the store."""
SETTLE_AFTER = 1.0
"""Seconds of quiet before the leader looks at what follows from others' writing: they do so themselves, unless they
died in between."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What one agent says to the others; which fields mean something depends on the topic."""

    topic: str
    peer: str = ""
    at: datetime | None = None
    rtt_ms: float | None = None
    volatile: Volatile = NOTHING
    count: int = 0
    called: bool = False
    problem: str = ""
    vpn: str = ""
    failed: tuple[tuple[str, ...], ...] = ()
    """(network or host, why), of the leader's last round."""


class Siblings:
    """Runs until cancelled, or until the store is no longer what it was."""

    def __init__(self, agent: Agent, shared: Shared, whispers: Whispers) -> None:
        self.agent = agent
        self._shared = shared
        self._whispers = whispers
        self._led = False

    async def begin(self) -> None:
        """Once, when the agent is open and before it does anything: who leads, and what the others have heard."""
        await self._turn()

    async def run(self) -> None:
        """Damaged if the store was put back or exchanged: an agent that starts anew takes its past from its peers."""
        loop = asyncio.get_running_loop()
        news_at = loop.time()
        while True:
            if await self._turn():
                news_at = loop.time()
            if self.agent.leads and self.agent.overtaken_by and loop.time() - news_at >= SETTLE_AFTER:
                await self._settle()

    async def _turn(self) -> bool:
        """One beat, and what it brings; whether others wrote."""
        began = asyncio.get_running_loop().time()
        try:
            beat = await self._shared.beat()
            if beat.news:
                await self.agent.catch_up()
        except Damaged:
            raise
        except StorageError as error:
            self._lost(error)
            await asyncio.sleep(PAUSE)
            return False
        self._found(beat, began)
        return beat.news

    async def _settle(self) -> None:
        try:
            await self.agent.settle_others()
        except IntertieError as error:
            # The audit of a later round says it all the same.
            self.agent.ports.log.warning("not settled", why=error.detail)

    def _lost(self, error: StorageError) -> None:
        agent = self.agent
        if not agent.cut_off:
            agent.ports.log.warning("store out of reach", why=error.detail, hint=error.hint)
            agent.news.ring()
        agent.cut_off = error.detail

    def _found(self, beat: Beat, began: float) -> None:
        agent = self.agent
        if agent.cut_off:
            agent.cut_off = ""
            agent.ports.log.info("store in reach again")
            agent.news.ring()
        agent.lineage = beat.lineage
        # Counted from before it was asked for, so that it never outlasts what the store gave.
        agent.leads_until = began + LEASE if beat.leads else float("-inf")
        for words in beat.said:
            self._hear(words)
        if agent.leads and not self._led:
            agent.ports.log.info("leads", site=agent.site)
            for peer in list(agent.peers):
                self._whispers.unheard(peer)  # what another agent told last is not known here
            agent.poke.set()
            agent.news.ring()
        self._led = agent.leads

    def _hear(self, said: str) -> None:
        try:
            words = read(_Words, loads(said.encode(), MAX_MESSAGE))
        except Malformed:
            return  # another version's
        match words.topic:
            case "heard":
                self._heard(words)
            case "silent":
                peer = self.agent.peer(words.peer)
                peer.failures, peer.problem = words.count, words.problem
            case "failed":
                self.agent.failures = {pair[0]: pair[-1] for pair in words.failed if pair}
            case "cloned":
                (self.agent.accusers.add if words.called else self.agent.accusers.discard)(words.peer)
            case "loop":
                self.agent.block(words.vpn)
        self.agent.news.ring()

    def _heard(self, words: _Words) -> None:
        agent = self.agent
        if words.at is None:
            return
        age = max((agent.now() - words.at).total_seconds(), 0.0)
        peer = agent.peer(words.peer)
        heard_at = asyncio.get_running_loop().time() - age
        if heard_at > peer.heard_at:
            peer.last_seen, peer.heard_at, peer.failures, peer.problem = words.at, heard_at, 0, ""
            peer.called_at = max(heard_at, peer.called_at) if words.called else peer.called_at
            peer.rtt_ms = words.rtt_ms if words.rtt_ms is not None else peer.rtt_ms
        sights = tuple(replace(s, age=s.age + age if s.age else s.age) for s in words.volatile.sights)
        self._whispers.heard(words.peer, replace(words.volatile, sights=sights))
